"""Where ranges round nodes and sequence numbers say the same of backward, and where not."""

from __future__ import annotations

from typing import Any

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.backward_agreement import Agreement, agreement
from tests.builders import ENGINE, TraceBuilder

ACCUMULATE = "torch::autograd::AccumulateGrad"


class Program:
    """A forward of modules a and b, with numbers 1 and 2, and nodes with both accounts."""

    def __init__(self) -> None:
        self.at = 1000
        self.b = TraceBuilder()
        for number, name in enumerate("ab", start=1):
            self.b.module(name, 100 * number, 100 * number + 90)
            self.b.range("aten::mm", 100 * number + 10, 100 * number + 50, sequence=number)

    def node(self, name: str, number: int, ranged: str) -> Program:
        at, self.at = self.at, self.at + 100
        columns: Any = {"sequence": number, "forward_thread": 1}
        self.b.range(ENGINE + name, at, at + 90, **columns)
        self.b.range(f"perfkit.backward::{ranged}", at + 10, at + 80).range(name, at + 20, at + 70, **columns)
        return self

    def agreement(self) -> Agreement | None:
        return agreement(attribute(self.b.build()))


def test_equal_accounts():
    found = Program().node("MmBackward0", 1, "a").node("MmBackward0", 2, "b").agreement()
    assert found == Agreement(2, 2, ())
    assert str(found) == "backward ranges agree with sequence numbers: 2 of 2 nodes"


def test_differences_most_frequent_first():
    p = Program().node("MmBackward0", 1, "a").node("AddBackward0", 1, "b")
    found = p.node("MmBackward0", 2, "a").node("MmBackward0", 2, "a").agreement()
    assert found == Agreement(4, 1, (("MmBackward0", "a", "b", 2), ("AddBackward0", "b", "a", 1)))
    assert str(found) == (
        "backward ranges agree with sequence numbers: 1 of 4 nodes;"
        " MmBackward0 is of a by its range and of b by its number (2x);"
        " AddBackward0 is of b by its range and of a by its number (1x)"
    )


def test_three_kinds_of_differences_are_shown_and_the_others_counted():
    three = Agreement(9, 5, tuple((f"N{number}", "a", "b", 1) for number in range(3)))
    five = Agreement(9, 5, tuple((f"N{number}", "a", "b", 1) for number in range(5)))
    assert str(three).count(";") == 3
    assert "N2" in str(three)
    assert str(five) == f"{three}; 2 more kinds"


def test_only_nodes_that_have_both_are_compared():
    """GIVEN nodes with a range but no link, accumulations, ranges alone, and ranges within no node WHEN compared THEN
    there is nothing to compare"""
    p = Program().node("Lost", 99, "a")
    p.b.range(ENGINE + ACCUMULATE, 5000, 5090).range("perfkit.backward::a", 5010, 5080)
    p.b.range("perfkit.backward::b", 6000, 6010)
    p.b.range("MulBackward0", 7000, 7090, sequence=1, forward_thread=1).range("no range of perfkit's", 7010, 7020)
    assert p.agreement() is None
    assert p.node("MmBackward0", 1, "a").agreement() == Agreement(1, 1, ())


def test_other_scopes_have_other_names():
    b = TraceBuilder().annotation("a", 0, 90).range("aten::mm", 10, 50, sequence=1)
    b.range(ENGINE + "B", 100, 190, sequence=1, forward_thread=1).range("perfkit.backward::a", 110, 180)
    assert agreement(attribute(b.build())) is None
