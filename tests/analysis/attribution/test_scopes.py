"""Which ranges are scopes, what each is called and where time goes from them: rules 9, 11 and 12, one case each."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Attribution, Phase, attribute
from perfkit.analysis.attribution.scopes import How, ScopeSource
from perfkit.trace.columns import MISSING, HostKind
from tests.builders import ENGINE, TraceBuilder

ACCUMULATE = "torch::autograd::AccumulateGrad"


def attributed(b: TraceBuilder, **options) -> Attribution:
    return attribute(b.build(), **options)


def where(found: Attribution) -> dict[str, str]:
    """Host range -> scope; of ranges that come again, the last."""
    names = found.path_names(found.ranges.path, found.ranges.phase)
    return {found.host.name_of(row): str(name) for row, name in enumerate(names)}


def how(found: Attribution) -> dict[str, str]:
    return {found.host.name_of(row): How(value).name for row, value in enumerate(found.ranges.how)}


def node(b: TraceBuilder, name: str, start: int, end: int, sequence: int) -> TraceBuilder:
    return b.range(name, start, end, sequence=sequence, forward_thread=1)


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


@pytest.mark.parametrize(
    "name",
    [
        "ProfilerStep#3", "nccl:all_reduce", "gloo:broadcast", "Optimizer.other",
        "DistributedDataParallel.forward", "record_param_comms", "Torch-Compiled Region: 0/0",
        "## Call CompiledFxGraph x ##", "CompiledFunction", "TorchDynamo Cache Lookup", "AOTDispatcher Runtime Wrapper",
        "Pregraph bytecode", "perfkit.step::0", "perfkit:x",
    ],
)  # fmt: skip
def test_annotations_that_stand_for_no_part_of_a_model(name):
    b = TraceBuilder().annotation(name, 0, 50).range("work", 10, 20).annotation("mine", 60, 90).range("other", 70, 80)
    found = where(attributed(b))
    assert (found["work"], found["other"]) == (UNATTRIBUTED, "mine")


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


# --- rule 12: paths -----------------------------------------------------------------------------------------------


def frames(*names: str) -> TraceBuilder:
    b = TraceBuilder()
    for level, name in enumerate(names):
        b.range(f"nn.Module: {name}", level, 100 - level, HostKind.PYTHON)
    return b.range("work", 50, 51)


TREE = {"net": "Net", "net.a": "Linear", "net.b": "Linear"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Linear_0", "net.a"), ("Linear_1", "net.b"), ("Linear_2", "Net_0/Linear_2"), ("Conv_0", "Net_0/Conv_0"),
        ("Linear_x", "Net_0/Linear_x"), ("Linear", "Net_0/Linear"),
    ],
)  # fmt: skip
def test_frames_have_their_place_in_the_tree_or_none_has(name, path):
    found = attributed(frames("Net_0", name), modules=TREE)
    assert (where(found)["work"], found.qualified) == (path, "/" not in path)


def test_frames_without_a_tree_are_joined():
    found = attributed(frames("Net_0", "Block_1", "Linear_2"))
    assert (where(found)["work"], found.qualified) == ("Net_0/Block_1/Linear_2", False)


def test_frames_between_modules_are_no_part_of_the_path():
    b = TraceBuilder().range("nn.Module: Net_0", 0, 100, HostKind.PYTHON).range("forward", 5, 95, HostKind.PYTHON)
    b.range("nn.Module: Linear_0", 10, 90, HostKind.PYTHON).range("linear", 15, 85, HostKind.PYTHON)
    assert where(attributed(b.range("work", 50, 51)))["work"] == "Net_0/Linear_0"


@pytest.mark.parametrize(("length", "kept"), [(1023, 4), (1024, 3)])
def test_what_is_nested_too_deep_counts_to_the_scope_around_it(length, kept):
    """GIVEN five nested ranges, whose names with separators are 4,095 characters at the fourth, or 4,099 WHEN joined
    THEN the last path has 4,096 at most: written out at each level, those of 10,000 levels are a GiB"""
    b = TraceBuilder()
    names = [letter * length for letter in "abcde"]
    for level, name in enumerate(names):
        b.annotation(name, level, 100 - level)
    found = attributed(b.range("work", 40, 50))
    assert where(found)["work"] == "/".join(names[:kept])
    assert len(found.paths) == kept


def test_one_name_in_two_places_is_two_paths():
    b = TraceBuilder()
    for at, outer in ((0, "a"), (100, "b"), (200, "a")):
        b.annotation(outer, at, at + 90).annotation("x", at + 10, at + 80).range(f"work {at}", at + 20, at + 30)
    found = attributed(b)
    assert [where(found)[f"work {at}"] for at in (0, 100, 200)] == ["a/x", "b/x", "a/x"]
    assert sorted(found.paths) == ["a", "a/x", "b", "b/x"]


def recomputed_chain(*inside: str, forward: tuple[tuple[str, ...], ...], origin: int = 0) -> str:
    """The scope of work in nested annotations of a node, whose operation ran in the so-manyth forward chain."""
    b = TraceBuilder()
    for number, chain in enumerate(forward):
        at = 1000 * number
        for level, name in enumerate(chain):
            b.annotation(name, at + level, at + 900 - level)
        b.range("aten::mul", at + 100, at + 200, sequence=number)
    node(b, "MulBackward0", 10000, 11000, origin)
    for level, name in enumerate(inside):
        b.annotation(name, 10010 + level, 10900 - level)
    return where(attributed(b.range("aten::sin", 10100, 10200, sequence=99)))["aten::sin"]


def test_a_recomputed_chain_has_the_front_that_makes_it_a_path_of_forward():
    """GIVEN a node that leads into net/block/a WHEN block/b, or b, or a runs again in it THEN by the longest front"""
    forward = (("net", "block", "a"), ("net", "block", "b"))
    assert recomputed_chain("block", "b", forward=forward) == "net/block/b"
    assert recomputed_chain("b", forward=forward) == "net/block/b"
    assert recomputed_chain("a", forward=forward) == "net/block/a"
    assert recomputed_chain("net", "block", "b", forward=forward) == "net/block/b"
    nested = (("net", "x", "x"), ("net", "x"), ("x",))
    assert recomputed_chain("x", forward=nested) == "net/x/x"
    assert recomputed_chain("x", forward=nested, origin=1) == "net/x/x"
    assert recomputed_chain("x", forward=nested, origin=2) == "x"


def test_failing_that_the_only_path_that_ends_so():
    assert recomputed_chain("b", forward=(("net", "a"), ("other", "b"))) == "other/b"
    assert recomputed_chain("b", forward=(("net", "a"), ("other", "b"), ("third", "b"))) == "b"
    assert recomputed_chain("x", "b", forward=(("net", "a"), ("x",), ("b",), ("yx", "b"))) == "x/b"
    assert recomputed_chain("x", "b", forward=(("net", "a"), ("x",), ("b",), ("y", "x", "b"))) == "y/x/b"


def test_a_checkpoint_in_a_checkpoint_takes_the_outer_ones_front_first():
    """GIVEN a chain whose node leads into what was run again itself WHEN attributed THEN that part's front is first"""
    b = TraceBuilder().annotation("net", 0, 900).annotation("outer", 10, 800)
    b.range("aten::mul", 20, 30, sequence=1).annotation("inner", 100, 700).range("aten::sin", 110, 120, sequence=2)
    b.annotation("other", 910, 990).annotation("inner", 920, 980).range("aten::sin", 930, 940, sequence=3)
    node(b, "MulBackward0", 1000, 5000, 1).annotation("outer", 1010, 4000).annotation("inner", 1020, 1900)
    b.range("aten::sin", 1030, 1040, sequence=7)
    node(b, "SinBackward0", 2000, 3000, 7).annotation("inner", 2010, 2900).range("aten::cos", 2020, 2100, sequence=50)
    found = attributed(b.range("work", 2030, 2040))
    assert where(found)["work"] == "net/outer/inner"
    assert Phase(found.ranges.phase[-1]) is not Phase.FORWARD
