"""The rows of an account: which there are, what each counts, and the steps and passes they belong to."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase, attribute
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.account import Account, Selection, StepChoice, account_for, in_account, steps_of_events
from perfkit.errors import UsageError
from perfkit.trace.columns import DeviceKind, HostKind
from tests.builders import TraceBuilder


def account(b: TraceBuilder, steps: StepChoice = "auto", phase: Phase | None = None) -> Account:
    trace = b.build()
    return account_for(trace, attribute(trace), Selection(phase, steps))


def names(rows: Account) -> list[str]:
    return [rows.trace.names[index] for index in rows.name]


def device_steps(**metadata) -> TraceBuilder:
    """A kernel before, in, between and behind two steps, and one in the second without a launch."""
    b = TraceBuilder(metadata=metadata).step(0, 100, 200).step(1, 250, 300)
    for at, name in ((50, "before"), (150, "first"), (220, "between"), (260, "second"), (310, "behind")):
        b.launched(name, at, at, at + 9)
    return b.event("lost", 270, 275)


# --- steps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "metadata", "expected", "chosen", "only"),
    [
        ("auto", {}, ["before", "first", "between", "second", "behind", "lost"], (0, 1), False),
        ("auto", {"perfkit": {}}, ["first", "second", "lost"], (0, 1), True),
        ("all", {"perfkit": {}}, ["before", "first", "between", "second", "behind", "lost"], (0, 1), False),
        (0, {}, ["first"], (0,), True),
        (1, {}, ["second", "lost"], (1,), True),
    ],
)
def test_steps_that_are_chosen(steps, metadata, expected, chosen, only):
    rows = account(device_steps(**metadata), steps)
    assert names(rows) == expected
    assert (rows.steps, rows.steps_only) == (chosen, only)
    assert rows.partial.facts.step_wall == sum({0: 100, 1: 50}[step] for step in chosen)


def test_a_single_step_of_perfkits_is_what_counts():
    b = TraceBuilder(metadata={"perfkit": {}}).step(0, 0, 100).launched("in", 10, 0, 5).launched("out", 200, 0, 5)
    assert (names(account(b)), account(b).steps_only) == (["in"], True)


def test_a_recording_of_perfkits_without_steps_is_accounted_for_as_a_whole():
    rows = account(TraceBuilder(metadata={"perfkit": {}}).launched("k", 0, 5, 9))
    assert (names(rows), rows.steps, rows.steps_only, rows.partial.facts.step_wall) == (["k"], (), False, 0)


@pytest.mark.parametrize("choice", [-1, 2, 7])
def test_a_step_that_is_not_there(choice):
    with pytest.raises(UsageError, match=f"--steps {choice}: this trace has 2 steps, counted from 0"):
        account(device_steps(), choice)


def test_host_times_have_the_steps_of_the_main_thread():
    """GIVEN a short step on thread 0 and two longer ones on thread 1 WHEN accounted for THEN those two are the steps"""
    b = TraceBuilder().step(0, 0, 10).range("beside", 0, 9)
    b.annotation("ProfilerStep#1", 0, 100, thread=1).annotation("ProfilerStep#2", 100, 150, thread=1)
    b.range("in one", 10, 30, thread=1).range("in two", 110, 115, thread=1).range("outside", 200, 300, thread=1)
    rows = account(b, 1)
    assert (rows.steps, rows.partial.facts.step_wall, rows.total.sum()) == ((2,), 50, 50)
    assert names(rows) == ["ProfilerStep#2", "in two"]
    assert account(b).steps == (1, 2)
    assert names(account(b)) == ["ProfilerStep#1", "in one", "ProfilerStep#2", "in two"]
    assert account(b).step.tolist() == [1, 1, 2, 2]


def test_without_steps_the_account_is_the_main_thread():
    b = TraceBuilder().range("a", 0, 50).range("b", 10, 20).range("beside", 0, 9, thread=1)
    rows = account(b)
    assert (names(rows), rows.total.tolist(), rows.step.tolist()) == (["a", "b"], [40, 10], [NONE, NONE])
    assert in_account(rows.attribution).tolist() == [True, True, False]


def test_events_without_a_launch_are_in_the_step_they_ran_in():
    trace = device_steps().event("lost outside", 500, 510).build()
    assert steps_of_events(trace, attribute(trace)).tolist() == [NONE, 0, NONE, 1, NONE, 1, NONE]


# --- what counts --------------------------------------------------------------------------------------------------


def test_device_rows_are_events_and_each_counts_as_one():
    rows = account(TraceBuilder().launched("a", 0, 0, 10).launched("b", 1, 5, 20))
    assert rows.on_device
    assert (rows.total.tolist(), rows.exclusive.tolist()) == ([10, 15], [10, 10])
    assert rows.is_counted.tolist() == [True, True]
    assert len(rows) == 2


def test_host_rows_count_operators_and_where_there_are_none_ranges():
    b = TraceBuilder().step(0, 0, 100).module("net", 5, 90).range("aten::mm", 10, 40)
    b.range("launch", 20, 25, HostKind.RUNTIME)
    rows = account(b)
    assert not rows.on_device
    assert dict(zip(names(rows), rows.is_counted.tolist(), strict=True)) == {
        "ProfilerStep#0": False, "perfkit::net": False, "aten::mm": True, "launch": False,
    }  # fmt: skip
    assert dict(zip(names(rows), rows.total.tolist(), strict=True)) == {
        "ProfilerStep#0": 15, "perfkit::net": 55, "aten::mm": 25, "launch": 5,
    }  # fmt: skip
    assert rows.exclusive.tolist() == rows.total.tolist()
    ranges = account(TraceBuilder().annotation("mine", 0, 50).range("launch", 20, 25, HostKind.RUNTIME))
    assert ranges.is_counted.tolist() == [True, False]


def test_a_phase_alone():
    b = TraceBuilder().module("net", 0, 50).launched("a", 10, 0, 10).launched("b", 60, 0, 10)
    assert names(account(b, phase=Phase.FORWARD)) == ["a"]
    assert account(b, phase=Phase.FORWARD).only is Phase.FORWARD


# --- scopes, operators, nodes -------------------------------------------------------------------------


def every_kind() -> TraceBuilder:
    b = TraceBuilder().module("a", 0, 90).module("b", 10, 80).range("aten::relu", 20, 70).range("aten::mul", 30, 60)
    b.launched("elementwise_kernel", 40, 0, 5).launched("unknown", 75, 0, 5)
    b.launched("ncclDevKernel", 50, 0, 5).launched("copy", 55, 0, 5, kind=DeviceKind.MEMCPY)
    b.launched("set", 56, 0, 5, kind=DeviceKind.MEMSET)
    b.range("Optimizer.step#SGD.step", 200, 290).range("aten::add_", 210, 250).launched("elementwise_kernel", 220, 0, 5)
    b.range("LostBackward0", 300, 390, sequence=9, forward_thread=1).launched("volta_sgemm_tn", 310, 0, 5)
    return b.launched("stray", 400, 0, 5).event("lost", 0, 5)


def test_scopes_of_rows():
    rows = account(every_kind())
    assert [rows.scopes[index] for index in rows.scope] == [
        "b", "b", COMMUNICATION, "b", "b", "optimizer", UNATTRIBUTED, UNATTRIBUTED, UNATTRIBUTED,
    ]  # fmt: skip
    assert rows.scopes[-2:] == (UNATTRIBUTED, COMMUNICATION)
    assert rows.unattributed.tolist() == [False] * 6 + [True] * 3


def test_operators_of_rows():
    rows = account(every_kind())
    found = [rows.trace.names[index] if index != NONE else None for index in rows.operator]
    assert found == [
        "aten::mul", None, "aten::mul", "aten::mul", "aten::mul", "aten::add_", "LostBackward0", None, None,
    ]  # fmt: skip
    assert account(TraceBuilder().event("k", 0, 5)).operator.tolist() == [NONE]
    host = account(TraceBuilder().module("net", 0, 50).range("aten::mm", 10, 20).range("inner", 12, 15))
    inner = [host.trace.names[index] if index != NONE else None for index in host.operator]
    assert inner == [None, "aten::mm", "inner"]


def test_rows_inside_backward_nodes():
    assert account(every_kind()).in_node.tolist() == [False] * 6 + [True, False, False]
    host = TraceBuilder().range("out", 0, 9).range("B", 10, 90, sequence=9, forward_thread=1).range("in", 20, 30)
    assert account(host).in_node.tolist() == [False, True, True]
