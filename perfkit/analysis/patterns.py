"""Patterns in step times that no counter is needed for: every k-th step is slower, or steps run at two speeds.

Rates of false alarms and of detection are in docs/measurement.md; tests/analysis/test_patterns.py simulates them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perfkit.analysis.stats import Floats, lag1

Steps = npt.NDArray[np.intp]
"""Numbers of steps, counted from 0, in order."""

PERIODS = range(2, 21)
FEWEST_TURNS = 3
"""A period is looked for where the run holds at least three of its slow steps."""
PERIOD_P = 0.02
"""Of the largest contrast of all periods and phases, if the order of the steps means nothing."""
PERIOD_SHARE = 0.02
"""Steps of a period that differ from the others by less than 2% are none."""
_PERMUTATIONS = 4000
_SAME = 1e-9
"""Contrasts closer than this are the same."""
_MOST_STEPS = 400
"""A period is looked for in so many leading steps: a longer run has enough of them."""

FEWEST_OF_MODE = 3
LEAST_OF_MODE = 1 / 8
"""The rarer of two speeds is that of at least 3 steps and an eighth of all; fewer are single steps out of line."""
MODE_SHARE = 0.02
"""Speeds that differ by less than 2% are one."""
_FEWEST_FOR_MODES = 8
_FEWEST_RUNS = 4
_LONGEST_RUN = 4.0
"""Two speeds alternate: slow and fast steps make at least 4 runs, and the rarer kind runs for less than 4 steps in the
mean. What lasts longer is a level (`trend.SHORTEST_LEVEL`)."""


@dataclass(frozen=True, slots=True)
class Period:
    """Every `length`-th step is slower (or, for a length of 2, the slower half of an alternation)."""

    length: int
    steps: Steps
    """The slow steps."""


def period(series: Floats) -> Period | None:
    """The period whose steps are slower than the others by more than chance, or None.

    For each length k and phase: the sum of normal scores of ranks (van der Waerden 1952) of the steps at that phase,
    over its standard deviation under permutation. The largest of all is compared with the same of permuted scores,
    which is exact for independent steps of any distribution, and corrects for looking at all k and phases. An outlier
    counts by its rank only.
    """
    points = series[:_MOST_STEPS]
    n = len(points)
    classes = _classes(n)
    if not classes or np.ptp(points) == 0:
        return None
    weights = np.array([_weights(n, one) for one in classes])
    contrasts = weights @ _scores(points)
    best = int(np.argmax(contrasts))
    k, phase = classes[best].step, classes[best].start
    slow = np.arange(phase, len(series), k)
    rest = np.delete(series, slow)
    over = float(np.median(series[slow]) - np.median(rest))
    found = float(contrasts[best]) * (_alternation(points) if k == 2 else 1.0)
    if _chance(found, n) > PERIOD_P or over < PERIOD_SHARE * abs(float(np.median(rest))):
        return None
    return Period(k, slow)


def _classes(n: int) -> list[range]:
    """Steps at each phase of each period, of those that come round often enough."""
    return [range(phase, n, k) for k in PERIODS for phase in range(k) if phase + (FEWEST_TURNS - 1) * k < n]


def _weights(n: int, steps: range) -> Floats:
    """A contrast of unit variance under permutation of n scores of mean 0 and mean square 1."""
    weights = np.zeros(n)
    weights[steps] = 1 / math.sqrt(len(steps) * (n - len(steps)) / (n - 1))
    return weights


def _scores(points: Floats) -> Floats:
    """Normal scores of the ranks (ties: of their mean rank), of mean 0 and mean square 1."""
    from scipy.special import ndtri  # noqa: PLC0415 - scipy costs 0.1 s and few callers get here

    _, place, times = np.unique(points, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place]
    scores = ndtri(ranks / (len(points) + 1))
    scores -= scores.mean()
    return np.asarray(scores / np.sqrt(np.mean(scores**2)), dtype=np.float64)


def _alternation(points: Floats) -> float:
    """Factor for k = 2: where what is left without the alternation has a negative r, chance alternates by itself.

    An AR(1) series has (1 - r) / (1 + r) times the power of independent steps at that frequency.
    """
    left = points - np.where(np.arange(len(points)) % 2, np.median(points[1::2]), np.median(points[::2]))
    r = lag1(left) + 2 / len(points)  # its mean on independent steps, from which two medians were taken, is -2 / n
    return math.sqrt((1 + r) / (1 - r)) if r < 0 else 1.0


def _chance(contrast: float, n: int) -> float:
    """How often the largest contrast of n permuted scores is as large as this."""
    largest = _largest(n)
    return 1 - float(np.searchsorted(largest, contrast - _SAME)) / len(largest)


@functools.lru_cache
def _largest(n: int) -> Floats:
    """The largest contrast of n permuted scores, sorted, of _PERMUTATIONS permutations; seeded."""
    weights = np.array([_weights(n, one) for one in _classes(n)])
    scores = np.tile(_scores(np.arange(n, dtype=np.float64)), (_PERMUTATIONS, 1))
    return np.sort((np.random.default_rng(n).permuted(scores, axis=1) @ weights.T).max(axis=1))


def modes(series: Floats) -> Steps | None:
    """The steps at the slower of two speeds that alternate without a period, or None.

    Sorted, the series is cut in two where (difference of means) / (larger standard deviation) is largest: Ashman's D
    (Ashman, Bird and Zepf 1994) with the larger in place of the mean spread, so that a long tail is no mode. Two modes
    are named above 4 + 36 / n: the limit that normal, uniform, skewed and heavy-tailed series pass in 1.5% or less.
    """
    n = len(series)
    if n < _FEWEST_FOR_MODES:
        return None
    ordered = _without_far(np.sort(series), n // 10)
    distance, cut = _split(ordered, max(FEWEST_OF_MODE, math.ceil(LEAST_OF_MODE * n)))
    fast, slow = ordered[:cut], ordered[cut:]
    is_slow = series > (fast[-1] + slow[0]) / 2
    apart = float(np.median(slow) - np.median(fast))
    if distance <= 4 + 36 / n or not _alternate(is_slow) or apart < MODE_SHARE * abs(float(np.median(fast))):
        return None
    return np.flatnonzero(is_slow & (series <= ordered[-1]))


def _alternate(is_slow: npt.NDArray[np.bool_]) -> bool:
    changes = int(np.count_nonzero(np.diff(is_slow)))
    of_rarer = (changes + 1 + int(is_slow[0] == (is_slow.mean() < 0.5))) // 2
    rarer = min(int(is_slow.sum()), int((~is_slow).sum()))
    return changes + 1 >= _FEWEST_RUNS and rarer < _LONGEST_RUN * of_rarer


def _without_far(ordered: Floats, most: int) -> Floats:
    """Without up to `most` values at each end that are farther from the others than those are from each other."""
    for _ in range(most):
        if ordered[-1] - ordered[-2] > ordered[-2] - ordered[0]:
            ordered = ordered[:-1]
        if ordered[1] - ordered[0] > ordered[-1] - ordered[1]:
            ordered = ordered[1:]
    return ordered


def _split(ordered: Floats, least: int) -> tuple[float, int]:
    """The largest distance of two parts of at least `least` values, and where the upper begins."""
    n = len(ordered)
    cuts = np.arange(least, n - least + 1)
    if not len(cuts):
        return 0.0, n // 2
    centred = ordered - ordered.mean()
    sums, squares = np.cumsum(centred), np.cumsum(centred**2)
    low, high = sums[cuts - 1] / cuts, (sums[-1] - sums[cuts - 1]) / (n - cuts)
    of_low = (squares[cuts - 1] - cuts * low**2) / (cuts - 1)
    of_high = (squares[-1] - squares[cuts - 1] - (n - cuts) * high**2) / (n - cuts - 1)
    smallest = np.finfo(np.float64).eps * max(float(squares[-1]), np.finfo(np.float64).tiny)
    distances = (high - low) / np.sqrt(np.maximum(np.maximum(of_low, of_high), smallest))
    best = int(np.argmax(distances))
    return float(distances[best]), int(cuts[best])
