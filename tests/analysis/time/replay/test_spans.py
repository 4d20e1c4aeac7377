"""Spans: where a thread hands over to another, and where not."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.replay.graph import FOREVER
from perfkit.analysis.time.replay.spans import Role, find_spans
from perfkit.trace.columns import HostKind, Thread, Trace
from perfkit.trace.load import load
from tests.analysis.time.replay.test_replay import backward
from tests.builders import TraceBuilder
from tests.corpus import corpus_file


def handovers(trace: Trace) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """When the main thread is away, and what others do meanwhile: (start, end) of each."""
    spans = find_spans(trace, attribute(trace), [], FOREVER)
    away, episode = (
        list(zip(spans.start[rows].tolist(), spans.end[rows].tolist(), strict=True))
        for rows in (spans.of(Role.AWAY), spans.of(Role.EPISODE))
    )
    return away, episode


def test_backward_is_a_handover():
    """GIVEN a main thread that does nothing from 30 to 80 and nodes of another from 34 to 74 THEN that is one"""
    assert handovers(backward().build()) == ([(30, 80)], [(34, 74)])


def test_each_backward_is_one_of_its_own():
    """GIVEN two backward passes, and ranges of the main thread between them THEN they are two handovers"""
    b = TraceBuilder().range("aten::a", 0, 10).range("aten::b", 40, 50).range("aten::c", 90, 95)
    for begin in (15, 60):
        b.range("aten::gradient", begin, begin + 20, thread=1).launched("k", begin + 5, begin + 7, begin + 9, thread=1)
    assert handovers(b.build()) == ([(10, 40), (50, 90)], [(15, 35), (60, 80)])


def test_several_threads_work_while_one_waits():
    """GIVEN a thread for each device, as DataParallel has THEN the main thread is away once, and waits for both"""
    b = TraceBuilder().range("aten::a", 0, 10).range("aten::c", 90, 95)
    for thread, begin in ((1, 15), (2, 40)):
        b.range("aten::mm", begin, begin + 40, thread=thread)
        b.launched("k", begin + 5, begin + 7, begin + 9, thread=thread)
    assert handovers(b.build()) == ([(10, 90)], [(15, 55), (40, 80)])


def test_a_thread_that_launches_nothing_is_not_waited_for():
    """GIVEN a watchdog that asks for an event while the main thread is silent THEN it is no handover"""
    b = TraceBuilder().range("aten::a", 0, 10).range("aten::b", 90, 95)
    b.range("cudaEventQuery", 40, 42, HostKind.RUNTIME, thread=1)
    assert handovers(b.build()) == ([], [])


def test_work_beside_the_main_thread_is_no_handover():
    """GIVEN a thread whose range goes on while the main thread does something THEN nobody waits for it"""
    b = TraceBuilder().range("aten::a", 0, 10).range("aten::b", 50, 95)
    b.range("aten::copy", 20, 60, thread=1).launched("k", 25, 30, 40, thread=1)
    assert handovers(b.build()) == ([], [])


def test_another_process_is_not_waited_for():
    trace = backward().build()
    assert handovers(dataclasses.replace(trace, threads=(Thread(1, 1), Thread(2, 2)))) == ([], [])


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "count"), [("v100_training", 5), ("a100_ddp_training", 3)])
def test_real_traces_hand_over_once_a_step(name, count):
    away, episode = handovers(load(corpus_file(f"kineto/{name}.json.gz")))
    assert len(away) == len(episode) == count
