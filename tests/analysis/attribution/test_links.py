"""Backward nodes and the operations that made them, by the rules 4 to 8 of docs/attribution.md, one case each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution import links
from perfkit.analysis.attribution.host_view import HostView, view
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.links import NEVER, Links
from perfkit.trace.columns import AutogradFlows, Trace
from tests.builders import ENGINE, TraceBuilder

ACCUMULATE = "torch::autograd::AccumulateGrad"


class Linked:
    """A trace's links, asked for by names of ranges; one that comes again is `name`, `name.2` and so on by start."""

    def __init__(self, trace: TraceBuilder | Trace) -> None:
        self.trace = trace if isinstance(trace, Trace) else trace.build()
        self.seen: HostView = view(self.trace)
        self.attribution: Links = links.link(self.trace, self.seen)
        self.names: list[str] = []
        for row in range(len(self.seen.name)):
            name = self.seen.name_of(row)
            times = sum(self.seen.name_of(earlier) == name for earlier in range(row)) + 1
            self.names.append(name if times == 1 else f"{name}.{times}")

    def flags(self, column: np.ndarray) -> set[str]:
        return {name for name, flag in zip(self.names, column, strict=True) if flag}

    def rows(self, column: np.ndarray) -> dict[str, str]:
        """Range -> the range that the column leads to, where it leads anywhere."""
        return {name: self.names[row] for name, row in zip(self.names, column, strict=True) if row != NONE}

    @property
    def targets(self) -> dict[str, str]:
        return self.rows(self.attribution.target)

    @property
    def owners(self) -> dict[str, str]:
        return self.rows(self.attribution.owner)

    @property
    def again(self) -> set[str]:
        return self.flags(links.run_again(self.seen, self.attribution))


def op(b: TraceBuilder, name: str, start: int, sequence: int, thread: int = 0, length: int = 5) -> TraceBuilder:
    return b.range(name, start, start + length, sequence=sequence, thread=thread)


def node(b: TraceBuilder, name: str, start: int, sequence: int, forward: int = 1, **columns: Any) -> TraceBuilder:
    """A backward node without the engine's range round it."""
    end = columns.pop("end", start + 5)
    return b.range(name, start, end, sequence=sequence, forward_thread=forward, **columns)


# --- rule 4: what is a node ---------------------------------------------------------------------------------------


def test_nodes_and_forward_operations_by_name_number_and_thread():
    b = TraceBuilder().range("forward 0", 0, 5, sequence=0).range("forward 7", 10, 15, sequence=7)
    b.range("plain", 20, 25).range("a thread but no number", 30, 35, forward_thread=1)
    node(b, "node 0", 40, 0)
    node(b, "node 7", 50, 7, forward=2)
    b.range(ENGINE + "bare", 60, 65)
    node(b, ENGINE + "numbered", 70, 7)
    b.range(ACCUMULATE, 80, 85).range(f"x {ACCUMULATE} y", 90, 95, sequence=3)
    b.range("perfkit.backward::alone", 100, 105)
    found = Linked(b)
    nodes = {"node 0", "node 7", ENGINE + "bare", ENGINE + "numbered", ACCUMULATE, f"x {ACCUMULATE} y"}
    assert found.flags(found.attribution.is_node) == {*nodes, "perfkit.backward::alone"}
    assert found.flags(found.attribution.is_forward_op) == {"forward 0", "forward 7"}
    assert found.flags(found.attribution.numbered) == {"node 0", "node 7"}
    assert found.flags(found.attribution.is_hooked) == {"perfkit.backward::alone"}


def test_perfkits_range_in_a_node_is_no_node_of_its_own():
    b = TraceBuilder().range(ENGINE + "MulBackward0", 0, 50).range("perfkit.backward::m", 5, 45)
    found = Linked(b.range("inside", 10, 20))
    assert found.flags(found.attribution.is_node) == {ENGINE + "MulBackward0"}
    assert set(found.rows(found.attribution.node).values()) == {ENGINE + "MulBackward0"}


def test_the_operation_and_the_node_round_a_range():
    b = op(TraceBuilder(), "mul", 0, 1, length=50).range("inside mul", 10, 20).range("outside", 60, 70)
    found = Linked(node(b, "MulBackward0", 100, 1, end=150).range("inside node", 110, 120))
    around = {"mul": "mul", "inside mul": "mul", "MulBackward0": "MulBackward0", "inside node": "MulBackward0"}
    assert found.rows(found.attribution.operation) == around
    assert found.rows(found.attribution.node) == {"MulBackward0": "MulBackward0", "inside node": "MulBackward0"}


# --- rule 5: numbers of the engine's ranges -----------------------------------------------------------------------


def engine(own: int, *inner: tuple[str, int]) -> Linked:
    """The engine's range for MulBackward0, with nodes inside; operations 1, 2 and 3 ran before."""
    b = TraceBuilder()
    for number in (0, 1, 2, 3):
        op(b, f"mul {number}", 10 * number, number)
    columns: Any = {"sequence": own, "forward_thread": 1} if own >= 0 else {}
    b.range(ENGINE + "MulBackward0", 100, 200, **columns)
    for place, (name, number) in enumerate(inner):
        node(b, name, 110 + 10 * place, number)
    return Linked(b)


@pytest.mark.parametrize(
    ("own", "inner", "target"),
    [
        (-1, [("MulBackward0", 2)], "mul 2"),
        (-1, [("MulBackward0", 2), ("MulBackward0", 3)], "mul 2"),  # the first
        (-1, [("AddBackward0", 1), ("MulBackward0", 2)], "mul 2"),  # of its name
        (-1, [("AddBackward0", 1)], None),
        (-1, [], None),
        (1, [("MulBackward0", 2)], "mul 1"),  # its own number stays
        (0, [("MulBackward0", 2)], "mul 0"),
    ],
)
def test_an_engines_range_without_a_number_takes_that_of_its_node(own, inner, target):
    found = engine(own, *inner)
    assert found.targets.get(ENGINE + "MulBackward0") == target
    assert found.targets.get("MulBackward0") == ("mul 2" if ("MulBackward0", 2) in inner else None)


def test_an_engines_range_takes_the_thread_with_the_number():
    """GIVEN operations of one number on two threads WHEN the engine's range has no number THEN its node's is it"""
    b = op(op(TraceBuilder(), "here", 0, 4), "there", 10, 4, thread=1)
    op(b, "only there", 20, 5, thread=1)
    b.range(ENGINE + "B", 100, 150)
    node(b, "B", 110, 4, forward=2)
    node(b, "C", 160, 5, forward=2)
    assert Linked(b).targets == {ENGINE + "B": "there", "B": "there", "C": "only there"}


# --- rule 6: whose number it is -----------------------------------------------------------------------------------


def arrows(trace: Trace, *ends: tuple[int, bool, int, int]) -> Trace:
    """With arrows, each end as (id, whether it is the forward end, thread, time)."""
    columns = [np.array(column, dtype=dtype) for column, dtype in zip(
        zip(*ends, strict=True), (np.int64, bool, np.int32, np.int64), strict=True)]  # fmt: skip
    return replace(trace, flows=AutogradFlows(*columns))


def two_threads() -> TraceBuilder:
    """Threads 0 and 1 ran operations of the numbers 1 and 2; thread 2 runs their nodes, of counters 1 and 2."""
    b = TraceBuilder()
    for thread in (0, 1):
        for number in (1, 2):
            op(b, f"op {number} on {thread}", 10 * number, number, thread=thread)
    node(b, "A", 100, 1, forward=1, thread=2)
    node(b, "B", 200, 2, forward=1, thread=2)
    node(b, "C", 300, 2, forward=2, thread=2)
    return b


NOT_SWAPPED = {"A": "op 1 on 0", "B": "op 2 on 0", "C": "op 2 on 0"}


def test_arrows_tell_which_thread_a_counter_is():
    """GIVEN arrows from thread 1 for counter 1 and from thread 0 for counter 2 WHEN linked THEN by them"""
    trace = arrows(
        two_threads().build(), (8, False, 2, 100), (8, True, 1, 10), (5, True, 0, 20), (5, False, 2, 300),
    )  # fmt: skip
    assert Linked(trace).targets == {"A": "op 1 on 1", "B": "op 2 on 1", "C": "op 2 on 0"}


def test_most_arrows_win():
    ends = [(1, True, 1, 10), (1, False, 2, 100), (2, True, 1, 20), (2, False, 2, 200), (3, True, 0, 20)]
    assert Linked(arrows(two_threads().build(), *ends, (3, False, 2, 100))).targets["A"] == "op 1 on 1"


@pytest.mark.parametrize(
    "ends",
    [
        [(1, True, 1, 10), (1, False, 2, 101)],  # ends behind the start of a node
        [(1, True, 1, 10), (1, False, 2, 99)],
        [(1, True, 1, 10), (1, False, 0, 100)],  # ends on a thread without nodes
        [(1, True, 1, 10), (2, False, 2, 100)],  # has no beginning
        [(2, True, 1, 10), (1, False, 2, 100)],
        [(1, False, 2, 100)],
        [(1, True, 1, 10)],
    ],
)
def test_arrows_that_do_not_lead_to_a_node_tell_nothing(ends):
    assert Linked(arrows(two_threads().build(), *ends)).targets == NOT_SWAPPED


def test_without_arrows_the_thread_that_shares_most_numbers_wins():
    """GIVEN one number three times on thread 0, two different ones on thread 1 WHEN linked THEN numbers count once"""
    b = TraceBuilder()
    for start in (0, 10, 20):
        op(b, f"peek {start}", start, 1)
    op(op(b, "one", 30, 1, thread=1), "two", 40, 2, thread=1)
    for other in (6, 7, 8):  # numbers that no node has tell nothing
        op(b, f"other {other}", 10 * other, other)
    node(node(b, "A", 100, 1, thread=2), "B", 110, 2, thread=2)
    assert Linked(b).targets == {"A": "one", "B": "two"}


def test_a_counter_without_a_thread_leads_nowhere():
    b = node(op(TraceBuilder(), "mul", 0, 3), "A", 100, 5)
    assert Linked(b).targets == {}


# --- rule 7: which operation --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "target"), [(99, "late"), (100, "late"), (101, "early")])
def test_the_last_operation_that_started_no_later_than_the_node(at, target):
    b = op(op(TraceBuilder(), "early", 10, 3), "late", at, 3)
    assert Linked(node(b, "B", 100, 3, thread=1)).targets == {"B": target}


def test_an_operation_that_starts_with_the_node_it_runs_in_did_not_make_it():
    b = op(TraceBuilder(), "early", 10, 3)
    node(b, "B", 100, 3, end=150)
    op(b, "inside", 100, 3)
    assert Linked(b).targets == {"B": "early"}


def test_a_number_that_no_operation_carries_leads_nowhere():
    """GIVEN operations 5 and 7 WHEN nodes carry 5, 6 and 7 THEN the operation of 6 is missing, and nothing takes it"""
    b = op(op(TraceBuilder(), "addmm", 0, 5), "relu", 10, 7)
    for start, name, number in (
        (100, "ReluBackward0", 7),
        (110, "ConvolutionBackward0", 6),
        (120, "AddmmBackward0", 5),
    ):
        node(b, name, start, number)
    found = Linked(b)
    assert found.targets == {"ReluBackward0": "relu", "AddmmBackward0": "addmm"}
    assert found.flags(found.attribution.guessed) == set()


def test_the_last_use_of_a_number():
    """GIVEN two nodes of number 3 and one of number 4 elsewhere WHEN linked THEN an operation knows the last start"""
    b = op(op(op(TraceBuilder(), "three", 0, 3), "four", 10, 4), "three there", 20, 3, thread=1)
    found = Linked(node(node(b, "A", 100, 3), "B", 250, 3))
    last = dict(zip(found.names, found.attribution.last_use.tolist(), strict=True))
    assert [last[name] for name in ("three", "four", "three there", "A")] == [250, NEVER, NEVER, NEVER]


# --- rule 8: accumulation -----------------------------------------------------------------------------------------


def test_accumulation_goes_with_the_last_linked_engines_range_before_it_on_its_thread():
    b = op(op(TraceBuilder(), "one", 0, 1), "two", 10, 2)
    b.range(ENGINE + ACCUMULATE, 90, 95, thread=1)  # nothing ran before it
    b.node("A", 100, 150, 1, thread=1)
    node(b, "no engine's range", 180, 2, thread=1)
    b.range(ENGINE + ACCUMULATE, 200, 250, thread=1).range(ACCUMULATE, 210, 240, thread=1)
    b.node("B", 300, 350, 2, thread=0).range(ENGINE + ACCUMULATE, 400, 410, thread=1)
    found = Linked(b)
    accumulations = {name: target for name, target in found.targets.items() if ACCUMULATE in name}
    # by start: thread 1's first at 90, then those at 200 and 400
    assert accumulations == {ENGINE + ACCUMULATE + ".2": "one", ACCUMULATE: "one", ENGINE + ACCUMULATE + ".3": "one"}
    assert found.flags(found.attribution.by_accumulation) == {
        ENGINE + ACCUMULATE, ENGINE + ACCUMULATE + ".2", ENGINE + ACCUMULATE + ".3", ACCUMULATE,
    }  # fmt: skip


def test_accumulation_after_a_node_that_links_nowhere_links_nowhere():
    """GIVEN a linked node, then one whose operation is missing WHEN a gradient follows THEN it is not the first's"""
    b = op(TraceBuilder(), "one", 0, 1).node("A", 100, 150, 1, thread=1).node("Lost", 160, 170, 99, thread=1)
    found = Linked(b.range(ENGINE + ACCUMULATE, 200, 250, thread=1))
    assert found.targets == {ENGINE + "A": "one", "A": "one"}
    assert found.flags(found.attribution.by_accumulation) == {ENGINE + ACCUMULATE}


def test_an_accumulation_with_a_number_of_its_own_goes_by_that():
    b = op(op(TraceBuilder(), "one", 0, 1), "two", 10, 2).node("A", 100, 150, 1)
    found = Linked(node(b, ACCUMULATE, 200, 2))
    assert found.targets[ACCUMULATE] == "two"
    assert not found.flags(found.attribution.by_accumulation)


# --- marks and perfkit's ranges round nodes -----------------------------------------------------------------------


def test_the_first_mark_names_the_accumulation_and_the_engines_range_round_it():
    b = TraceBuilder().range(ENGINE + ACCUMULATE, 0, 100).range(ACCUMULATE, 10, 90)
    b.range("perfkit.grad::a", 20, 21).range("perfkit.grad::b", 30, 31)
    assert Linked(b).owners == {ENGINE + ACCUMULATE: "perfkit.grad::a", ACCUMULATE: "perfkit.grad::a"}


def test_a_mark_after_the_accumulation_does_not_rename_the_engines_range():
    b = TraceBuilder().range(ENGINE + ACCUMULATE, 0, 90).range(ACCUMULATE, 10, 60)
    b.range("perfkit.grad::a", 20, 30).range("perfkit.grad::b", 70, 80)
    assert Linked(b).owners == {ENGINE + ACCUMULATE: "perfkit.grad::a", ACCUMULATE: "perfkit.grad::a"}


def test_a_mark_in_the_engines_range_alone_names_that():
    b = TraceBuilder().range(ENGINE + ACCUMULATE, 0, 100).range("perfkit.grad::a", 20, 21)
    assert Linked(b).owners == {ENGINE + ACCUMULATE: "perfkit.grad::a"}


def test_a_mark_names_nothing_further_out():
    """GIVEN an accumulation inside another node WHEN marked THEN the outer node has no owner; nor without a node"""
    b = TraceBuilder().range(ENGINE + "CheckpointBackward", 0, 200).range(ENGINE + ACCUMULATE, 10, 100)
    b.range("perfkit.grad::a", 20, 21).range("perfkit.grad::b", 300, 301)
    assert Linked(b).owners == {ENGINE + ACCUMULATE: "perfkit.grad::a"}
    proper = TraceBuilder().range(ENGINE + "CheckpointBackward", 0, 200).range(ACCUMULATE, 10, 100)
    assert Linked(proper.range("perfkit.grad::a", 20, 21)).owners == {ACCUMULATE: "perfkit.grad::a"}
    other = TraceBuilder().range(ENGINE + "MulBackward0", 0, 200).range("perfkit.grad::a", 20, 21)
    assert Linked(other).owners == {}
    nested = TraceBuilder().range(ENGINE + ACCUMULATE, 0, 200).range(ENGINE + ACCUMULATE, 10, 100)
    assert Linked(nested.range("perfkit.grad::a", 20, 21)).owners == {ENGINE + ACCUMULATE + ".2": "perfkit.grad::a"}


def test_the_first_of_several_marks_counts_wherever_they_stand():
    """GIVEN a mark in the accumulation and one after it in the engine's range WHEN linked THEN both take the first"""
    b = TraceBuilder().range(ENGINE + ACCUMULATE, 0, 100).range(ACCUMULATE, 10, 50).range("perfkit.grad::a", 20, 21)
    owners = Linked(b.range("perfkit.grad::b", 60, 61)).owners
    assert owners == {ENGINE + ACCUMULATE: "perfkit.grad::a", ACCUMULATE: "perfkit.grad::a"}


def test_perfkits_range_names_a_node_that_leads_nowhere():
    """GIVEN nodes without a number, with perfkit's range between the engine's and the node WHEN linked THEN it names
    both, the first of two; what runs beside it has no owner"""
    b = TraceBuilder().range(ENGINE + "Custom", 0, 100).range("perfkit.backward::a", 10, 60)
    node(b, "CustomBackward", 20, 99, end=40)
    node(b, "beside", 70, 98).range("perfkit.backward::b", 80, 90)
    assert Linked(b).owners == {ENGINE + "Custom": "perfkit.backward::a", "CustomBackward": "perfkit.backward::a"}


def test_perfkits_range_alone_is_a_node_that_names_itself():
    b = TraceBuilder().range("perfkit.backward::a", 0, 50)
    assert Linked(b).owners == {"perfkit.backward::a": "perfkit.backward::a"}
    assert Linked(node(b, "lost", 10, 99, end=40)).owners["perfkit.backward::a"] == "perfkit.backward::a"


def test_numbers_and_marks_come_before_perfkits_range():
    b = op(TraceBuilder(), "mul", 0, 1).range(ENGINE + "B", 100, 200, sequence=1, forward_thread=1)
    node(b.range("perfkit.backward::a", 110, 190), "B", 120, 1, end=180)
    b.range(ENGINE + ACCUMULATE, 300, 400).range("perfkit.backward::a", 310, 390).range(ACCUMULATE, 320, 380)
    found = Linked(b.range("perfkit.grad::p", 330, 331))
    assert found.owners == {ENGINE + ACCUMULATE: "perfkit.grad::p", ACCUMULATE: "perfkit.grad::p"}
    unmarked = TraceBuilder().range(ENGINE + ACCUMULATE, 300, 400).range("perfkit.backward::a", 310, 390)
    assert set(Linked(unmarked.range(ACCUMULATE, 320, 380)).owners.values()) == {"perfkit.backward::a"}


# --- what is run again --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("used_at", "again"), [(None, True), (199, True), (200, False), (300, False)])
def test_an_operation_in_a_node_is_run_again_unless_its_own_node_comes_later(used_at, again):
    """GIVEN an operation in a node that ends at 200 WHEN its number's last node starts before or after that
    THEN it is a recomputation, or double backward"""
    b = op(TraceBuilder(), "mul", 0, 1)
    node(b, "MulBackward0", 100, 1, end=200)
    op(b, "inner", 110, 9, length=50).range("inside", 120, 130).range("beside", 170, 180)
    if used_at is not None:
        node(b, "used", used_at, 9, end=used_at + 1, thread=1)
    assert Linked(b).again == ({"inner", "inside"} if again else set())


def test_nothing_outside_nodes_is_run_again():
    b = op(TraceBuilder(), "mul", 0, 1, length=50).range("inside", 10, 20)
    assert Linked(b).again == set()
    b.range("plain", 60, 70)
    node(b, "MulBackward0", 100, 1, end=200).range("inside the node", 110, 120)
    assert Linked(op(b, "last", 300, 2)).again == set()


def test_a_node_inside_an_operation_ends_what_is_run_again():
    """GIVEN a node that runs inside an operation WHEN asked THEN what stands in the node directly is not run again"""
    b = op(TraceBuilder(), "outer", 0, 1, length=500)
    node(b, "MulBackward0", 100, 1, end=200).range("inside", 110, 120)
    assert Linked(b).again == set()
