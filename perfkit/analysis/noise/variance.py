"""The variance of step times, by cause, so that it adds up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfkit.analysis.noise import causes
from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.analysis.statistics import chance, trend
from perfkit.analysis.statistics.stats import Floats

NAMED_SHARE = 0.05
"""A cause with less of the variance than this is counted as unexplained."""


@dataclass(frozen=True, slots=True)
class Share:
    """One cause's part of the variance. All parts add up to 1."""

    cause: Cause | None
    """None: unexplained."""
    share: float
    mean_s: float
    """Its time in the mean step (unexplained: nan)."""

    @property
    def name(self) -> str:
        """What the table of the variance calls it."""
        return "unexplained" if self.cause is None else self.cause.value


def shares(times: CauseTimes, disturbances: Sequence[Disturbance]) -> tuple[Share, ...]:
    """The variance of wall time, by cause: cov(seconds of the cause, wall) / var(wall).

    Covariance is linear, so the shares of all causes and of the rest add up to 1 exactly, whatever the causes are. A
    cause is named where the judgement over disturbances named it, or where its seconds correlate with the time more
    closely than chance would (`chance`); the shares of the others count as unexplained.
    """
    seconds = _contributions(times, disturbances)
    centred = times.wall - times.wall.mean()
    variance = float(centred @ centred)
    parts = {cause: float((part - part.mean()) @ centred) / variance for cause, part in seconds.items()}
    large = [cause for cause, share in parts.items() if share >= NAMED_SHARE]
    known = {disturbance.cause for disturbance in disturbances if disturbance.cause}
    named = {cause: parts[cause] for cause in large if cause in known} | {
        cause: parts[cause] for cause in _beyond_chance(times, seconds, [c for c in large if c not in known])
    }
    explained = sum(named.values())
    scale = min(1.0, 1 / explained) if explained > 0 else 1.0  # above 1: others made such steps faster
    ordered = sorted(named.items(), key=lambda item: -item[1])
    return (
        *(Share(cause, share * scale, float(seconds[cause].mean())) for cause, share in ordered),
        Share(None, max(0.0, 1 - explained * scale), math.nan),
    )


def _beyond_chance(times: CauseTimes, seconds: dict[Cause, Floats], asked: list[Cause]) -> list[Cause]:
    """The causes whose seconds, and own counter where it says more, correlate with wall time by more than chance.

    All causes with time of their own are tested at once, so that the result does not depend on which are asked for.
    Times and counters are taken round the medians of the times' levels: a level is judged as a whole, not step by step.
    """
    if not asked:
        return []
    tested = [(cause, part) for cause, part in seconds.items() if cause not in causes.PATTERNS]
    tested += [(cause, times.evidence[cause]) for cause in causes.COUNTED]
    levels = trend.levels(times.wall)
    series = np.array([times.wall, *(part for _, part in tested)])
    for level in levels:
        series[:, level.steps] -= np.median(series[:, level.steps], axis=1, keepdims=True)
    p = chance.p_values(series[1:], series[0])
    worst = {cause: max(float(each) for (of, _), each in zip(tested, p, strict=True) if of is cause) for cause in asked}
    return [cause for cause in asked if worst[cause] < chance.CHANCE_P]


def _contributions(times: CauseTimes, disturbances: Sequence[Disturbance]) -> dict[Cause, Floats]:
    """Seconds by cause, where the judgement over disturbances overrules the counters: patterns, and events."""
    seconds = {cause: part.copy() for cause, part in times.seconds.items()}
    in_patterns = [
        step for disturbance in disturbances if disturbance.cause in causes.PATTERNS for step in disturbance.steps
    ]
    others = np.delete(np.arange(len(times.wall)), in_patterns)
    for disturbance in disturbances:
        if disturbance.cause is None or disturbance.cause in times.seconds:
            continue
        claimed = seconds.setdefault(disturbance.cause, np.zeros(len(times.wall)))
        if disturbance.cause in causes.PATTERNS:
            for part, whole in times.seconds.items():
                seconds[part][disturbance.index] = np.median(whole[others])
            claimed[disturbance.index] += times.wall[disturbance.index] - disturbance.quiet_s
        else:
            claimed[disturbance.index] += disturbance.excess_s * disturbance.explained
    return seconds
