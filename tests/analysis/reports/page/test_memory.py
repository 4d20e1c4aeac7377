"""Memory in use: what the allocator says, or what allocations add up to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfkit.analysis.attribution.attribute import ProfiledStep
from perfkit.analysis.reports.page import memory
from perfkit.errors import UsageError
from perfkit.schema.chart import Chart
from perfkit.trace.columns import MISSING, ReadFacts, Trace
from perfkit.trace.detail_columns import (
    Details,
    LaunchGeometry,
    MemoryEvents,
    no_calls,
    no_counters,
    no_memory_events,
    no_operands,
)
from tests.builders import TraceBuilder


def details(*rows: tuple[int, int, int], kind: int = 1) -> Details:
    """Allocations (time in ns, bytes, bytes in use after it or MISSING) of device 0."""
    time, size, used = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    codes = np.zeros(len(rows), np.int32)
    nothing = np.empty((0, 3), np.int32)
    events = MemoryEvents(thread=codes, time=time, device_type=codes + kind, device=codes, bytes=size,
                          address=time, allocated=used, reserved=used)  # fmt: skip
    geometry = LaunchGeometry(*[nothing] * 7)
    return Details(no_operands(0), no_calls(0), geometry, no_counters(), events)


def trace(allocations: bool = True) -> Trace:
    facts = ReadFacts(ignored={"cpu_instant_event": 3} if allocations else {})
    return replace(TraceBuilder().build(), facts=facts)


def test_what_the_allocator_says_is_drawn():
    """GIVEN 100, 300 and 50 bytes in use after allocations THEN these, from time 0, with the peak in the sentence"""
    said = details((1_000, 100, 100), (3_000_001_000, 200, 300), (5_000_001_000, -250, 50))
    section = memory.section(trace(), read=lambda _: said)
    [figure] = section.figures
    assert isinstance(figure, Chart)
    [series] = figure.rows[0][0].series
    assert (series.label, series.x, series.y) == ("device 0", (0.0, 3.0, 5.0), (100.0, 300.0, 50.0))
    assert section.takeaway == "device 0: at most 300 B in use, 3.000 s after the first allocation"


def test_old_files_are_added_up():
    """GIVEN a file that does not say what is in use, whose first event frees 60 bytes THEN never below zero"""
    said = details((0, -60, MISSING), (10, 100, MISSING), kind=0)
    [figure] = memory.section(trace(), read=lambda _: said).figures
    assert isinstance(figure, Chart)
    assert figure.rows[0][0].series[0].y == (0.0, 100.0)


def test_peaks_survive_where_points_are_cut(monkeypatch):
    """GIVEN room for two points WHEN there are five THEN the largest of each half"""
    monkeypatch.setattr(memory, "MOST_POINTS", 2)
    said = details(*((at, 1, used) for at, used in ((0, 5), (1, 9), (2, 1), (8, 2), (9, 1))))
    section = memory.section(trace(), read=lambda _: said)
    [figure] = section.figures
    assert isinstance(figure, Chart)
    assert figure.rows[0][0].series[0].y == (9.0, 2.0)
    assert section.notes


def test_without_allocations_the_file_is_not_read_again():
    """GIVEN no allocation in the file, or none that can be read THEN what to record, or why"""

    def refuse(_: Trace) -> Details:
        raise UsageError("it has changed")

    assert "profile_memory=True" in memory.section(trace(allocations=False), read=refuse).lacking
    assert memory.section(trace(), read=refuse).lacking == "it has changed"
    empty = replace(details((0, 1, 1)), memory=no_memory_events())
    assert "profile_memory=True" in memory.section(trace(), read=lambda _: empty).lacking


def test_every_second_step_is_marked(monkeypatch):
    """GIVEN steps from 0 to 2, 2 to 4 and 4 to 9 s, and allocations from 1 to 5 s THEN steps 0 and 2, cut to these"""
    second = 1_000_000_000
    steps = [ProfiledStep("", a * second, b * second, 0) for a, b in ((0, 2), (2, 4), (4, 9))]
    said = details((second, 1, 1), (5 * second, 1, 2))
    [figure] = memory.section(trace(), steps, lambda _: said).figures
    assert isinstance(figure, Chart)
    assert figure.rows[0][0].shaded == ((0.0, 1.0, "step 0"), (3.0, 4.0, "step 2"))
    monkeypatch.setattr(memory, "MOST_STEPS", 2)
    [figure] = memory.section(trace(), steps, lambda _: said).figures
    assert isinstance(figure, Chart)
    assert figure.rows[0][0].shaded == ()
