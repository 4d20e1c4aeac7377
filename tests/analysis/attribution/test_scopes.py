"""Which ranges are scopes, what each is called and where time goes from them: rules 9 and 11, one case each."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Phase, attribute
from perfkit.analysis.attribution.scopes import How, ScopeSource
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.cells import CELLS
from perfkit.analysis.time.summary import summary
from perfkit.trace.columns import MISSING, HostKind
from perfkit.trace.load import load
from tests.analysis.attribution.whereabouts import attributed, how, node, where
from tests.builders import ENGINE, TraceBuilder
from tests.corpus import corpus_file

ACCUMULATE = "torch::autograd::AccumulateGrad"


# --- rule 9: which ranges -----------------------------------------------------------------------------------------


def all_kinds() -> TraceBuilder:
    """A user's range round a module frame round perfkit's range."""
    b = TraceBuilder().annotation("mine", 0, 100).range("nn.Module: Net_0", 10, 90, HostKind.PYTHON)
    return b.module("net", 20, 80).range("work", 30, 40)


def test_the_best_kind_of_range_that_there_is():
    perfkit = attributed(all_kinds())
    assert (perfkit.scope_source, perfkit.qualified, where(perfkit)["work"]) == (ScopeSource.PERFKIT, True, "net")
    frames = TraceBuilder().annotation("mine", 0, 100).range("nn.Module: Net_0", 10, 90, HostKind.PYTHON)
    module = attributed(frames.range("work", 30, 40))
    assert (module.scope_source, module.qualified, where(module)["work"]) == (ScopeSource.MODULE, False, "Net_0")
    annotation = attributed(TraceBuilder().annotation("mine", 0, 100).range("work", 30, 40))
    assert (annotation.scope_source, where(annotation)["work"]) == (ScopeSource.ANNOTATION, "mine")
    nothing = attributed(TraceBuilder().range("work", 30, 40))
    assert (nothing.scope_source, where(nothing)["work"]) == (ScopeSource.ANNOTATION, UNATTRIBUTED)


@pytest.mark.parametrize(
    ("source", "scope"),
    [(ScopeSource.PERFKIT, "net"), (ScopeSource.MODULE, "Net_0"), (ScopeSource.ANNOTATION, "mine")],
)
def test_the_kind_that_is_asked_for(source, scope):
    found = attributed(all_kinds(), scope_source=source)
    assert (found.scope_source, where(found)["work"]) == (source, scope)
    empty = attributed(TraceBuilder().range("work", 30, 40), scope_source=source)
    assert (empty.scope_source, where(empty)["work"]) == (source, UNATTRIBUTED)


def test_phases_outside_modules_are_scopes_of_their_own():
    b = TraceBuilder().module("net", 0, 50)
    for number, phase in enumerate(("loss", "optimizer", "zero_grad", "forward", "backward")):
        b.range(f"perfkit.phase::{phase}", 100 * number + 100, 100 * number + 190)
        b.range(f"in {phase}", 100 * number + 110, 100 * number + 120)
    found = where(attributed(b))
    assert [found[f"in {phase}"] for phase in ("loss", "optimizer", "zero_grad", "forward", "backward")] == [
        "loss", "optimizer", "zero_grad", UNATTRIBUTED, UNATTRIBUTED,
    ]  # fmt: skip


def test_phases_alone_are_no_scopes_of_perfkits():
    found = attributed(TraceBuilder().range("perfkit.phase::loss", 0, 50).range("work", 10, 20))
    assert (found.scope_source, where(found)["work"]) == (ScopeSource.ANNOTATION, UNATTRIBUTED)


def test_recomputation_has_the_scope_of_the_module():
    found = attributed(TraceBuilder().range("perfkit.recompute::net", 0, 50).range("work", 10, 20))
    assert (found.scope_source, where(found)["work"]) == (ScopeSource.PERFKIT, "net")


def test_names_are_scopes_in_ranges_of_the_right_kind_only():
    """GIVEN operators and calls with the names of module frames and annotations WHEN attributed THEN they are none"""
    b = TraceBuilder().range("nn.Module: Net_0", 0, 90, HostKind.PYTHON).range("forward", 5, 85, HostKind.PYTHON)
    b.range("nn.Module: Net_0", 100, 190).range("work", 110, 120)
    assert where(attributed(b))["work"] == UNATTRIBUTED
    b = TraceBuilder().annotation("mine", 0, 90).range("mine", 100, 190).range("work", 110, 120)
    assert where(attributed(b))["work"] == UNATTRIBUTED


def test_a_call_into_the_driver_is_no_scope_whatever_its_name():
    b = TraceBuilder().module("net", 0, 50).range("perfkit::net", 60, 70, HostKind.RUNTIME, correlation=5)
    assert attributed(b.event("k", 0, 5, correlation=5)).events.path.tolist() == [-1]


# --- annotations in backward --------------------------------------------------------------------------------------


def in_backward(*inside: tuple[str, int, int], name: str = "part", forward_part: bool = True) -> dict[str, str]:
    """Forward in `model` (and `part` in it), and a node of it from 200 to 400 with some ranges inside."""
    b = TraceBuilder().annotation("model", 0, 100).range("aten::mul", 10, 20, sequence=1)
    if forward_part:
        b.annotation("part", 30, 60).range("aten::sin", 40, 50, sequence=2)
    node(b, "MulBackward0", 200, 400, 1).annotation(name, 220, 300)
    for kind, start, end in inside:
        b.range(kind, start, end, sequence=9 if kind == "aten::sin" else MISSING)
    return where(attributed(b.range("work", 250, 260)))


def test_an_annotation_in_backward_counts_where_it_runs_a_part_again():
    assert in_backward(("aten::sin", 230, 240))["work"] == "model/part"


def test_an_annotation_that_only_backward_has_does_not_count():
    assert in_backward(("aten::sin", 230, 240), name="hook")["work"] == "model"
    assert in_backward(("aten::sin", 230, 240), forward_part=False)["work"] == "model"


def test_an_annotation_without_a_forward_operation_does_not_count():
    assert in_backward()["work"] == "model"
    assert in_backward(("aten::sin", 310, 320))["work"] == "model"  # beside it
    assert in_backward(("aten::sin", 210, 350))["work"] == "model/part"  # round it: a part without gradient


def test_an_annotation_inside_one_that_counts_does_too():
    b = TraceBuilder().annotation("model", 0, 100).range("aten::mul", 10, 20, sequence=1)
    b.annotation("outer", 30, 90).annotation("inner", 40, 60).range("aten::sin", 70, 80, sequence=2)
    node(b, "MulBackward0", 200, 400, 1).annotation("outer", 210, 390).annotation("inner", 220, 300)
    b.range("work", 250, 260).range("aten::sin", 310, 320, sequence=9)
    assert where(attributed(b))["work"] == "model/outer/inner"


def test_a_scope_that_counts_round_the_node_says_nothing_of_what_is_inside():
    """GIVEN a node in a scope that counts WHEN an annotation in the node holds no operation THEN it does not count"""
    b = TraceBuilder().annotation("model", 0, 100).range("aten::mul", 10, 20, sequence=1)
    b.annotation("part", 30, 60).range("aten::sin", 40, 50, sequence=2)
    node(b, "CheckpointBackward", 200, 900, 1).annotation("part", 210, 800).range("aten::sin", 220, 230, sequence=7)
    node(b, "SinBackward0", 300, 500, 7).annotation("part", 310, 450).range("work", 320, 330)
    found = attributed(b)
    assert (where(found)["work"], how(found)["work"]) == ("model/part", "SEQUENCE")


# --- rule 11: resolution ------------------------------------------------------------------------------------------


def test_how_a_scope_was_found():
    b = (
        TraceBuilder()
        .module("net", 0, 100)
        .range("aten::mul", 10, 20, sequence=1)
        .range("aten::sin", 110, 120, sequence=2)
    )
    node(b, ENGINE + "MulBackward0", 200, 250, 1).range("by number", 210, 220)
    b.range(ENGINE + ACCUMULATE, 300, 350).range("by order", 310, 320)
    b.range(ENGINE + ACCUMULATE, 400, 450).range("perfkit.grad::head", 405, 406).range("by mark", 410, 420)
    b.range("perfkit.backward::tail", 500, 550).range("by range", 510, 520)
    node(b, "Lost", 600, 650, 99).range("lost", 610, 620)
    node(b, "SinBackward0", 700, 750, 2).range("linked to nothing", 710, 720)
    found = attributed(b.range("outside", 800, 810))
    ranges = ("aten::mul", "by number", "by order", "by mark", "by range", "lost", "linked to nothing", "outside")
    assert [(where(found)[name], how(found)[name]) for name in ranges] == [
        ("net", "SCOPE"), ("net", "SEQUENCE"), ("net", "ACCUMULATE"), ("head", "PARAMETER"), ("tail", "HOOK"),
        (UNATTRIBUTED, "NONE"), (UNATTRIBUTED, "SEQUENCE"), (UNATTRIBUTED, "NONE"),
    ]  # fmt: skip


def test_a_scope_in_a_node_is_nearer_than_what_the_node_leads_to():
    b = TraceBuilder().module("a", 0, 100).range("aten::mul", 10, 20, sequence=1)
    node(b, "MulBackward0", 200, 300, 1).module("b", 210, 290).range("work", 220, 230)
    found = attributed(b)
    assert (where(found)["work"], how(found)["work"]) == ("b", "SCOPE")


def test_a_scope_in_a_node_is_nearer_than_the_module_of_perfkits_range_and_outside_it_names_nothing():
    """GIVEN a trace that ends in perfkit's range round a node, with a recomputation in it WHEN attributed THEN what
    runs again is that module's, the rest the range's, and what ran before neither's"""
    b = TraceBuilder().range("before", 0, 5).range("perfkit.backward::tail", 10, 90).range("rest", 80, 85)
    b.range("perfkit.recompute::part", 20, 50).range("again", 30, 40)
    found = where(attributed(b.range("perfkit.backward::last", 100, 110)))
    assert [found[name] for name in ("before", "again", "rest")] == [UNATTRIBUTED, "part", "tail"]


def test_a_scope_round_a_node_is_not():
    b = TraceBuilder().module("a", 0, 100).range("aten::mul", 10, 20, sequence=1)
    node(b.module("b", 190, 400), "MulBackward0", 200, 300, 1).range("work", 220, 230)
    assert where(attributed(b))["work"] == "a"


@pytest.mark.parametrize(("hops", "scope"), [(1, "net"), (8, "net"), (9, UNATTRIBUTED)])
def test_eight_hops_and_no_more(hops, scope):
    """GIVEN backward of backward, each operation standing in the node before WHEN resolved THEN 8 times at most"""
    b = TraceBuilder().module("net", 0, 100).range("aten::mul", 10, 20, sequence=0)
    for hop in range(hops):
        at = 1000 * hop + 1000
        node(b, f"node {hop}", at, at + 500, hop).range("aten::mul", at + 10, at + 400, sequence=hop + 1)
    assert where(attributed(b))[f"node {hops - 1}"] == scope


def test_what_a_checkpointed_function_runs_again_is_its_callers():
    """GIVEN a model that calls a checkpoint, whose parts open again in the node of one of them WHEN attributed THEN
    what runs beside them is the caller's; without a caller round them it has no scope"""

    def recomputed(caller: bool) -> dict[str, str]:
        b = TraceBuilder()
        if caller:
            b.module("net", 0, 100)
        for start, part, number in ((10, "up", 1), (40, "down", 2)):
            b.module(part, start, start + 20).range("aten::mul", start + 5, start + 10, sequence=number)
        node(b, "MulBackward0", 200, 400, 2)
        b.module("up", 210, 230).module("down", 300, 330).range("aten::sin", 240, 260, sequence=9)
        return where(attributed(b.range("work", 245, 250).range("backward itself", 350, 360)))

    assert (recomputed(True)["work"], recomputed(True)["backward itself"]) == ("net", "down")
    assert (recomputed(False)["work"], recomputed(False)["backward itself"]) == (UNATTRIBUTED, "down")


def test_recomputation_opens_again_under_its_name_in_forward():
    b = TraceBuilder().module("net", 0, 100).module("part", 10, 90).range("aten::mul", 20, 30, sequence=1)
    node(b, "MulBackward0", 200, 400, 1).range("perfkit.recompute::part", 210, 230)
    assert where(attributed(b.range("aten::sin", 240, 260, sequence=9)))["aten::sin"] == "net"


@pytest.mark.parametrize(("nested", "scope"), [(3, "s0"), (64, "s0"), (66, "s2")])
def test_the_caller_of_a_checkpoint_is_looked_for_through_64_scopes(nested, scope):
    b = TraceBuilder()
    for level in range(nested + 1):
        b.module(f"s{level}", level, 1000 - level)
    b.range("aten::mul", 400, 500, sequence=1)
    node(b, "MulBackward0", 2000, 9000, 1)
    for level in range(1, nested + 1):
        b.module(f"s{level}", 2010 + 10 * level, 2015 + 10 * level)
    assert where(attributed(b.range("aten::sin", 5000, 5100, sequence=9)))["aten::sin"] == scope


# --- annotations beside modules -----------------------------------------------------------------------------------


def decoding(*, frames: bool) -> TraceBuilder:
    """A decode step of 100 ns inside two ranges of the user, with a module only round the sampling."""
    b = TraceBuilder().step(0, 0, 200).annotation("execute_16", 5, 150).annotation("step[DECODE bs=16]", 10, 110)
    b.range("aten::copy_", 12, 16).launched("copy", 13, 300, 310)
    b.launched("replayed", 20, 310, 390)
    if frames:
        b.range("nn.Module: Sampler_0", 120, 140, HostKind.PYTHON)
    else:
        b.module("sampler", 120, 140)
    return b.range("aten::argmax", 125, 130).launched("argmax", 126, 390, 400).launched("late", 160, 400, 405)


@pytest.mark.parametrize(("frames", "module"), [(True, "Sampler_0"), (False, "sampler")])
def test_outside_every_module_work_has_the_users_ranges_that_it_stands_in(frames, module):
    found = attributed(decoding(frames=frames))
    events = found.events
    scopes = found.path_names(events.path, events.phase).tolist()
    decode = "execute_16/step[DECODE bs=16]"
    assert scopes == [decode, decode, module, UNATTRIBUTED]
    assert [How(value).name for value in events.how] == ["ANNOTATION", "ANNOTATION", "SCOPE", "NONE"]
    assert found.naming.annotations == {"execute_16", decode}
    assert found.scope_source is (ScopeSource.MODULE if frames else ScopeSource.PERFKIT)


def test_a_wait_for_data_stays_visible_beside_perfkits_ranges():
    b = TraceBuilder().step(0, 0, 100).annotation("enumerate(DataLoader)#_Iter.__next__", 0, 80).module("net", 85, 95)
    found = where(attributed(b.range("aten::stack", 10, 20).range("work", 86, 90).range("aten::item", 96, 98)))
    assert (found["aten::stack"], found["work"], found["aten::item"]) == (
        "enumerate(DataLoader)#_Iter.__next__", "net", UNATTRIBUTED,
    )  # fmt: skip


def test_steps_and_optimizers_are_no_ranges_of_users():
    b = TraceBuilder().step(0, 0, 100).annotation("Optimizer.step#SGD.step", 10, 50).range("aten::add_", 20, 30)
    found = attributed(b.module("net", 60, 70))
    assert (where(found)["aten::add_"], found.naming.annotations) == ("optimizer", frozenset())


def test_backward_goes_to_the_annotation_that_its_forward_stood_in():
    """GIVEN a loss in the user's range and a module beside it WHEN backward runs in another range THEN by the links"""
    b = TraceBuilder().module("net", 0, 40).range("aten::mm", 10, 20, sequence=1)
    b.annotation("criterion", 50, 90).range("aten::nll", 60, 70, sequence=2).annotation("## backward ##", 100, 300)
    node(b, "NllBackward", 110, 120, 2).range("in loss", 112, 118)
    node(b, "MmBackward", 130, 140, 1).range("in net", 132, 138)
    node(b, "StrayBackward", 150, 160, 9).range("in stray", 152, 158)
    found = attributed(b.range("between", 200, 210))
    assert where(found) == where(found) | {
        "in loss": "criterion", "in net": "net", "in stray": UNATTRIBUTED, "between": "## backward ##",
    }  # fmt: skip
    assert (how(found)["in loss"], how(found)["in net"], how(found)["between"]) == (
        "ANNOTATION", "SEQUENCE", "ANNOTATION",
    )  # fmt: skip


def test_an_annotation_of_a_modules_name_is_one_scope_with_it():
    found = attributed(TraceBuilder().module("net", 0, 40).annotation("net", 50, 90).range("work", 60, 70))
    assert (where(found)["work"], found.paths, found.naming.annotations) == ("net", ("net",), frozenset())


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["sglang_decode_replay", "b300_moe_decode", "mi300_moe_decode"])
def test_replayed_decode_steps_have_the_users_ranges(name):
    """GIVEN decode steps of which 97% or more had no scope (issue 11), sampling aside WHEN attributed THEN the step"""
    found = attribute(trace := load(corpus_file(f"kineto/{name}.json.gz")))
    time = trace.device.end - trace.device.start
    scopes = found.path_names(found.events.path, found.events.phase)
    in_step = np.array(["step[DECODE bs=" in scope for scope in scopes])
    assert time[in_step].sum() > 0.96 * time.sum()


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("v100_training", 99.43), ("a100_ddp_training", 98.71), ("mi300_resnet_checkpoint_training", 95.24),
        ("h100_qwen_0.5b_inference", 100.0), ("h100_bert_small_inference", 100.0), ("mi300_compiled_triton", 0.0),
    ],
)  # fmt: skip
def test_scoped_shares_of_real_traces(name, percent):
    """GIVEN traces with known shares of launched time in a scope (a prototype's, in the issue) THEN they come out"""
    partial = account_for(trace := load(corpus_file(f"kineto/{name}.json.gz")), attribute(trace)).partial
    phases = partial.of(CELLS).groupby("phase")["total_ns"].sum()
    launched = phases.drop([Phase.COMMUNICATION, Phase.UNLAUNCHED], errors="ignore").sum()
    assert round(100 * summary(partial)["scoped_ns"] / launched, 2) == percent
