"""Rows of a sweep -> points: the repeats of one configuration summarized."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfkit.analysis.statistics import stats
from perfkit.schema.config import RunConfig
from perfkit.schema.sweep import SweepOutcome, SweepRow

Bar = Literal["interval", "steps", ""]
"""interval: 95%; steps: from the fastest to the slowest, of too few for an interval; none."""
MEASURED_OUTCOMES: tuple[SweepOutcome, ...] = ("ok", "spilled")
"""Outcomes whose times and peaks are of complete runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One configuration. Times in seconds; nan where there are too few samples to say."""

    config: RunConfig
    parameters: int | None
    processes: int
    """Repeats that were measured to their end."""
    failed: int
    outcome: SweepOutcome
    """ok only where every repeat was; else the first other one."""
    median_s: float = math.nan
    """One process: of its steps. More: the geometric mean of the processes' medians, as in compare."""
    low_s: float = math.nan
    high_s: float = math.nan
    """95% interval. One process: of the median, by order statistics. More: of the mean, by Student's t of logarithms;
    nan where repeats shared a process."""
    bar_s: tuple[float, float] = (math.nan, math.nan)
    """What a picture's bar spans: the interval where there is one; else, of one process, its steps."""
    bar: Bar = ""
    between_cv: float = math.nan
    """Of the processes' medians."""
    within_cv: float = math.nan
    """Of the steps of one process; the median of the processes'."""
    tokens_per_s: float = math.nan
    """At `median_s`."""
    peak_memory_bytes: int | None = None
    tensor_bytes: int | None = None
    """The largest."""
    predicted_bytes: int | None = None


def points_of(rows: Sequence[SweepRow]) -> list[SweepPoint]:
    """One point a key, in the order in which the keys first appear."""
    by_key: dict[str, list[SweepRow]] = {}
    for row in rows:
        by_key.setdefault(row.key, []).append(row)
    return [_point(of_key) for of_key in by_key.values()]


def _point(rows: Sequence[SweepRow]) -> SweepPoint:
    measured = [row for row in rows if row.outcome in MEASURED_OUTCOMES and row.median_s is not None]
    odd: list[SweepOutcome] = [row.outcome for row in rows if row.outcome != "ok"]
    shown = (measured or list(rows))[0]
    common = SweepPoint(
        config=shown.config,
        parameters=shown.parameters,
        processes=len(measured),
        failed=len(rows) - len(measured),
        outcome=odd[0] if odd else "ok",
        predicted_bytes=shown.predicted_bytes,
    )
    return _with_times(common, measured) if measured else common


def _with_times(common: SweepPoint, rows: Sequence[SweepRow]) -> SweepPoint:
    medians = np.array([_number(row.median_s) for row in rows])
    mean, spread = stats.geometric_mean(medians)
    if len(rows) == 1:
        low, high = _number(rows[0].median_low_s), _number(rows[0].median_high_s)
    elif any(row.isolation == "shared" for row in rows):
        low = high = math.nan  # repeats in one process do not show how far processes differ
    else:
        low, high = stats.geometric_interval(mean, spread, len(medians))
    peaks = [row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None]
    in_tensors = [row.tensor_bytes for row in rows if row.tensor_bytes is not None]
    bar_s, bar = _bar(low, high, rows)
    tokens = common.config.step.tokens if common.config.step.context_length is not None else math.nan
    return SweepPoint(
        config=common.config,
        parameters=common.parameters,
        processes=common.processes,
        failed=common.failed,
        outcome=common.outcome,
        median_s=mean,
        low_s=low,
        high_s=high,
        bar_s=bar_s,
        bar=bar,
        between_cv=stats.summarize(medians).cv,
        within_cv=float(np.median([_number(row.cv) for row in rows])),
        tokens_per_s=tokens / mean,
        peak_memory_bytes=max(peaks, default=None),
        tensor_bytes=max(in_tensors, default=None),
        predicted_bytes=common.predicted_bytes,
    )


def _bar(low: float, high: float, rows: Sequence[SweepRow]) -> tuple[tuple[float, float], Bar]:
    """What can be drawn: the median of five steps or fewer has no 95% interval, but they have a fastest and a slowest.

    Files from before there was `max_s` give such a point no bar; one step has none, nor repeats in one process.
    """
    if not math.isnan(low):
        return (low, high), "interval"
    steps = _number(rows[0].min_s), _number(rows[0].max_s)
    if len(rows) == 1 and (rows[0].steps or 0) > 1 and not math.isnan(steps[1]):
        return steps, "steps"
    return (math.nan, math.nan), ""


def _number(value: float | None) -> float:
    return math.nan if value is None else value
