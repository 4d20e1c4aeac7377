"""Drift of a series (Mann-Kendall, Theil-Sen) and shifts of its level (change points)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from perfkit.analysis.statistics.stats import Floats

DRIFT_P = 0.05
DRIFT_SHARE = 0.02
"""A drift is named where p < 5% and the series moves by 2% or more from end to end."""
SHIFT_SHARE = 0.05
"""Levels that differ by less than 5% are one level."""
SHIFT_SIGMAS = 2.0
"""Levels that differ by less than two standard deviations of single steps are one level too."""
SHORTEST_LEVEL = 4
_LEAST_NOISE = 0.001
"""As a share of the median: steps that a coarse clock makes equal can still have levels."""
_PENALTY = 5.0
"""Penalty for one more level, in variances of a step times ln n; docs/measurement.md has the false alarms it allows."""
_MOST_POINTS = 400
"""Longer series are taken in blocks: pairs are counted, and their number grows with the square."""
_MAD = 1.4826
"""Median absolute deviation to standard deviation, for normal noise."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A monotone trend."""

    p: float
    """Of the Mann-Kendall test, two-sided: how often a series without trend looks as ordered as this."""
    share: float
    """Theil-Sen slope over the whole series, relative to its median."""

    @property
    def is_clear(self) -> bool:
        """Whether it is to be named."""
        return self.p < DRIFT_P and abs(self.share) >= DRIFT_SHARE


@dataclass(frozen=True, slots=True)
class Level:
    """Steps first..last (counted from 0, both in it) that run at one speed."""

    first: int
    last: int
    median: float

    @property
    def steps(self) -> slice:
        """Its steps in a series."""
        return slice(self.first, self.last + 1)

    def __len__(self) -> int:
        return self.last - self.first + 1


def drift(series: Floats) -> Drift:
    """Mann-Kendall test by its normal approximation with the tie correction, and Theil-Sen slope.

    S = sum of sign(x_j - x_i) over i < j; Var S = (n(n-1)(2n+5) - sum t(t-1)(2t+5)) / 18; z = (|S| - 1) / sd.
    """
    points, block = _blocks(series)
    n = len(points)
    if n < 4:
        return Drift(1.0, 0.0)
    i, j = np.triu_indices(n, 1)
    rises = points[j] - points[i]
    s = float(np.sign(rises).sum())
    ties = np.unique(points, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = max(0.0, abs(s) - 1) / math.sqrt(variance) if variance > 0 else 0.0
    slope = float(np.median(rises / (j - i))) / block
    return Drift(math.erfc(z / math.sqrt(2)), slope * (len(series) - 1) / float(np.median(points)))


def levels(series: Floats) -> tuple[Level, ...]:
    """The series cut where its level shifts; one level where it does not.

    Least squares with a penalty per level (optimal partitioning, Jackson et al. 2005), on a series whose single
    spikes are cut to its running median, so that an outlier is no level. Too similar neighbours are joined, and so
    are levels of too few steps. A series that a straight line fits better is a drift, and one level.
    """
    points, block = _blocks(series)
    n = len(points)
    sigma = max(_noise(points), _LEAST_NOISE * float(np.median(points))) if n else 0.0
    if n < 2 * SHORTEST_LEVEL:
        return (Level(0, len(series) - 1, float(np.median(series))),)
    clipped = _without_spikes(points, sigma)
    cuts = _partition(clipped, _PENALTY * sigma**2 * math.log(n))
    least = max(SHIFT_SHARE * float(np.median(points)), SHIFT_SIGMAS * sigma)
    cuts = _joined(points, cuts, least)
    if _is_line(clipped, cuts):
        cuts = [0]
    bounds = [*(cut * block for cut in cuts), len(series)]
    return tuple(Level(first, end - 1, float(np.median(series[first:end]))) for first, end in pairwise(bounds))


def _blocks(series: Floats) -> tuple[Floats, int]:
    """At most _MOST_POINTS medians of neighbours, and how many steps each stands for."""
    size = math.ceil(len(series) / _MOST_POINTS)
    if size == 1:
        return np.asarray(series, dtype=np.float64), 1
    whole = len(series) // size * size
    return np.median(series[:whole].reshape(-1, size), axis=1), size


def _noise(points: Floats) -> float:
    """Standard deviation of single points, from differences of neighbours, which levels hardly affect."""
    steps = np.diff(points)
    return float(_MAD * np.median(np.abs(steps - np.median(steps))) / math.sqrt(2)) if len(steps) else 0.0


def _without_spikes(points: Floats, sigma: float) -> Floats:
    """Each point at most 3 sigma from the median of itself and two neighbours on each side."""
    padded = np.pad(points, 2, mode="edge")
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return np.clip(points, middle - 3 * sigma, middle + 3 * sigma)


def _partition(points: Floats, penalty: float) -> list[int]:
    """First index of each part, of the cheapest partition into parts of SHORTEST_LEVEL points or more."""
    n = len(points)
    total, squares = (np.concatenate(([0.0], np.cumsum(values))) for values in (points, points**2))
    best = np.full(n + 1, np.inf)
    best[0] = -penalty
    before = np.zeros(n + 1, dtype=int)
    for end in range(SHORTEST_LEVEL, n + 1):
        starts = np.arange(end - SHORTEST_LEVEL + 1)
        sums = total[end] - total[starts]
        costs = best[starts] + squares[end] - squares[starts] - sums**2 / (end - starts) + penalty
        before[end] = int(np.argmin(costs))
        best[end] = costs[before[end]]
    cuts = [n]
    while cuts[-1]:
        cuts.append(int(before[cuts[-1]]))
    return sorted(cuts[1:])


def _joined(points: Floats, cuts: list[int], least: float) -> list[int]:
    """Fewer cuts: the two most alike neighbours that are not two levels are joined, until no such pair is left."""
    cuts = list(cuts)
    while len(cuts) > 1:
        parts = [points[a:b] for a, b in pairwise([*cuts, len(points)])]
        gaps = [
            math.inf if _are_two(a, b, least) else abs(float(np.median(a) - np.median(b))) for a, b in pairwise(parts)
        ]
        closest = int(np.argmin(gaps))
        if gaps[closest] == math.inf:
            break
        del cuts[closest + 1]
    return cuts


def _is_line(points: Floats, cuts: list[int]) -> bool:
    """Whether a straight line is nearer to the points than their levels: a drift is no stairs."""
    x = np.arange(len(points))
    line = points - np.polyval(np.polyfit(x, points, 1), x)
    stairs = np.concatenate([part - part.mean() for part in np.split(points, cuts[1:])])
    return float(line @ line) < float(stairs @ stairs)


def _are_two(own_times: Floats, other: Floats, least: float) -> bool:
    """Whether the speeds of neighbouring parts are two levels: far enough apart, and each that of enough steps.

    Two fast steps among four make a median that is no step's speed, and three make one of three steps: a part is a
    level where SHORTEST_LEVEL of its steps are nearer to its own median than to its neighbour's.
    """
    own, next_ = float(np.median(own_times)), float(np.median(other))
    middle, way = (own + next_) / 2, math.copysign(1, next_ - own)
    at_own, at_next = np.count_nonzero(way * own_times < way * middle), np.count_nonzero(way * other > way * middle)
    return abs(next_ - own) >= least and int(min(at_own, at_next)) >= SHORTEST_LEVEL
