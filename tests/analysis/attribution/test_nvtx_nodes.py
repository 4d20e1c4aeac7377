"""Backward nodes of emit_nvtx: numbers without threads, and which thread they are of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.analysis.attribution import links
from perfkit.analysis.attribution.host_view import view
from perfkit.analysis.attribution.intervals import NONE
from perfkit.trace.columns import Thread
from perfkit.trace.recording import Recording, Tool
from tests.builders import ENGINE, TraceBuilder, saying


class Program:
    """Ranges of an export: numbers only."""

    def __init__(self) -> None:
        self.b = TraceBuilder()
        self.pids: dict[int, int] = {}

    def op(self, name: str, start: int, end: int, sequence: int, thread: int = 0) -> Program:
        self.b.range(name, start, end, sequence=sequence, thread=thread)
        return self

    def plain(self, name: str, start: int, end: int, thread: int = 0) -> Program:
        self.b.range(name, start, end, thread=thread)
        return self

    def node(self, name: str, start: int, end: int, sequence: int, thread: int = 0) -> Program:
        return self.plain(ENGINE + name, start, end, thread).op(name, start + 2, end - 2, sequence, thread)

    def threads(self) -> dict[str, int]:
        """Name -> what was found: 1 + the forward thread on a node, 0 on an operation, NONE without a number."""
        trace = self.b.build()
        threads = tuple(Thread(self.pids.get(index, 1), index) for index in range(len(trace.threads)))
        host = view(replace(trace, threads=threads, recording=Recording(Tool.NSYS)))
        return {host.name_of(row): int(value) for row, value in enumerate(host.forward_thread)}

    def targets(self) -> dict[str, str]:
        trace = saying(self.b.build(), tool=Tool.NSYS)
        host = view(trace)
        target = links.link(trace, host).target
        return {host.name_of(row): host.name_of(to) for row, to in enumerate(target) if to != NONE}


def test_nodes_are_ranges_directly_in_the_engines_range_of_their_name():
    """GIVEN ranges in the engine's: its node, another name, one deeper, one outside WHEN read THEN one is a node"""
    p = Program().op("mul", 0, 10, 0).op("MulBackward0", 20, 30, 3).plain("no number", 40, 50)
    p.plain(ENGINE + "B", 100, 200).op("B", 110, 190, 0).op("C", 120, 130, 5)
    p.plain(ENGINE + "D", 300, 400).plain("between", 310, 390).op("D", 320, 380, 6)
    p.plain(ENGINE + "E", 500, 600).op("MulBackward0x", 510, 520, 7).plain(ENGINE + "unknown", 700, 710)
    assert p.threads() == {
        "mul": 0, "MulBackward0": 0, "no number": NONE, ENGINE + "B": NONE, "B": 1, "C": 0, ENGINE + "D": NONE,
        "between": NONE, "D": 0, ENGINE + "E": NONE, "MulBackward0x": 0, ENGINE + "unknown": NONE,
    }  # fmt: skip


def test_perfkits_range_may_stand_between():
    p = Program().op("mul", 0, 10, 4).plain(ENGINE + "B", 100, 200).plain("perfkit.backward::m", 110, 190)
    p.op("B", 120, 180, 4)
    p.plain(ENGINE + "C", 300, 400).plain("perfkit::m", 310, 390).op("C", 320, 380, 5)
    found = p.threads()
    assert (found["B"], found["C"]) == (1, 0)
    assert p.targets()["B"] == "mul"


def test_the_thread_whose_operations_carry_most_of_the_numbers():
    """GIVEN nodes 1 to 3, of which thread 1 has two, and thread 0 one, four times WHEN read THEN all are of thread 1"""
    p = Program()
    for start in (0, 10, 20, 30):
        p.op(f"peek {start}", start, start + 5, 1)
    p.op("two", 0, 5, 2, thread=1).op("three", 10, 15, 3, thread=1).op("eight", 20, 25, 8).op("nine", 40, 45, 9)
    for number in (1, 2, 3):
        p.node(f"B{number}", 100 * number, 100 * number + 50, number, thread=2)
    found = p.threads()
    assert [found[f"B{number}"] for number in (1, 2, 3)] == [2, 2, 2]
    assert p.targets() == {"B2": "two", "B3": "three", ENGINE + "B2": "two", ENGINE + "B3": "three"}


def test_each_process_has_threads_of_its_own():
    p = Program().op("a", 0, 5, 1).op("b", 0, 5, 1, thread=2)
    p.node("A", 100, 150, 1, thread=1).node("B", 100, 150, 1, thread=3)
    p.pids = {0: 5, 1: 5, 2: 6, 3: 6}
    found = p.threads()
    assert (found["A"], found["B"]) == (1, 3)


def test_nodes_of_numbers_that_nothing_carries():
    assert Program().op("a", 0, 5, 1).node("A", 100, 150, 9, thread=1).threads()["A"] == 1


@pytest.mark.parametrize(("made_at", "thread"), [(99, 0), (100, 1), (110, 1), (150, 0)])
def test_a_node_in_a_node_is_of_the_thread_that_made_it_there(made_at, thread):
    """GIVEN a reentrant checkpoint on the engine's thread: a node in a node from 100 on, and an operation of its
    number on that thread WHEN it started in the outer node and before the inner THEN that made it"""
    p = Program().op("outer op", 0, 5, 1).op("same number", 10, 15, 7).op("more", 20, 25, 8)
    p.plain(ENGINE + "Checkpoint", 98, 300, thread=1).op("Checkpoint", 100, 290, 1, thread=1)
    p.node("Inner", 148, 200, 7, thread=1).node("Other", 400, 450, 8, thread=1)
    p.op("again", made_at, made_at + 1, 7, thread=1)
    found = p.threads()
    assert (found["Checkpoint"], found["Other"]) == (1, 1)
    assert found["Inner"] == 1 + thread


def test_a_node_is_not_made_by_the_node_it_runs_in_though_that_has_its_number():
    p = Program().op("made both", 0, 5, 7)
    p.node("Outer", 100, 300, 7, thread=1).node("Inner", 150, 200, 7, thread=1)
    assert p.threads()["Inner"] == 1
