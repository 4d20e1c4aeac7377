"""The host side in nesting order: steps, phases, optimizer ranges, and what names alone tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfkit.analysis.attribution.host_view import HostView, name_flags, present, view
from perfkit.analysis.attribution.intervals import NONE
from perfkit.trace.columns import ACROSS_THREADS, HostKind, ReadFacts, Thread
from perfkit.trace.recording import Tool
from tests.builders import TraceBuilder, saying


def names(host: HostView, flags: np.ndarray) -> list[str]:
    return [host.name_of(row) for row in np.flatnonzero(flags).tolist()]


def enclosing(host: HostView, column: np.ndarray) -> dict[str, str]:
    return {host.name_of(row): host.name_of(outer) for row, outer in enumerate(column) if outer != NONE}


def test_rows_are_in_nesting_order_with_their_columns():
    b = TraceBuilder().range("inner", 10, 20, sequence=3).range("outer", 0, 90, HostKind.ANNOTATION)
    host = view(b.range("call", 0, 95, HostKind.RUNTIME).build())
    assert [host.name_of(row) for row in range(3)] == ["outer", "call", "inner"]
    assert host.kind.tolist() == [HostKind.ANNOTATION, HostKind.RUNTIME, HostKind.OP]
    assert (host.start.tolist(), host.end.tolist()) == ([0, 0, 10], [90, 95, 20])
    assert (host.sequence.tolist(), host.forward_thread.tolist()) == ([NONE, NONE, 3], [NONE, NONE, 0])
    assert host.is_runtime.tolist() == [False, True, False]
    assert host.forest.parent.tolist() == [NONE, NONE, 0]


def test_steps_of_the_profiler_are_annotations_of_its_name():
    b = TraceBuilder().step(1, 0, 50).range("ProfilerStep#2", 50, 90).annotation("ProfilerStep#3 and more", 100, 110)
    host = view(b.annotation("my ProfilerStep#4", 120, 130).range("perfkit.step::0", 5, 45).build())
    assert names(host, host.is_step) == ["ProfilerStep#1"]


def test_perfkits_own_steps_count_where_the_profiler_left_none():
    b = TraceBuilder().range("perfkit.step::0", 0, 45).range("perfkit.warmup::0", 50, 60).range("perfkit::net", 1, 9)
    host = view(b.build())
    assert names(host, host.is_step) == ["perfkit.step::0"]


def test_ranges_across_threads_hold_nothing_and_are_no_steps():
    b = TraceBuilder().step(0, 0, 50).annotation("ProfilerStep#1", 0, 90, thread=1).annotation("x", 10, 20, thread=1)
    trace = replace(b.build(), threads=(Thread(1, 1), Thread(1, 0, ACROSS_THREADS)))
    host = view(trace)
    assert names(host, host.is_step) == ["ProfilerStep#0"]
    assert host.forest.parent.tolist() == [NONE, NONE, NONE]
    assert view(b.build()).forest.parent.tolist() == [NONE, NONE, 1]


def test_phases_hold_what_is_inside_them():
    b = TraceBuilder().range("perfkit.phase::forward", 0, 50).range("a", 10, 20).range("perfkit.phase::loss", 60, 90)
    host = view(
        b.range("b", 70, 80).range("perfkit::forward", 100, 150).range("c", 110, 120).range("last", 160, 170).build()
    )
    assert names(host, host.in_phase("forward")) == ["perfkit.phase::forward", "a"]
    assert names(host, host.in_phase("forward", "loss")) == ["perfkit.phase::forward", "a", "perfkit.phase::loss", "b"]
    assert names(host, host.in_phase("backward")) == []
    ending = view(b.range("perfkit.phase::backward", 200, 210).build())  # the last row is inside, the others are not
    assert names(ending, ending.in_phase("backward")) == ["perfkit.phase::backward"]
    assert enclosing(host, host.phase_range)["b"] == "perfkit.phase::loss"


def test_perfkits_own_ranges_by_kind():
    b = TraceBuilder().range("perfkit::net", 0, 50).range("perfkit.backward::net", 60, 70).range("perfkit", 80, 90)
    host = view(b.build())
    assert names(host, host.own("backward")) == ["perfkit.backward::net"]
    assert names(host, host.own("module", "backward")) == ["perfkit::net", "perfkit.backward::net"]
    assert names(host, host.own()) == []
    assert {host.names[index] for index in host.own_names} == {"perfkit::net", "perfkit.backward::net"}


def test_a_trace_without_ranges():
    host = view(TraceBuilder().event("k", 0, 5).build())
    for column in (host.own("module"), host.in_phase("forward"), host.matching(lambda name: True), host.is_step):
        assert column.tolist() == []


def test_each_name_of_the_rows_is_asked_for_once():
    asked: list[str] = []

    def starts_with_a(name: str) -> bool:
        asked.append(name)
        return name.startswith("a")

    flags = name_flags(("b", "a", "unused", "ab"), np.array([1, 0, 1, 3]), starts_with_a)
    assert (flags.tolist(), sorted(asked)) == ([True, False, True, True], ["a", "ab", "b"])
    assert present(np.array([4, 1, 4])) == [1, 4]


@pytest.mark.parametrize(("resolution", "parent"), [(1, NONE), (1000, 0)])
def test_whole_microseconds_give_a_tolerance_and_nanoseconds_none(resolution, parent):
    """GIVEN a range that ends 1 ns after the one it began in WHEN nested THEN a coarse clock may be to blame"""
    trace = TraceBuilder().range("a", 0, 5000).range("b", 1000, 5001).build()
    assert view(replace(trace, facts=ReadFacts(resolution_ns=resolution))).forest.parent.tolist() == [NONE, parent]


@pytest.mark.parametrize(("form", "forward"), [(Tool.KINETO, [0, 7]), (Tool.NSYS, [0, 1])])
def test_forward_threads_of_an_export_are_found_and_not_read(form, forward):
    """GIVEN an operation and its node, whose file says counter 7 WHEN it is an export THEN 1 and the thread's index"""
    b = TraceBuilder().range("mul", 0, 10, sequence=0)
    b.range("autograd::engine::evaluate_function: MulBackward0", 20, 50)
    b.range("MulBackward0", 25, 45, sequence=0, forward_thread=7)
    host = view(saying(b.build(), tool=form))
    assert [host.forward_thread[0], host.forward_thread[2]] == forward


def test_an_export_without_numbers_keeps_its_column():
    trace = saying(TraceBuilder().range("mul", 0, 10, forward_thread=5).build(), tool=Tool.NSYS)
    assert view(trace).forward_thread.tolist() == [5]
