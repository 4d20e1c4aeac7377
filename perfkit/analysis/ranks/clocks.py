"""Clocks of ranks, aligned by the ends of collectives: all participants of one end together.

Starts say nothing, since whoever comes first waits. The offset of two clocks is the median difference of ends, and a
drift the Theil-Sen slope of it over time, where Kendall's tau finds one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from perfkit.analysis.attribution.intervals import Ints
from perfkit.analysis.ranks.matching import Matched, in_order
from perfkit.schema.table import Column, Table

_SURE = 3.9
"""Standard deviations of Kendall's score (normal approximation): chance alone exceeds them once in 10,000."""
_MOST_POINTS = 600
"""Of a fit: slopes are made of all pairs."""
_FEWEST = 8
"""Collectives, below which no drift is looked for."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What takes a rank's time to the first rank's: t - (offset + drift (t - origin))."""

    offset: float
    """ns at `origin`."""
    drift: float
    """ns per ns: 1e-6 is a microsecond a second."""
    origin: int
    """ns on the rank's own clock."""
    shared: int
    """Collectives that it was fitted to; 0 where it shares none, and its own clock is kept."""
    is_known: bool = True
    """False where no collective connects it with the first rank."""

    def aligned(self, time: Ints) -> Ints:
        """Times of the rank on the first rank's clock, in ns."""
        return time - np.rint(self.offset + self.drift * (time - self.origin)).astype(np.int64)


def aligned(found: Matched) -> tuple[Matched, tuple[Clock, ...]]:
    """The matches on the first rank's clock, and the clock of each rank.

    A rank that shares no collective with the first is aligned by one that is aligned already, that with which it
    shares the most.
    """
    ranks = len(found.ranks)
    end, start = found.end.copy(), found.start.copy()
    part = found.takes_part.astype(np.int64)
    shared = part.T @ part
    clocks: dict[int, Clock] = {0: Clock(0.0, 0.0, 0, 0)}
    while len(clocks) < ranks:
        done, left = sorted(clocks), [rank for rank in range(ranks) if rank not in clocks]
        counts = shared[np.ix_(left, done)]
        row, column = np.unravel_index(int(counts.argmax()), counts.shape)
        rank, other = left[int(row)], done[int(column)]
        both = found.takes_part[:, rank] & found.takes_part[:, other]
        clocks[rank] = _fit(found.end[both, rank], end[both, other])
        end[:, rank], start[:, rank] = (clocks[rank].aligned(times[:, rank]) for times in (found.end, found.start))
    return in_order(found, start, end), tuple(clocks[rank] for rank in range(ranks))


def _fit(own: Ints, other: Ints) -> Clock:
    """The clock whose times are `own`, by that whose times of the same are `other`."""
    if not len(own):
        return Clock(0.0, 0.0, 0, 0, is_known=False)
    difference, origin = own - other, int(np.median(own))
    base = float(np.median(difference))
    chosen = np.linspace(0, len(own) - 1, min(len(own), _MOST_POINTS)).astype(np.int64)
    order = np.argsort(own, kind="stable")[chosen]
    time, ahead = (own[order] - origin).astype(np.float64), difference[order] - base
    first, second = np.triu_indices(len(time), 1)
    run, rise = time[second] - time[first], ahead[second] - ahead[first]
    n = len(time)
    sure = abs(np.sign(rise[run > 0]).sum()) > _SURE * (n * (n - 1) * (2 * n + 5) / 18) ** 0.5
    if n < _FEWEST or not sure:
        return Clock(base, 0.0, origin, len(own))
    slope = float(np.median(rise[run > 0] / run[run > 0]))
    level = float(np.median(difference - base - slope * (own - origin)))
    return Clock(base + level, slope, origin, len(own))


def residuals(found: Matched) -> npt.NDArray[np.float64]:
    """ns [matches, ranks] by which each aligned end differs from the median of its collective; nan elsewhere."""
    ends = np.where(found.takes_part, found.end - found.end.max(initial=0), np.nan).astype(np.float64)
    return ends - np.nanmedian(ends, axis=1, keepdims=True) if len(ends) else ends


def table(found: Matched, clocks: tuple[Clock, ...]) -> Table:
    """One row a rank: how far its clock is ahead of the first's, its drift, and what alignment leaves."""
    left = np.abs(residuals(found))
    quantiles = [_percentiles(left[:, column]) for column in range(len(clocks))]
    frame = pd.DataFrame(
        {
            "rank": list(found.ranks),
            "offset_ns": [clock.offset if clock.is_known else np.nan for clock in clocks],
            "drift_ns": [clock.drift * 1e9 for clock in clocks],
            "count": [clock.shared for clock in clocks],
            **{f"residual_p{p}_ns": [row[i] for row in quantiles] for i, p in enumerate(_PERCENTILES)},
        }
    )
    columns = (
        Column("rank"),
        Column("offset_ns", "ns", "time", "clock ahead", note="of the first rank's; ends of collectives are aligned"),
        Column("drift_ns", "ns", "time", "drift in 1 s"),
        Column("count", "", "count", "collectives"),
        *(Column(f"residual_p{p}_ns", "ns", "time", f"residual p{p}", scale="residual") for p in _PERCENTILES),
    )
    return Table("clocks", "Clocks", columns, frame)


_PERCENTILES = (50, 90, 99)


def _percentiles(values: npt.NDArray[np.float64]) -> list[float]:
    known = values[~np.isnan(values)]
    return np.percentile(known, _PERCENTILES).tolist() if len(known) else [np.nan] * len(_PERCENTILES)
