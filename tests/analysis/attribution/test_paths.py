"""What scopes are called: whole labels, joined ones, and those of what runs again (rule 12), one case each."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Phase
from perfkit.trace.columns import HostKind
from tests.analysis.attribution.whereabouts import attributed, frames, node, where
from tests.builders import TraceBuilder


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
