"""The sections of wall time: what devices ran and why they ran nothing; of host times, the phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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

MOST_BARS = 12
"""Steps with a bar each: the longest, where there are more."""
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
            anchor=_ANCHOR,
            title=_TITLE,
            takeaway=takeaway,
            lacking=lacking,
            figures=figures,
            tables=tuple(tables),
            notes=("the table Phases has their sums",) if figures else (),
        )
    every = partial.of(WALL_TIME)
    rows = every[every["step"] != NONE] if partial.facts.steps else every
    outside = int(every["total_ns"].sum() - rows["total_ns"].sum())
    bars, left_out = _of_devices(rows, partial)
    cut = (f"the longest {MOST_BARS} of {MOST_BARS + left_out:,} are drawn, and the mean of all",) if left_out else ()
    beside = (
        (f"the bars are of the steps; {units.duration_ns(outside)} outside them are in the table",) if outside else ()
    )
    notes = (*cut, *beside, _COUNTED) if partial.facts.steps else cut
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
    steps = set(cells["step"]) - {NONE}
    rows = cells[cells["step"] != NONE] if steps else cells
    rows = rows.assign(what=[Phase(phase).label for phase in rows["phase"]])
    order = [phase.label for phase in Phase]
    bars, _ = _bars(rows, order, lambda step, _: f"step {step}" if steps else "all")
    return "host time on the main thread by phase", bars


def what(kind: int, cause: int) -> str:
    """What a device did, in words."""
    return f"idle: {Cause(cause).label}" if kind == Kind.IDLE else _BUSY[Kind(kind)]


def _of_devices(rows: pd.DataFrame, partial: Partial) -> tuple[Bars, int]:
    labels = partial.facts.device_labels
    several, steps = rows["device"].nunique() > 1, bool(partial.facts.steps)
    named = [what(kind, cause) for kind, cause in zip(rows["kind"], rows["cause"], strict=True)]
    order = [*_BUSY.values(), *(what(Kind.IDLE, cause) for cause in Cause)]

    def name(step: int, device: int) -> str:
        return ", ".join([f"step {step}"] * steps + [f"device {labels[device]}"] * (several or not steps))

    return _bars(rows.assign(what=named), order, name)


def _bars(rows: pd.DataFrame, order: Sequence[str], name: Callable[[int, int], str]) -> tuple[Bars, int]:
    """A bar for each step and device, or the longest and before them the mean of all; and how many are left out."""
    sums = rows.groupby(["what", "step", "device"])["total_ns"].sum()
    whole = rows.groupby(["step", "device"])["total_ns"].sum()
    places = sorted(whole.nlargest(MOST_BARS).index)
    left_out = len(whole) - len(places)
    present = [each for each in order if each in set(rows["what"])]
    labels = [name(*place) for place in places]
    values = [[float(sums.get((each, *place), 0)) for place in places] for each in present]
    if left_out:
        labels.insert(0, f"mean of {len(whole):,}")
        for each, of in zip(present, values, strict=True):
            of.insert(0, float(sums[each].sum() / len(whole)))
    parts = [
        BarPart(name=each, values=tuple(of), key=each.removeprefix("idle: "))
        for each, of in zip(present, values, strict=True)
    ]
    return Bars(labels=tuple(labels), parts=tuple(parts), stacked=True), left_out


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
