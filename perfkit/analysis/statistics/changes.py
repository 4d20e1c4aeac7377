"""Change points of a series of runs: where its level changed, by ranks, and how often chance would say so.

Of all windows of neighbouring runs the one is taken whose ranks differ most from the others' (Mann and Whitney's
statistic, standardised); its ends are changes. How far a window differs by chance is found by shuffling: if nothing
changed, every order of the runs was equally likely, whatever their distribution, so that the rate of false alarms is
the one that was asked for. Each part is then searched likewise (circular binary segmentation, Olshen et al. 2004), and
a change that its two neighbouring parts alone do not show is left out. It is where the medians of both fit best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from perfkit.analysis.statistics.stats import Floats

ALPHA = 0.02
"""Of series in which nothing changed, so many are said to have a change, or fewer."""
LEAST_SHARE = 0.02
"""Smaller changes of the median are not named."""
_SIDE = 2
"""Runs on each side of a cut: one that is off is an outlier."""
_SHUFFLES = 999
_LOOKS = 2
"""The first cuts were found before the later ones: each is looked at again, so often, beside its neighbours."""
_SAME = 1e-9
"""Statistics closer than this are the same: those of equal ranks in another order."""


@dataclass(frozen=True, slots=True)
class Change:
    """A new level."""

    first: int
    """The first of the series that has it, from 0."""
    before: float
    after: float
    """Medians of the parts before and from it, up to the next changes."""
    p: float
    """How often a shuffled series has a change as clear."""

    @property
    def share(self) -> float:
        """By how much the level rose, relative to the one before."""
        return self.after / self.before - 1


def changes(series: Floats, alpha: float = ALPHA, least: float = LEAST_SHARE) -> tuple[Change, ...]:
    """Changes of a series in the order of time, shape (n,), all values above 0; none in fewer than four values."""
    series, cuts = np.asarray(series, dtype=np.float64), dict[int, float]()
    parts = [(0, len(series))]
    while parts:
        begin, end = parts.pop()
        first, last, p = clearest(series[begin:end])
        if p > alpha:
            continue
        edges = [begin, *(begin + cut for cut in (first, last) if 0 < cut < end - begin), end]
        cuts |= dict.fromkeys(edges[1:-1], p)
        parts += pairwise(edges)
    for _ in range(_LOOKS):
        cuts = _looked_at_again(series, cuts, alpha, least)
    both = {cut: [float(np.median(part)) for part in _beside(series, sorted(cuts), cut)] for cut in sorted(cuts)}
    return tuple(Change(cut, before, after, cuts[cut]) for cut, (before, after) in both.items())


def _looked_at_again(series: Floats, cuts: dict[int, float], alpha: float, least: float) -> dict[int, float]:
    """Each cut where its two neighbouring parts have it, without those that they do not show, or that are small."""
    cuts = dict(cuts)
    for cut in sorted(cuts):
        before, after = _beside(series, sorted(cuts), cut)
        both, p = np.concatenate((before, after)), cuts.pop(cut)
        place = _split(both)
        is_small = abs(np.median(both[place:]) / np.median(both[:place]) - 1) < least
        if not is_small and clearest(both)[2] <= alpha:
            cuts[cut - len(before) + place] = p
    return cuts


def clearest(series: Floats) -> tuple[int, int, float]:
    """The window that differs most from all else, and how often a shuffled series has one that differs as much.

    (first, one after its last, p); (0, 0, 1.0) for fewer than four values.
    """
    n = len(series)
    if n < 2 * _SIDE:
        return 0, 0, 1.0
    _, place, count = np.unique(series, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]  # equal values share their mean rank
    shuffled = np.random.default_rng(n).permuted(np.tile(rank, (_SHUFFLES, 1)), axis=1)
    found, chance = (0.0, 0, 0), np.zeros(_SHUFFLES)
    sums, others = (np.pad(np.cumsum(ranks, axis=1), ((0, 0), (1, 0))) for ranks in (rank[None, :], shuffled))
    for length in range(_SIDE, n - _SIDE + 1):
        starts = np.arange(n - length + 1)
        starts = starts[((starts == 0) | (starts >= _SIDE)) & ((starts == n - length) | (starts <= n - length - _SIDE))]
        own = _apart(sums, starts, length)[0]
        found = max(found, (float(own.max()), int(starts[own.argmax()]), length))
        chance = np.maximum(chance, _apart(others, starts, length).max(axis=1))
    most, first, length = found
    return first, first + length, (1 + int((chance >= most - _SAME).sum())) / (1 + _SHUFFLES)


def _split(series: Floats) -> int:
    """Where two levels fit best, by the sum of distances from their medians: the first of the later one."""

    def cost(place: int) -> float:
        return sum(float(np.abs(part - np.median(part)).sum()) for part in np.split(series, [place]))

    return min(range(_SIDE, len(series) - _SIDE + 1), key=cost)


def _apart(sums: Floats, starts: npt.NDArray[np.int64], length: int) -> Floats:
    """How far the ranks in windows are from what chance gives, in standard deviations, shape (rows, starts)."""
    n = sums.shape[1] - 1
    inside = sums[:, starts + length] - sums[:, starts]
    return np.abs(inside - length * (n + 1) / 2) / math.sqrt(length * (n - length) * (n + 1) / 12)


def _beside(series: Floats, cuts: list[int], cut: int) -> tuple[Floats, Floats]:
    """The parts before and after a cut."""
    edges = [0, *cuts, len(series)]
    place = edges.index(cut)
    return series[edges[place - 1] : cut], series[cut : edges[place + 1]]
