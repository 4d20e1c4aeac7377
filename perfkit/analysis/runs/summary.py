"""One run in numbers: what its measured steps took, as a whole and by phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfkit.analysis.statistics import stats
from perfkit.analysis.statistics.stats import Floats
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord, StepSample

PHASES = {
    "data": ("data",),
    "forward": ("forward", "loss"),
    "backward": ("backward",),
    "optimizer": ("optimizer",),
}
"""Name in tables -> the phases of a step that it sums. Everything else in a step's wall time is the rest."""
_SUMMED = ("forward", "backward", "optimizer")
"""Those that a summary has."""
STEP = "step"
REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """Seconds; all nan where no step was measured, and a phase nan where the steps do not have it."""

    steps: int
    """Measured."""
    mean_s: float = math.nan
    std_s: float = math.nan
    cv: float = math.nan
    median_s: float = math.nan
    median_low_s: float = math.nan
    median_high_s: float = math.nan
    min_s: float = math.nan
    p90_s: float = math.nan
    forward_s: float = math.nan
    backward_s: float = math.nan
    optimizer_s: float = math.nan
    rest_s: float = math.nan
    """forward + backward + optimizer + rest = mean, exactly; so data are in the rest."""
    tokens_per_s: float = math.nan
    """Of a Transformer; of a job, of all its ranks."""
    peak_memory_bytes: int | None = None
    """Tensors on a GPU, the resident set on a CPU."""


def summarize(record: RunRecord) -> RunSummary:
    """The numbers of a record."""
    peak = record.memory.headline
    if not record.steps:
        return RunSummary(steps=0, peak_memory_bytes=peak)
    series = phase_series(record.steps)
    whole = stats.summarize(series[STEP])
    phases = {f"{name}_s": float(series[name].mean()) for name in _SUMMED if name in series}
    return RunSummary(
        steps=whole.n,
        mean_s=whole.mean,
        std_s=whole.std,
        cv=whole.cv,
        median_s=whole.median,
        median_low_s=whole.median_low,
        median_high_s=whole.median_high,
        min_s=whole.minimum,
        p90_s=whole.p90,
        rest_s=whole.mean - sum(phases.values()),
        tokens_per_s=math.nan if isinstance(record.config.workload, Own) else _tokens(record) / whole.mean,
        peak_memory_bytes=peak,
        **phases,
    )


def _tokens(record: RunRecord) -> int:
    """Tokens a step, of all ranks of a job: in parts (tp) they have the same ones."""
    step = record.config.step
    return step.tokens * (1 if step.parallel in ("off", "tp") else 1 + len(record.ranks))


def wall_times(samples: Sequence[StepSample]) -> Floats:
    """Wall time of each step, seconds."""
    return np.array([sample.wall_s for sample in samples], dtype=np.float64)


def phase_series(steps: Sequence[StepSample]) -> dict[str, Floats]:
    """Seconds of every step, as a whole and by the phases that the tables of a run have; the phases add up to it."""
    wall = wall_times(steps)
    series = {STEP: wall}
    rest = wall.copy()
    for name, parts in PHASES.items():
        if any(part in step.phases_s for step in steps for part in parts):
            series[name] = np.array([sum(sample.phases_s.get(part, 0.0) for part in parts) for sample in steps])
            rest -= series[name]
    return series | {REST: rest}
