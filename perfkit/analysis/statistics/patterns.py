"""Patterns in step times that need no counter: every k-th step is slower, or steps run at several speeds.

Rates of false alarms and of detection are in docs/measurement.md; test_patterns simulates them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from perfkit.analysis.statistics.stats import Floats, lag1

Steps = npt.NDArray[np.intp]
"""Numbers of steps, counted from 0, in order."""

FEWEST_TURNS = 3
"""A period is looked for where it has at least three occurrences in the run."""
PERIOD_P = 0.02
"""Probability that any contrast, of all periods and offsets, exceeds its limit if the order of the steps is random."""
PERIOD_SHARE = 0.02
"""Steps that differ from the others by less than 2% are not a period."""
_STRAYS = 0.2
_STRAY_SIGMAS = 5.0
"""One in five of a period's steps may be like the others: nearer to their median, and 5 standard deviations (of the
others, by MAD) from its own."""
_MAD = 1.4826
_PERMUTATIONS = 4000
_SAME = 1e-4
"""Sums of scores closer than this are the same."""
_MOST_STEPS = 400
"""A period is looked for in so many leading steps: a longer run has enough of them."""

FEWEST_OF_MODE = 3
LEAST_OF_MODE = 1 / 8
"""The rarer of two speeds is that of at least 3 steps and an eighth of all; fewer are single slow steps."""
MODE_SHARE = 0.02
"""Speeds that differ by less than 2% are one."""
_FEWEST_FOR_MODES = 8
_FEWEST_RUNS = 4
_LONGEST_RUN = 4.0
"""Two speeds alternate: slow and fast steps make at least 4 runs, and the rarer kind runs for less than 4 steps in the
mean. What lasts longer is a level (`trend.SHORTEST_LEVEL`)."""


@dataclass(frozen=True, slots=True)
class Period:
    """Every `length`-th step is slower, or faster (for a length of 2: the slower half of an alternation)."""

    length: int
    steps: Steps
    """These steps."""


def period(series: Floats) -> Period | None:
    """The period whose steps are slower, or faster, than the others by more than chance, or None; of several the
    clearest."""
    for k, phase in _beyond_chance(series[:_MOST_STEPS]):
        steps = np.arange(phase, len(series), k)
        if _is_one_speed(series[steps], np.delete(series, steps)):
            return Period(k, steps)
    return None


def _is_one_speed(own: Floats, rest: Floats) -> bool:
    """Whether the steps of a period differ from the rest by 2%, and all but a few of them do.

    Four very slow steps also make the steps of half their period slower by more than chance.
    """
    middle, usual = float(np.median(own)), float(np.median(rest))
    off = np.abs(own - middle)
    sigma = _MAD * float(np.median(np.abs(rest - usual)))
    strays = int(np.count_nonzero((off > np.abs(own - usual)) & (off > _STRAY_SIGMAS * sigma)))
    return abs(middle - usual) >= PERIOD_SHARE * abs(usual) and strays <= _STRAYS * len(own)


def _beyond_chance(points: Floats) -> list[tuple[int, int]]:
    """Periods and offsets whose steps are slower, or faster, than the others by more than chance; the clearest first.

    For each length k and offset with three occurrences or more: the sum of normal scores of ranks (van der Waerden
    1952) of the steps there. Its limit is that of permuted scores (`_limits`), which is exact for independent steps of
    any distribution, and corrects for testing all k and offsets. An outlier counts by its rank only.
    """
    n = len(points)
    if n <= 2 * (FEWEST_TURNS - 1) or np.ptp(points) == 0:
        return []
    limits, alternation = _limits(n), _alternation(points)
    beyond = []
    for k, turns, first, contrasts in _contrasts(_scores(points)[:, None]):
        own = contrasts[:, 0] * (alternation if k == 2 else 1.0)
        own = own + _SAME * (own > 0)  # steps that alternate: the slower ones
        at = int(np.argmax(_sizes(own, turns)))
        as_clear_as = turns if k > 2 else max(FEWEST_TURNS, turns // 2)  # steps that compensate for others alternate
        if _sizes(own, turns)[at] > limits[_group(as_clear_as)] + 2 * _SAME:
            beyond.append((abs(float(own[at])), k, first + at))
    return [(k, phase) for _, k, phase in sorted(beyond, reverse=True)]


def _contrasts(scores: Floats) -> Iterator[tuple[int, int, int, Floats]]:
    """Contrasts of scores, shape (n, columns), of the steps at each offset of each period with FEWEST_TURNS or more.

    A contrast is the sum of the scores in standard deviations under permutation, sqrt(m (n - m) / (n - 1)) for m steps.
    Yields k, m, the first offset with m steps, and the contrasts from it on, shape (offsets, columns): n % k offsets
    have one step more than the others.
    """
    n = len(scores)
    longest = (n - 1) // (FEWEST_TURNS - 1)
    padded = np.concatenate((scores, np.zeros((longest, scores.shape[1]), scores.dtype)))
    for k in range(2, longest + 1):
        turns, more = divmod(n, k)
        sums = padded[: (turns + 1) * k].reshape(turns + 1, k, -1).sum(axis=0)
        for m, first, part in ((turns + 1, 0, sums[:more]), (turns, more, sums[more:])):
            if m >= FEWEST_TURNS and len(part):
                yield k, m, first, part / math.sqrt(m * (n - m) / (n - 1))


def _sizes(contrasts: Floats, turns: int) -> Floats:
    """Slow steps have positive contrasts and fast ones negative; three are too few to be called fast."""
    return contrasts if turns == FEWEST_TURNS else np.abs(contrasts)


def _group(turns: int) -> int:
    """Contrasts of 3, 4, 5 to 9, 10 to 19, 20 to 39, ... steps have limits of their own."""
    return turns - FEWEST_TURNS if turns < 5 else 2 + int(math.log2(turns / 5))


def _scores(points: Floats) -> Floats:
    """Normal scores of the ranks (ties: of their mean rank), of mean 0 and mean square 1."""
    _, place, times = np.unique(points, return_inverse=True, return_counts=True)
    ranks = np.cumsum(times) - (times - 1) / 2
    normal = NormalDist()
    scores = np.array([normal.inv_cdf(share) for share in (ranks / (len(points) + 1)).tolist()])[place]
    scores -= scores.mean()
    return np.asarray(scores / np.sqrt(np.mean(scores**2)), dtype=np.float64)


def _alternation(points: Floats) -> float:
    """Factor for k = 2: where the residual without the alternation has a negative r, chance alternates too.

    An AR(1) series has (1 - r) / (1 + r) times the power of independent steps at that frequency.
    """
    left = points - np.where(np.arange(len(points)) % 2, np.median(points[1::2]), np.median(points[::2]))
    r = lag1(left) + 2 / len(points)  # its mean on independent steps, from which two medians were taken, is -2 / n
    return math.sqrt((1 + r) / (1 - r)) if r < 0 else 1.0


@functools.lru_cache
def _limits(n: int) -> Floats:
    """What the size of a contrast of n scores has to exceed, by its group: in 2% of permutations one does.

    Contrasts of few scores have other tails than those of many: the three or four slowest of a hundred steps would
    never pass one limit for all. Each group has the same share of the 2%, that of three steps, of which there are as
    many as of all the others, two.
    """
    scores = np.tile(_scores(np.arange(n, dtype=np.float64)).astype(np.float32), (_PERMUTATIONS, 1))
    permuted = np.ascontiguousarray(np.random.default_rng(n).permuted(scores, axis=1).T)
    largest = np.zeros((_group(-(-n // 2)) + 1, _PERMUTATIONS))
    for _, turns, _, contrasts in _contrasts(permuted):
        of = largest[_group(turns)]
        np.maximum(of, _sizes(contrasts, turns).max(axis=0), out=of)
    shares = np.where(np.arange(len(largest)) == _group(FEWEST_TURNS), 2, 1)
    ordered = np.sort(largest, axis=1)
    as_large = [_PERMUTATIONS - np.searchsorted(row, own - _SAME) for row, own in zip(ordered, largest, strict=True)]
    first_kept = np.sort((np.array(as_large) / shares[:, None]).min(axis=0))[int(PERIOD_P * _PERMUTATIONS)]
    allowed = np.ceil(first_kept * shares).astype(int) - 1
    return np.asarray(ordered[np.arange(len(shares)), _PERMUTATIONS - 1 - allowed])


def speeds(series: Floats) -> tuple[Steps, ...]:
    """The steps at each speed but the fastest, from fast to slow, where two or three speeds alternate without a period.

    Empty where there is one speed. Sorted, the series is cut where (difference of means) / (larger standard deviation)
    of neighbouring parts is largest: Ashman's D (Ashman, Bird and Zepf 1994) with the larger in place of the mean
    spread, so that a long tail is not a mode. Speeds are named above 4 + 36 / n: the limit that normal, uniform, skewed
    and heavy-tailed series pass in 1.5% or less with two parts, and in 0.2% or less with three.
    Of two and three the clearer are named.
    """
    if len(series) < _FEWEST_FOR_MODES:
        return ()
    return max(_speeds(series, 2), _speeds(series, 3), key=lambda split: split[0])[1]


def _speeds(series: Floats, count: int) -> tuple[float, tuple[Steps, ...]]:
    """The distance of `count` speeds, and the steps at all but the fastest; 0 and none where there are not so many."""
    n = len(series)
    near = _without_far(np.sort(series), n // 10)
    every = math.ceil(n / _MOST_STEPS) if count > 2 else 1  # pairs of cuts are tried: their number is n squared
    ordered = near[::every]
    distance, cuts = _split(ordered, count, max(FEWEST_OF_MODE, math.ceil(LEAST_OF_MODE * n / every)))
    parts = np.split(ordered, cuts)
    medians = np.array([np.median(part) for part in parts]) if cuts else np.zeros(1)
    if distance <= 4 + 36 / n or (np.diff(medians) < MODE_SHARE * np.abs(medians[:-1])).any():
        return 0.0, ()
    bounds = [(below[-1] + above[0]) / 2 for below, above in pairwise(parts)]
    if not all(_alternate(series > bound) for bound in bounds):
        return 0.0, ()
    at = np.searchsorted(bounds, series)
    return distance, tuple(np.flatnonzero((at == speed) & (series <= near[-1])) for speed in range(1, count))


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


def _split(ordered: Floats, count: int, least: int) -> tuple[float, tuple[int, ...]]:
    """The largest distance, of the nearest neighbours, of two or three parts of at least `least` values, and where the
    parts after the first begin; none where there are too few values."""
    n = len(ordered)
    first = np.arange(n + 1)
    cuts = [first] if count == 2 else list(np.triu_indices(n + 1, least))
    bounds = [np.zeros_like(cuts[0]), *cuts, np.full_like(cuts[0], n)]
    long_enough = np.all([b - a >= least for a, b in pairwise(bounds)], axis=0)
    if not long_enough.any():
        return 0.0, ()
    bounds = [bound[long_enough] for bound in bounds]
    centred = ordered - ordered.mean()
    sums, squares = (np.concatenate(([0.0], np.cumsum(values))) for values in (centred, centred**2))
    smallest = np.finfo(np.float64).eps * max(float(squares[-1]), np.finfo(np.float64).tiny)
    means = [(sums[b] - sums[a]) / (b - a) for a, b in pairwise(bounds)]
    variances = [
        np.maximum((squares[b] - squares[a] - (b - a) * mean**2) / (b - a - 1), smallest)
        for (a, b), mean in zip(pairwise(bounds), means, strict=True)
    ]
    distances = np.min(
        [
            (high - low) / np.sqrt(np.maximum(of_low, of_high))
            for (low, high), (of_low, of_high) in zip(pairwise(means), pairwise(variances), strict=True)
        ],
        axis=0,
    )
    best = int(np.argmax(distances))
    return float(distances[best]), tuple(int(bound[best]) for bound in bounds[1:-1])
