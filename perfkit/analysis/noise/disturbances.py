"""Steps that stand out, singly, as a level or in a pattern, and the cause of each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from perfkit.analysis.noise import causes, gpu_causes
from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.statistics import patterns, trend
from perfkit.analysis.statistics.patterns import Steps
from perfkit.analysis.statistics.stats import Floats
from perfkit.analysis.statistics.trend import Level

EXPLAINED = 0.6
"""A cause is named where it makes up at least 60% of what a step has in excess."""
SLOW_WITHOUT = 0.2
"""CPU time is blamed only where delay and collections together make up less than 20%: both cost CPU time too."""
OUTLIER_SIGMAS = 5.0
OUTLIER_SHARE = 0.10
"""A step stands out above median + max(5 standard deviations (by MAD), 10%)."""
FAST_SIGMAS = 3.4
"""A fast step stands out below median - max(3.4 n^(1/3) standard deviations (by MAD), 10%). Slow steps have causes to
look for, and a false alarm costs a line; only less work makes a step fast. Of n steps by Student's t with
3 degrees of freedom, whose tails are as heavy as those of times get, one in fifty runs has a step below that: a tail of
2 sqrt(3) / (pi x^3) standard units, 0.02 = n times that, and 1 / 0.88 of them in a standard deviation by MAD."""
_BASE_SHARE = 0.25
"""Fast levels that hold less than a quarter of the steps are not what the others are slow against."""
FEWEST = 5
"""Below so many steps nothing is called an outlier."""
_WARMUP_SIGMAS = 5.0
_WARMUP_FEW = 20.0
_WARMUP_SHARE = 0.02
"""Leading steps above the second half's median + max(5 (1 + 20 / m^2) standard deviations, 2%) are warm-up; m steps,
all but the first quarter, are what the MAD is taken of. Simulated: first steps of independent series pass it in 0.5% or
less (normal) and 1 to 2% (lognormal, sigma 0.5)."""
_ALIKE = 0.25
_FEWEST_ALIKE = 2
"""A leading step whose excess is within 25% of that of two later steps is like them, and is not warm-up."""
_COUNTER_SIGMAS = 3.0
"""A counter is up where it is above its quiet steps by 3 standard errors (by MAD) of the difference."""
_NO_CAUSE = 0.05
_MAD = 1.4826
_NAMED = 0.95
"""Explanations of 95% and of 100% count as equal: the order of the causes then decides."""

Kind = Literal["warm-up", "step", "fast step", "level", "period", "mode"]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Steps that took more, or less, time than the quiet ones."""

    kind: Kind
    steps: tuple[int, ...]
    """Counted from 0, in order."""
    excess_s: float
    """Mean of them above the median of the quiet steps; negative where they are faster."""
    quiet_s: float
    cause: Cause | None
    """None: unexplained."""
    explained: float
    """Share of the excess that the cause makes up (or, unexplained, the best candidate)."""
    period: int = 0
    """Of a period: how many steps from one slow step to the next."""
    speeds: int = 2
    """Of a mode: how many speeds the steps run at."""

    @property
    def first(self) -> int:
        """Its first step."""
        return self.steps[0]

    @property
    def last(self) -> int:
        """Its last step."""
        return self.steps[-1]

    @property
    def index(self) -> Steps:
        """Its steps as an index into a series."""
        return np.array(self.steps, dtype=np.intp)


def find_disturbances(times: CauseTimes) -> tuple[Disturbance, ...]:
    """Everything that stands out of a series: a period, several speeds, unfinished warm-up, levels, single steps.

    Steps of a pattern are set aside before the others are examined: a first step that is slow because every eighth
    step is slow is not warm-up.
    """
    wall = times.wall
    if len(wall) < FEWEST:
        return ()
    disturbances: list[Disturbance] = []
    rest = np.arange(len(wall))
    if (turn := patterns.period(_flat(wall))) is not None:
        rest = np.setdiff1d(rest, turn.steps)
        disturbances += _pattern(times, "period", turn.steps, rest, period=turn.length)
    if slower := [rest[steps] for steps in patterns.speeds(wall[rest])]:
        fast = np.setdiff1d(rest, np.concatenate(slower))
        modes = [
            disturbance
            for slow in slower
            for disturbance in _pattern(times, "mode", slow, fast, speeds=len(slower) + 1)
        ]
        if len(slower) == 1 and len(slower[0]) > len(fast) and modes[0].cause is Cause.MODES:
            modes, fast = _pattern(times, "mode", fast, slower[0]), slower[0]
        disturbances, rest = disturbances + modes, fast
    return (*disturbances, *_one_by_one(times, rest))


def _pattern(
    times: CauseTimes, kind: Kind, steps: Steps, rest: Steps, *, period: int = 0, speeds: int = 2
) -> list[Disturbance]:
    """A pattern, and the steps that are far from the others even among its own."""
    wall = times.wall[steps]
    whole = Level(0, len(steps) - 1, float(np.median(wall)))
    off = _outliers(wall, whole, [whole]) if len(steps) >= FEWEST else []
    usual = np.delete(steps, off)
    return [
        replace(_judged(times, kind, usual, rest), period=period, speeds=speeds),
        *(_judged(times, "step" if wall[i] > whole.median else "fast step", steps[i : i + 1], usual) for i in off),
    ]


def _flat(wall: Floats) -> Floats:
    """Times without the shifts of their level, or their drift."""
    levels = trend.levels(wall)
    flat = wall - np.repeat([level.median for level in levels], [len(level) for level in levels])
    if len(levels) == 1 and (drift := trend.drift(wall)).is_clear:
        flat -= np.linspace(-0.5, 0.5, len(wall)) * drift.share * levels[0].median
    return np.asarray(flat + np.median(wall), dtype=np.float64)


def _one_by_one(times: CauseTimes, rest: Steps) -> list[Disturbance]:
    """Warm-up, levels and single steps among the steps that belong to no pattern."""
    wall = times.wall[rest]
    if len(wall) < FEWEST:
        return []
    lead = leading_slow(wall) if rest[0] == 0 else 0
    levels = _shifted(trend.levels(wall[lead:]), lead)
    quiet = _base(levels)
    disturbances = [_leading(times, rest[:lead], rest[quiet.steps])] if lead else []
    for level in levels:
        own = rest[level.steps]
        if abs(level.median - quiet.median) >= trend.SHIFT_SHARE * quiet.median:
            disturbances.append(_judged(times, "level", own, rest[quiet.steps]))
        off = _outliers(wall, level, levels)
        usual = np.setdiff1d(own, rest[off]) if len(off) < len(own) else own
        for index in off:
            kind: Kind = "step" if wall[index] > level.median else "fast step"
            disturbances.append(_judged(times, kind, rest[index : index + 1], usual))
    return disturbances


def _base(levels: list[Level]) -> Level:
    """The level that the others are compared with: the slowest of the fastest levels that hold a quarter of the steps.

    With the fastest level, nearly all others would be slow steps where only a few steps are fast.
    """
    by_speed = sorted(levels, key=lambda level: level.median)
    upto = np.cumsum([len(level) for level in by_speed])
    return by_speed[int(np.searchsorted(upto, _BASE_SHARE * upto[-1]))]


def leading_slow(wall: Floats) -> int:
    """How many of the first steps are still warming up, judged by the second half.

    0 where the whole first half is slower: that is a level or a drift, and how much of it was warm-up is unknown.
    A step that is like later slow steps is not warm-up either.
    """
    later = wall[len(wall) // 4 :]
    middle = float(np.median(wall[len(wall) // 2 :]))
    sigmas = _WARMUP_SIGMAS * (1 + _WARMUP_FEW / len(later) ** 2)
    limit = middle + max(sigmas * _spread(later), _WARMUP_SHARE * middle)
    slow = wall[: len(wall) // 2] > limit
    lead = 0 if slow.all() else int(np.argmin(slow))
    ratios = (wall[lead:] - middle) / (wall[:lead, None] - middle)
    alike = np.count_nonzero(np.abs(ratios - 1) <= _ALIKE, axis=1) >= _FEWEST_ALIKE
    return int(np.max(np.flatnonzero(~alike), initial=-1)) + 1


def _spread(values: Floats) -> float:
    """Standard deviation by the MAD, which is too small by n / (n - 0.8) for few values (Croux and Rousseeuw 1992)."""
    few = len(values) / (len(values) - 0.8)
    return float(few * _MAD * np.median(np.abs(values - np.median(values))))


def _shifted(levels: tuple[Level, ...], by: int) -> list[Level]:
    return [Level(level.first + by, level.last + by, level.median) for level in levels]


def _outliers(wall: Floats, level: Level, levels: list[Level]) -> list[int]:
    """Steps beyond their own level's limits; the spread is that of all steps round their levels."""
    residuals = np.concatenate([wall[each.steps] - each.median for each in levels])
    sigma, least = _spread(residuals), OUTLIER_SHARE * level.median
    off = wall[level.steps] - level.median
    slow = off > max(OUTLIER_SIGMAS * sigma, least)
    fast = off < -max(FAST_SIGMAS * len(residuals) ** (1 / 3) * sigma, least)
    return [int(index) + level.first for index in np.flatnonzero(slow | fast)]


def _leading(times: CauseTimes, steps: Steps, quiet: Steps) -> Disturbance:
    """Leading slow steps: warm-up, unless a cause that can affect any step explains them; then they are slow steps."""
    disturbance = _judged(times, "step", steps, quiet)
    external = disturbance.cause in _EXTERNAL or (times.warmed and disturbance.cause is Cause.FAULTS)
    return disturbance if external else _of_itself(disturbance, "warm-up", Cause.WARMUP)


_EXTERNAL = (Cause.GC, Cause.PREEMPTED, Cause.THROTTLED, Cause.STEAL)
"""Causes that can affect any step. Every other cause of a slow first step is warm-up."""
_OF_ITSELF: dict[Kind, Cause] = {"period": Cause.PERIODIC, "mode": Cause.MODES}
"""Patterns and fast steps are causes of their own where no other cause explains them, and where the only other cause
is more CPU time, which adds nothing to what the times show."""


def _judged(times: CauseTimes, kind: Kind, steps: Steps, quiet: Steps) -> Disturbance:
    """A disturbance with its cause: the one that makes up most of the excess, where that is enough."""
    over = causes.excess(times.wall, steps, quiet)
    cause, explained = _explanation(times, steps, quiet, over) if over > 0 else (None, 0.0)
    numbers = tuple(int(step) for step in steps)
    disturbance = Disturbance(kind, numbers, over, float(np.median(times.wall[quiet])), cause, explained)
    itself = _OF_ITSELF.get(kind, Cause.FAST if over < 0 else None)
    return _of_itself(disturbance, kind, itself) if itself and cause in (None, Cause.CPU_TIME) else disturbance


def _of_itself(disturbance: Disturbance, kind: Kind, cause: Cause) -> Disturbance:
    return replace(disturbance, kind=kind, cause=cause, explained=1.0)


def _explanation(times: CauseTimes, steps: Steps, quiet: Steps, over: float) -> tuple[Cause | None, float]:
    shares = {
        cause: causes.excess(seconds, steps, quiet) / over
        for cause, seconds in times.seconds.items()
        if _corroborated(times, cause, steps, quiet)
        and _long_enough(times, cause, steps)
        and _is_rare(seconds, steps, quiet, over)
    }
    cause, explained = _strongest(shares)
    if cause is None and (event := _event(times, steps, quiet)) is not None:
        return event, 1.0 - sum(max(0.0, share) for share in shares.values())
    return cause, explained


def _strongest(shares: dict[Cause, float]) -> tuple[Cause | None, float]:
    others = sum(max(0.0, shares.get(cause, 0.0)) for cause in (Cause.GC, Cause.PREEMPTED, Cause.THROTTLED))
    fit = {cause: share for cause, share in shares.items() if cause is not Cause.CPU_TIME or others < SLOW_WITHOUT}
    if not fit:
        return None, 0.0
    best = max(fit, key=lambda cause: min(fit[cause], _NAMED))
    return (best, fit[best]) if fit[best] >= EXPLAINED else (None, fit[best])


def _corroborated(times: CauseTimes, cause: Cause, steps: Steps, quiet: Steps) -> bool:
    """Whether the cause's own counter is up in these steps, by more than it varies among the quiet ones."""
    counter = times.evidence.get(cause)
    if counter is None:
        return False
    error = _spread(counter[quiet]) * math.sqrt(1 / len(steps) + 1 / len(quiet))
    return causes.excess(counter, steps, quiet) > _COUNTER_SIGMAS * error


def _is_rare(seconds: Floats, steps: Steps, quiet: Steps, over: float) -> bool:
    """For a single step: whether no more than 5% of the quiet ones had as much of the cause, and were not slow."""
    as_much = seconds[quiet] - np.median(seconds[quiet]) >= EXPLAINED * over
    return len(steps) > 1 or float(as_much.mean()) <= _NO_CAUSE


def _long_enough(times: CauseTimes, cause: Cause, steps: Steps) -> bool:
    """NVML's values are averages over up to a second: they cannot explain a shorter stretch."""
    return cause not in gpu_causes.SAMPLED or float(times.wall[steps].sum()) >= gpu_causes.WINDOW_S


def _event(times: CauseTimes, steps: Steps, quiet: Steps) -> Cause | None:
    """An event that happened in these steps and does not happen in quiet ones."""
    for cause, counts in times.events.items():
        if counts[steps].any() and np.median(counts[quiet]) == 0:
            return cause
    return None
