"""The variance of step times, by cause, so that it adds up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perfkit.analysis.causes import Account, Cause
from perfkit.analysis.disturbances import Disturbance
from perfkit.analysis.stats import Floats

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


def shares(account: Account, found: Sequence[Disturbance]) -> tuple[Share, ...]:
    """The variance of wall time, by cause: cov(seconds of the cause, wall) / var(wall).

    Covariance is linear, so the shares of all causes and of the rest add up to 1 exactly, whatever the causes are.
    """
    seconds = _contributions(account, found)
    centred = account.wall - account.wall.mean()
    variance = float(centred @ centred)
    parts = {cause: float((part - part.mean()) @ centred) / variance for cause, part in seconds.items()}
    named = {cause: share for cause, share in parts.items() if share >= NAMED_SHARE}
    explained = sum(named.values())
    scale = min(1.0, 1 / explained) if explained > 0 else 1.0  # above 1: others made such steps faster
    ordered = sorted(named.items(), key=lambda item: -item[1])
    return (
        *(Share(cause, share * scale, float(seconds[cause].mean())) for cause, share in ordered),
        Share(None, max(0.0, 1 - explained * scale), math.nan),
    )


def _contributions(account: Account, found: Sequence[Disturbance]) -> dict[Cause, Floats]:
    """Seconds by cause, where the judgement over disturbances overrules the counters: warm-up, and events."""
    seconds = {cause: part.copy() for cause, part in account.seconds.items()}
    for one in found:
        if one.cause is None or (one.cause in account.seconds and one.kind != "warm-up"):
            continue
        claimed = seconds.setdefault(one.cause, np.zeros(len(account.wall)))
        if one.cause is Cause.WARMUP:
            for part in account.seconds:
                seconds[part][one.steps] = np.median(account.seconds[part][one.last + 1 :])
            claimed[one.steps] += account.wall[one.steps] - one.quiet_s
        elif one.cause not in account.seconds:
            claimed[one.steps] += one.excess_s * one.explained
    return seconds
