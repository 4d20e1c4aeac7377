"""The section of step times: every sample, in the order it ran."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from perfkit.analysis.noise import stability
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.analysis.statistics import stats
from perfkit.analysis.sweeps.chart import is_wide
from perfkit.analysis.time.paces import STEP_PACES, step_time
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.steps import step_table
from perfkit.schema import units
from perfkit.schema.chart import Chart, Panel, Series
from perfkit.schema.page.sections import Section
from perfkit.schema.record import RunRecord
from perfkit.schema.table import Table

MOST_SAMPLES = 5_000
"""Steps that are drawn: the last ones, where there are more."""
_ANCHOR, _TITLE = "step-times", "Step times"
_WARM_UP, _MEASURED, _STANDS_OUT = 1, 0, 3
"""Places in the palette."""


def of_record(record: RunRecord, tables: Sequence[Table]) -> Section:
    """Every step of a run: warm-up shaded, steps that stand out with what explains them."""
    if not record.steps:
        return Section(anchor=_ANCHOR, title=_TITLE, tables=tuple(tables), lacking="the run has no measured step")
    warm = [sample.wall_s for sample in record.warmup]
    wall = [sample.wall_s for sample in record.steps]
    noise = stability.examine(record)
    causes = _causes(noise.disturbances if noise else ())
    before = [f"warm-up step {number}" for number in range(1, len(warm) + 1)]
    plain = [number for number in range(1, len(wall) + 1) if number not in causes]
    out = sorted(causes)
    series = [
        _series("warm-up", range(1 - len(warm), 1), warm, _WARM_UP, before),
        _series("measured", plain, [wall[n - 1] for n in plain], _MEASURED, [f"step {n}" for n in plain]),
        _series("stands out", out, [wall[n - 1] for n in out], _STANDS_OUT, [f"step {n}: {causes[n]}" for n in out]),
    ]
    summary = stats.summarize(np.array(wall))
    takeaway = _spread(len(wall), summary.median, min(wall), max(wall))
    if out:
        numbers = ", ".join(map(str, out[:8])) + (", ..." if len(out) > 8 else "")
        takeaway += f"; {len(out)} stand{'s' if len(out) == 1 else ''} out ({numbers}): {causes[out[0]]}"
    shaded = ((0.5 - len(warm), 0.5, "warm-up"),) if warm else ()
    return _section([one for one in series if one.x], shaded, takeaway, tables, first=1)


def of_trace(partial: Partial) -> Section:
    """The steps of a trace that no record belongs to."""
    wall = [ns / 1e9 for ns in partial.facts.steps]
    if not wall:
        return Section(
            anchor=_ANCHOR,
            title=_TITLE,
            lacking="the trace has no steps: call profiler.step() after each one, or record with perfkit run",
        )
    step, of_what = step_time(partial), ""
    if step and step.is_pace:
        wall = [ns / 1e9 for ns in partial.of(STEP_PACES).sort_values("step")["pace_ns"]]
        of_what = ", each from when the one before is done until its own work is: the device runs behind the host"
    numbers = range(len(wall))
    takeaway = _spread(len(wall), float(np.median(wall)), min(wall), max(wall)) + of_what
    one = _series("step", numbers, wall, _MEASURED, [f"step {number}" for number in numbers])
    takeaway += ", as recorded: a profiler makes steps longer"
    return _section([one], (), takeaway, (step_table(partial),), first=0)


def _series(label: str, x: Sequence[int], y: Sequence[float], color: int, texts: Sequence[str]) -> Series:
    kept = slice(-MOST_SAMPLES, None)
    return Series(
        label=label,
        x=tuple(map(float, x))[kept],
        y=tuple(y)[kept],
        look="circles" if label == "warm-up" else "dots",
        color=color,
        texts=tuple(texts)[kept],
    )


def _section(
    series: Sequence[Series],
    shaded: tuple[tuple[float, float, str], ...],
    takeaway: str,
    tables: Sequence[Table],
    *,
    first: int,
) -> Section:
    last = int(max((x for one in series for x in one.x), default=first))
    sizes = (number * 10**power for power in range(12) for number in (1, 2, 5))
    between = next(size for size in sizes if last < 12 * size)
    marks = sorted({first, *range(0 if first == 0 else between, last + 1, between)})
    panel = Panel(
        series=tuple(series),
        x_title="measured step, in the order they ran" if shaded or first else "step of the trace",
        x_ticks=tuple((float(mark), f"{mark:,}") for mark in marks),
        y_title="step time",
        y_quantity="s",
        y_log=is_wide([y for one in series for y in one.y]),
        shaded=shaded,
    )
    drawn = max((len(one.x) for one in series), default=0)
    notes = (f"the last {MOST_SAMPLES:,} steps are drawn",) if drawn == MOST_SAMPLES else ()
    chart = Chart(rows=((panel,),))
    return Section(anchor=_ANCHOR, title=_TITLE, takeaway=takeaway, figures=(chart,), tables=tuple(tables), notes=notes)


def _spread(count: int, median: float, least: float, most: float) -> str:
    steps = f"{count:,} step{'s' if count > 1 else ''}"
    if count == 1 or math.isclose(least, most):
        return f"{steps}: {units.duration(median)}"
    return f"{steps}: median {units.duration(median)}, from {units.duration(least)} to {units.duration(most)}"


def _causes(disturbances: Sequence[Disturbance]) -> dict[int, str]:
    """Measured step, counted from 1 as sentences do -> what explains it."""
    return {
        step + 1: disturbance.cause.value if disturbance.cause else "no counter explains it"
        for disturbance in disturbances
        for step in disturbance.steps
    }
