"""A run in one line: what a step takes and how much that varies, its phases, tokens a second, peak memory."""

from __future__ import annotations

import math
from collections.abc import Iterator

from perfkit.analysis.runs.summary import RunSummary, summarize
from perfkit.schema import units
from perfkit.schema.finding import APART, Finding, Rule
from perfkit.schema.record import RunRecord

RUN_TOTALS = Rule(
    "run-totals", "run", "how long a step takes, its phases, tokens per second, peak memory", read="first"
)
_WORTH_SAYING = 0.01
"""Phases with a smaller share of the step are left out of the line; the tables have them."""


def run_totals(record: RunRecord) -> Finding | None:
    """The line of a run, with the unit of the mean for all its times; None where no step was measured."""
    if not record.steps:
        return None
    found = summarize(record)
    return Finding(RUN_TOTALS, APART.join(_parts(record, found)))


def _parts(record: RunRecord, found: RunSummary) -> Iterator[str]:
    factor, unit = units.time_unit(found.mean_s)
    decimals = units.decimals(found.mean_s * factor, 3)
    spread = "" if math.isnan(found.std_s) else f" ± {found.std_s * factor:,.{decimals}f}"
    yield f"{found.mean_s * factor:,.{decimals}f} {unit}{spread} ({_steps(record)})"
    short = 0 if decimals < 2 else decimals
    texts = {
        name: f"{mean * factor:,.{short}f}"
        for name, mean in _phase_means(record).items()
        if mean >= _WORTH_SAYING * found.mean_s
    }
    if shown := [f"{name} {text}" for name, text in texts.items() if text.strip("0.")]:
        yield " · ".join(shown)
    if not math.isnan(found.tokens_per_s):
        yield f"{found.tokens_per_s:,.{units.decimals(found.tokens_per_s, 3)}f} tokens/s"
    if found.peak_memory_bytes is not None:
        yield f"peak {units.size(found.peak_memory_bytes, digits=3)}"


def _steps(record: RunRecord) -> str:
    """`10 steps, 5 warm-up`; a profiler's steps are said to be, and those of a loop that ended before it had all."""
    profiled = "profiled " if record.config.measurement.profiler != "none" else ""
    count, asked = len(record.steps), record.config.measurement.measure_steps
    of = f" of {asked:,}" if count < asked and record.config.is_watched else ""
    one = count == 1 and not of
    return f"{count:,}{of} {profiled}{'step' if one else 'steps'}, {len(record.warmup)} warm-up"


def _phase_means(record: RunRecord) -> dict[str, float]:
    """Phase -> mean seconds a step, in the order of the step."""
    names = dict.fromkeys(name for sample in record.steps for name in sample.phases_s)
    return {name: sum(step.phases_s.get(name, 0.0) for step in record.steps) / len(record.steps) for name in names}
