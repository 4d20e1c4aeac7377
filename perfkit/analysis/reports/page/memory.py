"""The section of memory: what the allocator held over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import ProfiledStep
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.chart import Chart, Panel, Series
from perfkit.schema.page.sections import Section
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import MISSING, Trace
from perfkit.trace.detail_columns import Details, MemoryEvents
from perfkit.trace.details import read_details

MOST_POINTS = 2_000
"""Points of a line: of each stretch of time the largest value."""
MOST_STEPS = 20
"""Steps that are marked; with more, none is."""
_CPU = 0
_ANCHOR, _TITLE = "memory", "Memory over time"
_LACKING = "record with profile_memory=True to see what memory was in use when"
_CATEGORY = "cpu_instant_event"
"""What Kineto calls allocations; the reader counts them among the events that are in no column."""


def section(
    trace: Trace, steps: Sequence[ProfiledStep] = (), read: Callable[[Trace], Details] = read_details
) -> Section:
    """Memory in use over the recording, a line a device; reads the file a second time where it has allocations."""
    if not trace.recording.capabilities.memory_events or not _has_events(trace):
        return Section(anchor=_ANCHOR, title=_TITLE, lacking=_LACKING)
    try:
        events = read(trace).memory
    except UsageError as error:
        return Section(anchor=_ANCHOR, title=_TITLE, lacking=str(error))
    if not len(events):
        return Section(anchor=_ANCHOR, title=_TITLE, lacking=_LACKING)
    lines = _lines(events)
    panel = Panel(
        series=tuple(series for series, _ in lines),
        shaded=_every_second(steps, int(events.time.min()), int(events.time.max())),
        x_title="time since the first allocation",
        x_quantity="s",
        y_title="memory in use",
        y_quantity="B",
    )
    rows = [row for _, row in lines]
    columns = (
        Column("device"),
        Column("peak_bytes", "B", "bytes", "most in use"),
        Column("at_s", "s", "time", "at"),
        Column("end_bytes", "B", "bytes", "in use at the end"),
        Column("events", "", "count", "allocations and frees"),
    )
    table = Table("memory", "Memory by device", columns, pd.DataFrame(rows, columns=[c.name for c in columns]))
    most = max(rows, key=lambda row: row["peak_bytes"])
    at = units.duration(most["at_s"])
    takeaway = f"{most['device']}: at most {units.size(most['peak_bytes'])} in use, {at} after the first allocation"
    notes = ("of each stretch of time the largest value is drawn",) if len(events) > MOST_POINTS else ()
    figures = (Chart(rows=((panel,),)),)
    return Section(anchor=_ANCHOR, title=_TITLE, takeaway=takeaway, figures=figures, tables=(table,), notes=notes)


def _every_second(steps: Sequence[ProfiledStep], first: int, last: int) -> tuple[tuple[float, float, str], ...]:
    """Every second of the steps, in seconds since the first allocation; none where there are too many to tell apart."""
    if len(steps) > MOST_STEPS:
        return ()
    shown = ((number, step) for number, step in enumerate(steps) if number % 2 == 0)
    return tuple(
        ((max(step.start, first) - first) / 1e9, (min(step.end, last) - first) / 1e9, f"step {number}")
        for number, step in shown
        if step.start < last and step.end > first
    )


def _has_events(trace: Trace) -> bool:
    return any(category.startswith(_CATEGORY) for category in trace.facts.ignored) or (
        "profile_memory" in trace.recording.options
    )


def _lines(events: MemoryEvents) -> list[tuple[Series, dict[str, Any]]]:
    found = []
    origin = int(events.time.min())
    places = sorted({*zip(events.device_type.tolist(), events.device.tolist(), strict=True)})
    for color, (kind, device) in enumerate(places):
        rows = np.flatnonzero((events.device_type == kind) & (events.device == device))
        rows = rows[np.argsort(events.time[rows], kind="stable")]
        said = events.allocated[rows]
        used = said if (said != MISSING).all() else np.cumsum(events.bytes[rows])
        used = used - min(int(used.min()), 0)  # what was allocated before the recording, at least
        seconds = (events.time[rows] - origin) / 1e9
        label = "CPU" if kind == _CPU else f"device {device}"
        shown = _largest(seconds, used)
        series = Series(
            label=label, x=tuple(seconds[shown].tolist()), y=tuple(map(float, used[shown])), look="steps", color=color
        )
        row = {
            "device": label, "peak_bytes": int(used.max()), "at_s": float(seconds[int(used.argmax())]),
            "end_bytes": int(used[-1]), "events": len(rows),
        }  # fmt: skip
        found.append((series, row))
    return found


def _largest(seconds: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Rows of the largest value in each of MOST_POINTS stretches of time; all rows where there are no more."""
    if len(used) <= MOST_POINTS:
        return np.arange(len(used))
    stretch = np.minimum(seconds / max(float(seconds[-1]), 1e-9) * MOST_POINTS, MOST_POINTS - 1).astype(np.int64)
    order = np.lexsort((-used, stretch))
    first = np.flatnonzero(np.diff(stretch[order], prepend=-1))
    return np.sort(order[first])
