"""What work without a scope goes by in a trace without modules: frames, operators, kernels (no scopes, and so said)."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, attribute
from perfkit.analysis.attribution.fallback import LayersBy
from perfkit.analysis.time import breakdown, grouping
from perfkit.analysis.time.account import Account, account_for
from perfkit.analysis.time.summary import summary
from perfkit.schema.table import Table
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder


def account(b: TraceBuilder) -> Account:
    trace = b.build()
    return account_for(trace, attribute(trace))


def rows(b: TraceBuilder, by: Any = "component") -> tuple[str, dict[str, int]]:
    """Title and sums of the table of groups."""
    table = grouping.group_table(account(b).partial, by)
    return table.title, dict(zip(table.frame["scope"], table.frame["total_ns"].tolist(), strict=True))


def operators() -> TraceBuilder:
    """Kernels of 10 and 30 ns in two operators, one of 5 ns outside them, and a collective of 100 ns."""
    b = TraceBuilder().range("aten::linear", 0, 50).range("aten::mm", 5, 40).launched("gemm", 10, 100, 110)
    b.range("aten::add", 60, 90).launched("add", 70, 110, 140).launched("bare", 95, 140, 145)
    return b.launched("ncclKernel", 98, 200, 300)


@pytest.mark.parametrize("by", ["layer", "module", "class", "component"])
def test_operators_stand_for_layers_and_are_no_scopes(by):
    title, sums = rows(operators(), by)
    assert title in ("By operator", "By operator, self time")
    assert sums == {"aten::mm": 10, "aten::add": 30, COMMUNICATION: 100, UNATTRIBUTED: 5}
    scalars = summary(account(operators()).partial)
    assert (scalars["layers_by"], scalars["unattributed_ns"], scalars["scoped_ns"]) == ("operators", 45, 0)
    assert scalars["scope_source"] == "annotation"


def test_layers_by_phase_go_by_them_too():
    table = breakdown.layer_table(account(operators()).partial)
    assert table.title == "Operators by phase, self time"
    assert ("aten::add", "other") in set(zip(table.frame["scope"], table.frame["phase"], strict=True))
    assert "no range of the trace names a module" in table.notes[-1]
    assert column_title(grouping.group_table(account(operators()).partial, "component")) == "operator"


def column_title(table: Table) -> str | None:
    return next(column.title for column in table.columns if column.name == "scope")


def test_other_groupings_are_what_they_are():
    assert rows(operators(), "op")[0] == "By op"
    assert rows(operators(), "phase")[0] == "By phase"


def test_without_operators_there_are_kernels():
    b = TraceBuilder().event("gemm", 0, 10).event("gemm", 10, 30).event("add", 30, 35)
    assert rows(b) == ("By kernel", {"gemm": 30, "add": 5})
    assert summary(account(b).partial)["layers_by"] == "kernels"


def framed() -> TraceBuilder:
    """Frames of a script, its model and torch, without a module's, and a backward node of the model's operator."""
    b = TraceBuilder().range("train.py(9): main", 0, 200, HostKind.PYTHON)
    b.range("models/net.py(3): forward", 10, 90, HostKind.PYTHON)
    b.range("torch/nn/functional.py(1): linear", 15, 80, HostKind.PYTHON)
    b.range("<built-in function linear>", 16, 79, HostKind.PYTHON)
    b.range("aten::linear", 20, 70, sequence=1).launched("gemm", 30, 300, 310)
    b.range("aten::ones_like", 100, 120).launched("fill", 105, 310, 313)
    return b.node("AddmmBackward0", 130, 160, 1, thread=1).launched("grad", 140, 320, 350, thread=1)


def test_frames_of_the_users_code_come_before_operators():
    title, sums = rows(framed())
    assert (title, sums) == ("By Python frame", {"models/net.py(3): forward": 40, "train.py(9): main": 3})
    assert summary(account(framed()).partial)["layers_by"] == "frames"


def test_what_has_no_frame_goes_by_its_operator():
    b = framed().range("aten::lost", 500, 600, thread=2).launched("lost", 510, 600, 607, thread=2)
    assert rows(b)[1]["aten::lost"] == 7


def test_call_stacks_of_2021_are_frames():
    b = TraceBuilder()
    frame = b._name("resnet.py(92): forward")
    b.range("aten::conv2d", 0, 50, frame=frame).range("aten::cudnn_convolution", 5, 45).launched("conv", 10, 60, 70)
    assert rows(b.range("aten::add", 60, 80).launched("add", 65, 80, 81)) == (
        "By Python frame", {"resnet.py(92): forward": 10, "aten::add": 1},
    )  # fmt: skip


@pytest.mark.parametrize(("held", "falls_back"), [(49, True), (50, False), (51, False)])
def test_ranges_that_hold_half_of_the_time_suffice(held, falls_back):
    """GIVEN a range with so much of 100 ns, a collective aside WHEN it is less than half THEN operators for the rest"""
    b = TraceBuilder().annotation("part", 0, 50).launched("in", 10, 100, 100 + held)
    b.range("aten::mm", 60, 90).launched("out", 70, 200, 300 - held).launched("ncclKernel", 95, 400, 900)
    title, sums = rows(b)
    assert title == ("By range or operator" if falls_back else "By component")
    rest = {"aten::mm": 100 - held} if falls_back else {UNATTRIBUTED: 100 - held}
    assert sums == {"part": held, COMMUNICATION: 500, **rest}
    scalars = summary(account(b).partial)
    assert (scalars["scoped_ns"], scalars["unattributed_ns"]) == (held, 100 - held)
    assert scalars["layers_by"] == ("operators" if falls_back else "ranges")


def test_an_optimizers_range_does_not_stand_for_layers():
    """GIVEN a plain loop without ranges, whose optimizer takes half of the time THEN the rest goes by its operators"""
    b = TraceBuilder().range("aten::mm", 0, 50).launched("gemm", 10, 100, 140)
    b.annotation("Optimizer.step#SGD.step", 60, 90).launched("add", 70, 150, 250)
    assert rows(b) == ("By range or operator", {"optimizer": 100, "aten::mm": 40})


def test_a_label_that_is_a_ranges_name_too_is_one_row_with_it():
    b = TraceBuilder().annotation("aten::mm", 0, 50).launched("in", 10, 100, 101)
    assert rows(b.range("aten::mm", 60, 90).launched("out", 70, 200, 210))[1] == {"aten::mm": 11}


def test_modules_need_nothing_to_go_by():
    b = TraceBuilder().module("net", 0, 10).range("aten::mm", 20, 40).launched("k", 25, 50, 60)
    assert rows(b) == ("By component", {UNATTRIBUTED: 10})
    assert summary(account(b).partial)["layers_by"] == LayersBy.MODULES.value


def test_operators_on_the_host_and_what_lies_between_them():
    b = TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 40)
    assert rows(b) == ("By operator", {"aten::mm": 30, UNATTRIBUTED: 70})
    nothing = TraceBuilder().step(0, 0, 100).annotation("gloo:all_reduce", 20, 90)
    assert rows(nothing) == ("By host range", {"gloo:all_reduce": 70, "ProfilerStep#0": 30})
    assert summary(account(nothing).partial)["layers_by"] == "host_ranges"
