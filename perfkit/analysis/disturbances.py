"""Steps that stand out, one by one or as a level, and what each is owed to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from perfkit.analysis import causes, gpu_causes, trend
from perfkit.analysis.causes import Account, Cause
from perfkit.analysis.stats import Floats
from perfkit.analysis.trend import Level

EXPLAINED = 0.6
"""A cause is named where it makes up at least 60% of what a step has in excess."""
SLOW_WITHOUT = 0.2
"""CPU time is blamed only where delay and collections together make up less than 20%: both cost CPU time too."""
OUTLIER_SIGMAS = 5.0
OUTLIER_SHARE = 0.10
"""A step stands out above median + max(5 standard deviations (by MAD), 10%)."""
FEWEST = 5
"""Below so many steps nothing is called an outlier."""
_WARMUP_SIGMAS = 3.0
_WARMUP_SHARE = 0.02
"""Leading steps above the second half's median + max(3 standard deviations (by MAD), 2%) are warm-up."""
_MAD = 1.4826
_NAMED = 0.95
"""An explanation of 95% and one of 100% are as good as each other: causes are then taken in their own order."""

Kind = Literal["warm-up", "step", "level"]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Some neighbouring steps that took longer than the quiet ones."""

    kind: Kind
    first: int
    last: int
    """Counted from 0; last is in it."""
    excess_s: float
    """Mean of them above the median of the quiet steps."""
    quiet_s: float
    cause: Cause | None
    """None: unexplained."""
    explained: float
    """Share of the excess that the cause makes up (or, unexplained, the best candidate)."""

    @property
    def steps(self) -> slice:
        """Its steps in the series."""
        return slice(self.first, self.last + 1)


def find(account: Account) -> tuple[Disturbance, ...]:
    """Everything that stands out of a series, in order: unfinished warm-up, levels, single steps."""
    wall = account.wall
    if len(wall) < FEWEST:
        return ()
    lead = leading_slow(wall)
    levels = _shifted(trend.levels(wall[lead:]), lead)
    quiet = min(levels, key=lambda level: level.median)
    found = [_judged(account, "warm-up", 0, lead - 1, quiet.steps)] if lead else []
    for level in levels:
        if level.median >= (1 + trend.SHIFT_SHARE) * quiet.median:
            found.append(_judged(account, "level", level.first, level.last, quiet.steps))
        found += [_judged(account, "step", index, index, level.steps) for index in _outliers(wall, level, levels)]
    return tuple(found)


def leading_slow(wall: Floats) -> int:
    """How many of the first steps are still warming up, judged by the second half.

    0 where the whole first half is slower: that is a level, or a drift, and how much of it was warm-up nobody can say.
    """
    tail = wall[len(wall) // 2 :]
    middle = float(np.median(tail))
    limit = middle + max(_WARMUP_SIGMAS * _spread(tail), _WARMUP_SHARE * middle)
    slow = wall[: len(wall) // 2] > limit
    return 0 if slow.all() else int(np.argmin(slow))


def _spread(values: Floats) -> float:
    """Standard deviation by the MAD, which is too small by n / (n - 0.8) for few values (Croux and Rousseeuw 1992)."""
    few = len(values) / (len(values) - 0.8)
    return float(few * _MAD * np.median(np.abs(values - np.median(values))))


def _shifted(levels: tuple[Level, ...], by: int) -> list[Level]:
    return [Level(level.first + by, level.last + by, level.median) for level in levels]


def _outliers(wall: Floats, level: Level, levels: list[Level]) -> list[int]:
    """Steps above their own level's limit; the spread is that of all steps round their levels."""
    residuals = np.concatenate([wall[one.steps] - one.median for one in levels])
    limit = level.median + max(OUTLIER_SIGMAS * _spread(residuals), OUTLIER_SHARE * level.median)
    return [int(index) + level.first for index in np.flatnonzero(wall[level.steps] > limit)]


def _judged(account: Account, kind: Kind, first: int, last: int, quiet: slice) -> Disturbance:
    """A disturbance with its cause: the one that makes up most of the excess, where that is enough."""
    steps = slice(first, last + 1)
    over = causes.excess(account.wall, steps, quiet)
    shares = {
        cause: causes.excess(seconds, steps, quiet) / over
        for cause, seconds in account.seconds.items()
        if _corroborated(account, cause, steps, quiet) and _long_enough(account, cause, steps)
    }
    cause, explained = _strongest(shares)
    if cause is None and (event := _event(account, steps, quiet)) is not None:
        cause, explained = event, 1.0 - sum(max(0.0, share) for share in shares.values())
    if kind == "warm-up" and cause not in _EXTERNAL and not (account.warmed and cause is Cause.FAULTS):
        cause, explained = Cause.WARMUP, 1.0
    return Disturbance(kind, first, last, over, float(np.median(account.wall[quiet])), cause, explained)


_EXTERNAL = (Cause.GC, Cause.PREEMPTED, Cause.THROTTLED, Cause.STEAL)
"""What can happen to a first step as to any other. Everything else that is slow about it is what warm-up is for."""


def _strongest(shares: dict[Cause, float]) -> tuple[Cause | None, float]:
    others = sum(max(0.0, shares.get(cause, 0.0)) for cause in (Cause.GC, Cause.PREEMPTED, Cause.THROTTLED))
    fit = {cause: share for cause, share in shares.items() if cause is not Cause.SLOW or others < SLOW_WITHOUT}
    if not fit:
        return None, 0.0
    best = max(fit, key=lambda cause: min(fit[cause], _NAMED))
    return (best, fit[best]) if fit[best] >= EXPLAINED else (None, fit[best])


def _corroborated(account: Account, cause: Cause, steps: slice, quiet: slice) -> bool:
    """Whether the cause's own counter is up in these steps."""
    counter = account.evidence.get(cause)
    return counter is not None and causes.excess(counter, steps, quiet) > 0


def _long_enough(account: Account, cause: Cause, steps: slice) -> bool:
    """NVML's values are averages over up to a second: they say nothing of a shorter stretch."""
    return cause not in gpu_causes.SAMPLED or float(account.wall[steps].sum()) >= gpu_causes.WINDOW_S


def _event(account: Account, steps: slice, quiet: slice) -> Cause | None:
    """Something that happened here and does not happen in quiet steps."""
    for cause, counts in account.events.items():
        if counts[steps].any() and np.median(counts[quiet]) == 0:
            return cause
    return None
