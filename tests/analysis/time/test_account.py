"""The account closes: whatever the trace, whatever the grouping, the rows add up."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase, attribute
from perfkit.analysis.attribution.intervals import union_length
from perfkit.analysis.findings import integrity
from perfkit.analysis.findings.integrity import OUTSIDE_STEPS
from perfkit.analysis.reports.trace import View, report
from perfkit.analysis.time import breakdown, grouping
from perfkit.analysis.time.account import Selection, account_for
from perfkit.errors import UsageError
from perfkit.trace.columns import DeviceKind, HostKind
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.reference import random_traces

GROUPS: tuple[Any, ...] = ("layer", "module", "class", "component", "phase", "op", "kernel")


def training_step() -> TraceBuilder:
    """Two layers forward, then backward on another thread, an optimizer, a collective, and a kernel from before."""
    b = TraceBuilder().step(0, 0, 1000)
    b.event("early", -50, -10)
    b.module("Model", 10, 200).module("layers.0", 20, 90).module("layers.1", 100, 190)
    b.range("aten::mm", 30, 60, sequence=1).launched("gemm_a", 40, 300, 340)
    b.range("aten::mm", 110, 160, sequence=2).launched("gemm_b", 120, 340, 390)
    b.node("MmBackward0", 300, 340, 2, thread=1).launched("gemm_db", 310, 400, 460, thread=1)
    b.node("MmBackward0", 350, 390, 1, thread=1).launched("gemm_da", 360, 460, 540, thread=1)
    b.launched("ncclDevKernel_AllReduce", 395, 450, 600, thread=1, stream=20)
    b.range("perfkit.phase::optimizer", 500, 700).range("aten::add_", 510, 600).launched("adam", 520, 600, 610)
    return b


def rows(table, *keys):
    frame = table.frame
    return {tuple(row[key] for key in keys): (row["total_ns"], row["exclusive_ns"]) for _, row in frame.iterrows()}


def test_a_training_step_by_scope_and_phase():
    """GIVEN a step with every kind of work WHEN accounted for THEN each piece is in the row it belongs to"""
    trace = training_step().build()
    table = breakdown.layer_table(account_for(trace, attribute(trace)).partial)
    assert rows(table, "scope", "phase") == {
        ("layers.0", "forward"): (40, 40),
        ("layers.1", "forward"): (50, 50),
        ("layers.1", "backward"): (60, 60),
        ("layers.0", "backward"): (80, 80),
        ("optimizer", "optimizer"): (10, 10),
        (COMMUNICATION, "communication"): (150, 60),  # 90 of its 150 ns are hidden behind compute
        (UNATTRIBUTED, "unlaunched"): (40, 40),
    }
    assert list(table.frame["scope"][-2:]) == [COMMUNICATION, UNATTRIBUTED]


@pytest.mark.parametrize("seed", range(60))
def test_every_grouping_of_a_random_trace_adds_up(tmp_path: Path, seed: int):
    """GIVEN a random trace WHEN grouped in any way THEN sum and exclusive add up to the same totals, and to busy"""
    random_traces.write_json(random_traces.generate(seed), tmp_path / "t.json")
    trace = load(tmp_path / "t.json")
    account = account_for(trace, attribute(trace))
    total, exclusive = int(account.total.sum()), int(account.exclusive.sum())
    if account.on_device:
        events = trace.device
        devices = np.unique(events.device)
        busy = sum(union_length(events.start[events.device == d], events.end[events.device == d]) for d in devices)
        assert exclusive == busy
    else:
        wall = sum(step.end - step.start for step in account.attribution.steps)
        assert total == exclusive == wall or not account.steps
    tables = [
        breakdown.layer_table(account.partial),
        breakdown.phase_table(account.partial),
        breakdown.category_table(account.partial),
    ]
    tables += [grouping.group_table(account.partial, by, fold=fold) for by in GROUPS for fold in (True, False)]
    tables += [grouping.group_table(account.partial, "module", depth=depth) for depth in (1, 2, 3)]
    for table in tables:
        assert (table.frame["total_ns"].sum(), table.frame["exclusive_ns"].sum()) == (total, exclusive)
    kernels = breakdown.kernel_table(account.partial).frame["total_ns"].sum()
    copies = breakdown.copy_table(account.partial).frame["total_ns"].sum() if account.on_device else 0
    assert kernels + copies == total


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_events_gives_the_same_tables(tmp_path: Path, seed: int):
    """GIVEN events in another order (equal times keep theirs) WHEN accounted for THEN the tables are the same"""
    events = random_traces.generate(seed)
    random_traces.write_json(events, tmp_path / "a.json")
    moments: dict[object, list[dict[str, Any]]] = {}
    for event in events:
        moments.setdefault(event.get("ts"), []).append(event)
    shuffled = list(moments.values())
    random.Random(seed).shuffle(shuffled)
    random_traces.write_json([event for group in shuffled for event in group], tmp_path / "b.json")
    first, second = (report(load(tmp_path / name)) for name in ("a.json", "b.json"))
    for table in ("layers", "phases", "kernels"):
        columns = [column.name for column in first.table(table).columns]
        assert first.table(table).frame[columns].equals(second.table(table).frame[columns])


def test_a_selection_narrows_every_table():
    """GIVEN a phase and a step WHEN selected THEN tables hold that part only, and still add up"""
    trace = training_step().build()
    found = attribute(trace)
    backward = account_for(trace, found, Selection(phase=Phase.BACKWARD))
    assert breakdown.kernel_table(backward.partial).frame["name"].tolist() == ["gemm_da", "gemm_db"]
    in_step = account_for(trace, found, Selection(steps=0))
    assert "early" not in breakdown.kernel_table(in_step.partial).frame["name"].tolist()
    with pytest.raises(UsageError, match="--steps 3: this trace has 1 step,"):
        account_for(trace, found, Selection(steps=3))


def test_layers_fold_into_one_line_with_their_spread():
    """GIVEN two layers WHEN grouped by layer THEN they are one row, with the mean, the largest and where it is"""
    trace = training_step().build()
    row = (
        grouping.group_table(account_for(trace, attribute(trace)).partial, "layer")
        .frame.set_index("scope")
        .loc["layers.*"]
    )
    assert (row["x"], row["total_ns"], row["mean_ns"], row["max_ns"], row["max_at"]) == (2, 230, 115.0, 120, "layers.0")
    unfolded = grouping.group_table(account_for(trace, attribute(trace)).partial, "layer", fold=False)
    assert {"layers.0", "layers.1"} <= set(unfolded.frame["scope"])


@pytest.mark.parametrize("name", ["ncclKernel_SendRecv", "rcclGenericKernel", "multimem_all_reduce_kernel"])
def test_collectives_are_communication_in_either_table(name):
    """GIVEN a collective's kernel WHEN counted by phase and by kind of work THEN both call it communication"""
    trace = training_step().launched(name, 396, 610, 650).build()
    account = account_for(trace, attribute(trace))
    by_phase = breakdown.phase_table(account.partial).frame.set_index("phase")["total_ns"]
    by_kind = breakdown.category_table(account.partial).frame.set_index("category")["total_ns"]
    assert by_phase["communication"] == by_kind["communication"] == 190


def accumulating() -> TraceBuilder:
    """Two steps of perfkit's with two passes each, and one pass of a warm-up before them."""
    b = TraceBuilder(metadata={"perfkit": {}}).step(0, 100, 200).step(1, 200, 300)
    for at in (50, 110, 150, 210, 250):
        b.range("perfkit.phase::forward", at, at + 10).module("net", at + 1, at + 9).launched("f", at + 2, at, at + 5)
        b.range("perfkit.phase::backward", at + 20, at + 38)
        b.launched("b", at + 21, at + 21, at + 25).launched("b", at + 26, at + 26, at + 28)
    return b


@pytest.mark.parametrize(("steps", "count"), [("auto", 4), ("all", 5), (0, 2), (1, 2)])
def test_kernels_per_pass_are_those_of_the_steps_shown(steps, count):
    """GIVEN two passes in each step WHEN all or one are shown THEN counts per pass are the same, in either phase"""
    trace = accumulating().build()
    found = attribute(trace)
    forward = breakdown.kernel_table(account_for(trace, found, Selection(Phase.FORWARD, steps)).partial)
    (row,) = forward.frame.to_dict("records")
    assert (row["count"], row["count_per_forward"], row["count_per_pass"]) == (count, 1, 1)
    backward = breakdown.kernel_table(account_for(trace, found, Selection(Phase.BACKWARD, steps)).partial)
    (row,) = backward.frame.to_dict("records")
    assert (row["count"], row["count_per_forward"], row["count_per_pass"]) == (2 * count, 0, 2)
    assert "per forward" not in {column.heading for column in backward.seen_by("people").columns}


def test_a_lost_launch_does_not_take_its_kernel_out_of_the_measured_steps():
    """GIVEN perfkit's own steps and kernels without a launch WHEN counted THEN a step has those that ran in it"""
    b = accumulating().event("lost", 130, 140).event("ncclDevKernel_AllReduce", 230, 250).event("before", 60, 70)
    trace = b.build()
    found = attribute(trace)
    phases = breakdown.phase_table(account_for(trace, found).partial).frame.set_index("phase")["total_ns"]
    assert (phases["unlaunched"], phases["communication"]) == (10, 20)
    first = breakdown.phase_table(account_for(trace, found, Selection(steps=0)).partial).frame.set_index("phase")[
        "total_ns"
    ]
    assert (first["unlaunched"], first["communication"]) == (10, 0)
    outside = {one.rule: one for one in integrity.findings(account_for(trace, found))}[OUTSIDE_STEPS]
    assert outside.what.startswith("4 device events (21.00 ns) ")  # 10 + 5 + 4 + 2
    assert outside.what.endswith("they are in no table (--steps all includes them)")


@pytest.mark.parametrize("by", ["layer", "component"])
def test_layers_fold_though_all_their_time_is_in_their_parts(by):
    """GIVEN layers without a kernel of their own WHEN grouped by layer, or cut to the layer THEN they are one row"""
    b = TraceBuilder().step(0, 0, 200)
    for layer in range(3):
        at = 10 + 50 * layer
        b.module(f"layers.{layer}", at, at + 40).module(f"layers.{layer}.attn", at + 1, at + 30)
        b.module(f"layers.{layer}.attn.q", at + 2, at + 20).launched("gemm", at + 3, 300 + at, 310 + at + layer)
    trace = b.build()
    depth = 2 if by == "component" else None
    table = grouping.group_table(account_for(trace, attribute(trace)).partial, by, depth=depth)
    (row,) = table.frame.to_dict("records")
    assert (row["scope"], row["x"], row["total_ns"], row["max_ns"], row["max_at"]) == (
        "layers.*", 3, 33, 12, "layers.2",
    )  # fmt: skip


@pytest.mark.parametrize("by", ["class", "phase", "op", "kernel"])
def test_a_depth_that_cuts_nothing_is_said(by):
    trace = training_step().build()
    table = grouping.group_table(account_for(trace, attribute(trace)).partial, by, depth=1)
    assert "depth" not in table.title
    assert table.notes[-1] == f"depth cuts module paths, which rows by {by} are not"


def test_modules_have_their_own_time_and_that_of_their_children():
    """GIVEN nested modules WHEN grouped by module THEN self adds up and inclusive holds the children"""
    b = TraceBuilder().step(0, 0, 200).module("layers.0", 0, 100).module("layers.0.attn", 10, 50)
    trace = b.launched("inner", 20, 100, 130).launched("outer", 60, 130, 140).build()
    frame = grouping.group_table(account_for(trace, attribute(trace)).partial, "module").frame.set_index("scope")
    assert frame["total_ns"].to_dict() == {"layers.0.attn": 30, "layers.0": 10}
    assert frame["inclusive_ns"].to_dict() == {"layers.0.attn": 30, "layers.0": 40}
    assert frame["step_share"]["layers.0.attn"] == 30 / 200


def test_the_root_holds_everything_though_its_name_is_no_front():
    b = TraceBuilder(metadata={"perfkit": {"modules": {"Model": "Model", "head": "Linear"}}})
    b.step(0, 0, 200).module("Model", 0, 100).module("head", 10, 50).launched("inner", 20, 100, 130)
    trace = b.launched("outer", 60, 130, 140).launched("stray", 150, 150, 155).build()
    frame = grouping.group_table(account_for(trace, attribute(trace)).partial, "module").frame.set_index("scope")
    assert frame["inclusive_ns"].to_dict() == {"head": 30, "Model": 40, UNATTRIBUTED: 5}


def test_classes_come_from_the_recorded_module_tree():
    """GIVEN the module tree in the trace's metadata WHEN grouped by class THEN rows are classes"""
    builder = training_step()
    builder.metadata = {"perfkit": {"modules": {"Model": "Model", "layers.0": "Block", "layers.1": "Block"}}}
    trace = builder.build()
    table = grouping.group_table(account_for(trace, attribute(trace)).partial, "class")
    assert table.frame.set_index("scope")["total_ns"]["Block"] == 230


def test_without_a_device_rows_add_up_to_the_steps():
    """GIVEN host ranges only WHEN accounted for THEN operators and the rest add up to the steps' wall time"""
    b = TraceBuilder().step(0, 0, 100).step(1, 100, 250).module("Model", 10, 90).range("aten::mm", 20, 50, sequence=1)
    b.range("aten::add", 260, 300).range("elsewhere", 0, 1000, thread=1)
    found = report(b.build())
    assert found.summary["kernels"] == 0
    assert found.summary["total_ns"] == found.summary["step_wall_ns"] == 250
    kernels = found.table("kernels").frame.set_index("name")["total_ns"]
    assert kernels.to_dict() == {"aten::mm": 30, UNATTRIBUTED: 220}
    assert rows(found.table("layers"), "scope", "phase") == {
        ("Model", "forward"): (80, 80),
        (UNATTRIBUTED, "other"): (170, 170),
    }


def test_reasons_add_up_to_what_is_unattributed():
    """GIVEN work with no scope for several reasons WHEN explained THEN the reasons' times add up to the row"""
    b = training_step().launched("stray", 750, 800, 830)
    b.node("LostBackward0", 800, 820, 99, thread=1).launched("lost", 805, 900, 950, thread=1)
    summary = report(b.build()).summary
    assert summary["unattributed_reasons_ns"] == {"unlinked": 50, "unlaunched": 40, "outside": 30}
    assert summary["unattributed_ns"] == 120


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "kernels", "kernel_ns", "gpu_ns", "busy_ns", "phases"),
    [
        ("v100_training", 4350, 468153602, 472454441, 472454441, (150546916, 0, 316374723, 5532802, 0, 0, 0)),
        ("a100_ddp_training", 2700, 162532340, 165185838, 157500014, (38706904, 0, 77524163, 2078278, 46876493, 0, 0)),
        (
            "mi300_resnet_checkpoint_training", 2995, 97255826, 100230072, 84002056,
            (6490117, 4209958, 10390729, 90756, 71516523, 13797, 7518192),
        ),
        ("h100_qwen_0.5b_inference", 1465, 45432698, 45647300, 45647300, (31905473, 0, 0, 0, 0, 0, 13741827)),
        ("h100_bert_small_inference", 60, 307197, 309437, 309437, (309437, 0, 0, 0, 0, 0, 0)),
        ("mi300_compiled_triton", 12, 12549021, 12549021, 12549021, (0, 0, 0, 0, 0, 12549021, 0)),
    ],
)  # fmt: skip
def test_golden_numbers_of_real_traces(name, kernels, kernel_ns, gpu_ns, busy_ns, phases):
    """GIVEN a real trace WHEN analysed THEN its totals and phases are the specification's, to the nanosecond"""
    found = report(load(corpus_file(f"kineto/{name}.json.gz")))
    summary = found.summary
    assert (summary["kernels"], summary["kernel_time_ns"]) == (kernels, kernel_ns)
    assert (summary["gpu_time_ns"], summary["busy_ns"]) == (gpu_ns, busy_ns)
    assert tuple(found.table("phases").frame["total_ns"]) == phases
    assert found.table("layers").frame["total_ns"].sum() == gpu_ns
    assert found.table("layers").frame["exclusive_ns"].sum() == busy_ns


@pytest.mark.corpus
def test_golden_details_of_a_checkpointed_resnet():
    """GIVEN ResNet with activation checkpointing WHEN analysed THEN a convolution's three passes are the known ones"""
    trace = load(corpus_file("kineto/mi300_resnet_checkpoint_training.json.gz"))
    frame = report(trace, View(Selection(steps="all"))).table("layers").frame
    one = frame[frame["scope"].str.endswith("/Conv2d_19")].set_index("phase")["total_ns"]
    assert one.to_dict() == {"forward": 160981, "recompute": 161461, "backward": 376200}
    assert (trace.device.kind == DeviceKind.KERNEL).sum() == 2995


def python_frames() -> TraceBuilder:
    """A profile with Python stacks: module frames by class and counter, no range of perfkit's."""
    b = TraceBuilder().step(0, 0, 100).range("nn.Module: Net_0", 1, 90, HostKind.PYTHON)
    b.range("nn.Module: Linear_0", 5, 40, HostKind.PYTHON).launched("first", 10, 50, 60)
    return b.range("nn.Module: Linear_1", 45, 80, HostKind.PYTHON).launched("second", 50, 60, 80)


def test_module_frames_go_by_qualified_names_where_the_tree_is_known():
    """GIVEN Linear_0 and Linear_1 WHEN the tree is given THEN they are layers.0.proj and layers.1.proj"""
    tree = {"Net": "Net", "layers.0.proj": "Linear", "layers.1.proj": "Linear"}
    trace = python_frames().build()
    plain = breakdown.layer_table(account_for(trace, attribute(trace)).partial)
    assert set(plain.frame["scope"]) == {"Net_0/Linear_0", "Net_0/Linear_1"}
    named = breakdown.layer_table(account_for(trace, attribute(trace, modules=tree)).partial)
    assert rows(named, "scope") == {("layers.0.proj",): (10, 10), ("layers.1.proj",): (20, 20)}
    folded = grouping.group_table(account_for(trace, attribute(trace, modules=tree)).partial, "component")
    assert folded.frame["scope"].tolist() == ["layers.*.proj"]
    too_small = attribute(trace, modules={"Net": "Net", "layers.0.proj": "Linear"})
    scopes = breakdown.layer_table(account_for(trace, too_small).partial).frame["scope"]
    assert set(scopes) == {"Net_0/Linear_0", "Net_0/Linear_1"}


def test_rows_times_names_need_not_fit_into_a_rows_number():
    """GIVEN two nodes 2^16 rows apart in a trace of 2^16 names, of whose products the lowest 32 bits are the same
    WHEN a plain function's work is run again in the first node THEN what opens again in the second does not matter"""
    apart, later = 2**16, 10**6
    b = TraceBuilder().module("m", 0, 100).module("m.down", 10, 50).range("aten::mul", 20, 30, sequence=1)
    b.node("MulBackward0", 200, 300, 1).range("aten::sin", 210, 220, sequence=2).launched("k", 215, 400, 407)
    for number in range(apart - 4):
        b.range("aten::add", 1000 + 10 * number, 1005 + 10 * number)
    b.node("MulBackward0", later, later + 100, 1).module("m.down", later + 10, later + 50).range(
        "aten::mul", later + 20, later + 30, sequence=3
    )
    b.names |= {f"never ran {number}": number for number in range(len(b.names), apart)}
    trace = b.build()

    found = attribute(trace)
    first, second = np.flatnonzero(found.links.numbered)
    assert (second - first, len(trace.names)) == (apart, apart)
    assert rows(breakdown.layer_table(account_for(trace, found).partial), "scope", "phase") == {
        ("m.down", "recompute"): (7, 7)
    }
