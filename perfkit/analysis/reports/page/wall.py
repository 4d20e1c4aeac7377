"""The sections of wall time: what devices ran and why they ran nothing; of host times, the phases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.breakdown import without_device
from perfkit.analysis.time.cells import BY_STEP
from perfkit.analysis.time.idle.folds import WALL_TIME
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.partial import Partial
from perfkit.schema import units
from perfkit.schema.page.figures import BarPart, Bars
from perfkit.schema.page.sections import Section
from perfkit.schema.table import Table

MOST_BARS = 40
"""Steps with a bar each: the first ones, where there are more."""
_ANCHOR, _TITLE = "wall-time", "Wall time by cause"
_COUNTED = "the trace's steps are counted from 0, as --steps takes them"
_BUSY = {Kind.COMPUTE: "compute", Kind.COMMUNICATION: "exposed communication", Kind.COPY: "exposed copies"}


def section(partial: Partial, tables: Sequence[Table]) -> Section:
    """A bar a device and step: what ran, each instant once, and why nothing ran."""
    if not partial.facts.on_device:
        lacking = f"{without_device(partial.facts)}: record with ProfilerActivity.CUDA to see when the device is idle"
        takeaway, bars = _by_phase(partial)
        figures = (bars,) if bars.parts else ()
        return Section(
            anchor=_ANCHOR, title=_TITLE, takeaway=takeaway, lacking=lacking, figures=figures, tables=tuple(tables)
        )
    rows = partial.of(WALL_TIME)
    if partial.facts.steps:
        rows = rows[rows["step"] != NONE]
    bars, left_out = _bars(rows, partial)
    cut = (f"{left_out} more bars are left out; the tables have everything",) if left_out else ()
    notes = (*cut, _COUNTED) if partial.facts.steps else cut
    return Section(
        anchor=_ANCHOR,
        title=_TITLE,
        takeaway=_takeaway(rows, len(partial.facts.steps)),
        figures=(bars,) if bars.labels else (),
        tables=tuple(tables),
        notes=notes,
    )


def _by_phase(partial: Partial) -> tuple[str, Bars]:
    """The host's time by phase, a bar a step."""
    cells = partial.of(BY_STEP)
    places = sorted(set(cells["step"]) - {NONE})[:MOST_BARS] or [NONE]
    sums = cells.groupby(["phase", "step"])["total_ns"].sum()
    parts = tuple(
        BarPart(
            name=phase.label, values=tuple(float(sums.get((int(phase), step), 0)) for step in places), key=phase.label
        )
        for phase in Phase
        if int(phase) in set(cells["phase"])
    )
    labels = tuple("all" if step == NONE else f"step {step}" for step in places)
    return "host time on the main thread by phase", Bars(labels=labels, parts=parts, stacked=True)


def what(kind: int, cause: int) -> str:
    """What a device did, in words."""
    return f"idle: {Cause(cause).label}" if kind == Kind.IDLE else _BUSY[Kind(kind)]


def _bars(rows: pd.DataFrame, partial: Partial) -> tuple[Bars, int]:
    labels = partial.facts.device_labels
    several, steps = rows["device"].nunique() > 1, bool(partial.facts.steps)
    places = sorted({(step, device) for step, device in zip(rows["step"], rows["device"], strict=True)})
    shown = places[:MOST_BARS]
    sums = rows.groupby(["kind", "cause", "step", "device"])["total_ns"].sum()
    kinds = sorted({(kind, cause) for kind, cause in zip(rows["kind"], rows["cause"], strict=True)})
    parts = tuple(
        BarPart(
            name=what(kind, cause),
            values=tuple(float(sums.get((kind, cause, *place), 0)) for place in shown),
            key=what(kind, cause).removeprefix("idle: "),
        )
        for kind, cause in kinds
    )
    names = [
        ", ".join(filter(None, (f"step {step}" * steps, f"device {labels[device]}" * (several or not steps))))
        for step, device in shown
    ]
    return Bars(labels=tuple(names), parts=parts, stacked=True), len(places) - len(shown)


def _takeaway(rows: pd.DataFrame, steps: int) -> str:
    total = int(rows["total_ns"].sum())
    if not total:
        return "no wall time"
    idle = rows[rows["kind"] == Kind.IDLE]
    idle_ns = int(idle["total_ns"].sum())
    text = f"busy {units.percent(1 - idle_ns / total)} of the {'steps' if steps else 'recording'}'"
    text = text.replace("recording'", "recording's") + " wall time"
    if not idle_ns:
        return f"{text}, never idle"
    causes = idle.groupby("cause")["total_ns"].sum()
    main = int(np.asarray(causes.index)[int(np.argmax(causes.to_numpy()))])
    each = units.duration_ns(int(causes[main]) / max(steps, 1))
    return f"{text}; most idle time is {Cause(main).label}: {each}{' a step' if steps else ''}"
