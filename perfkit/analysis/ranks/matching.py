"""Collectives of several ranks that belong together, by group, kind, size, step and order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from perfkit.analysis.attribution.intervals import Bools, Ints

_KEY = ["group", "collective", "ranks", "size", "step"]


@dataclass(frozen=True, slots=True)
class Matched:
    """Matrices [matches, ranks]: one row a collective, in the order in which they end; one column a rank."""

    ranks: tuple[int, ...]
    """The rank of each column."""
    start: Ints
    """ns; 0 where the rank takes no part."""
    end: Ints
    takes_part: Bools
    calls: pd.DataFrame
    """What the participants agree on, a row a match: group, collective, ranks, size, step; scope of the first."""
    exposed: Ints
    """ns, [matches, ranks]."""
    unmatched: int
    """Collectives of single ranks that no other captured rank has."""

    @property
    def transfer(self) -> Ints:
        """ns of each match: the shortest participant's, who came last and waited for nobody."""
        length = np.where(self.takes_part, self.end - self.start, np.iinfo(np.int64).max)
        return length.min(axis=1, initial=np.iinfo(np.int64).max) if len(length) else np.empty(0, np.int64)

    @property
    def wait(self) -> Ints:
        """ns [matches, ranks] that each rank was in the collective beyond the transfer."""
        return np.where(self.takes_part, self.end - self.start - self.transfer[:, None], 0)


def matched(calls: Mapping[int, pd.DataFrame]) -> Matched:
    """Match the collectives (`calls_of`) of ranks, each the n-th of its kind, group and size in its step.

    Where the ranks that have them disagree on how many there are, none of those is matched: order says nothing then.
    """
    ranks = tuple(sorted(calls))
    parts = [calls[rank].assign(column=column) for column, rank in enumerate(ranks)]
    every = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if every.empty:
        nothing: npt.NDArray[np.int64] = np.zeros((0, len(ranks)), np.int64)
        return Matched(ranks, nothing, nothing, nothing.astype(bool), every, nothing, 0)
    by = every.groupby([*_KEY, "column"], sort=False)
    every["turn"] = by.cumcount()
    count = by["turn"].transform("size")
    agreed = count.groupby([every[key] for key in _KEY]).transform("nunique") == 1
    several = every.groupby([*_KEY, "turn"])["column"].transform("size") > 1
    kept = every[agreed & several].copy()
    kept["match"] = kept.groupby([*_KEY, "turn"], sort=False).ngroup()
    shape = (int(kept["match"].max()) + 1 if len(kept) else 0, len(ranks))
    place = kept["match"].to_numpy(), kept["column"].to_numpy()

    def spread(column: str) -> npt.NDArray[np.int64]:
        values = np.zeros(shape, np.int64)
        values[place] = kept[column].to_numpy()
        return values

    part = np.zeros(shape, bool)
    part[place] = True
    first = kept.drop_duplicates("match").sort_values("match")[[*_KEY, "scope"]].reset_index(drop=True)
    return Matched(ranks, spread("start"), spread("end"), part, first, spread("exposed"), len(every) - len(kept))


def in_order(found: Matched, start: Ints, end: Ints) -> Matched:
    """The same on other clocks, by the last participant's end there."""
    order = np.argsort(np.where(found.takes_part, end, np.iinfo(np.int64).min).max(axis=1), kind="stable")
    part = found.takes_part[order]
    return Matched(
        found.ranks, np.where(part, start[order], 0), np.where(part, end[order], 0), part,
        found.calls.iloc[order].reset_index(drop=True), found.exposed[order], found.unmatched,
    )  # fmt: skip
