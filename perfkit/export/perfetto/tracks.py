"""Tracks, and what is on them; `Writer` is what each file format implements.

Slices of one track nest: a viewer closes the innermost open one first. So what overlaps goes to sibling tracks
(`lanes`), which viewers show as one row.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.intervals import NONE, Ints


class Output(Protocol):
    """A file to write into."""

    def write(self, data: bytes, /) -> int:
        """Write all of the data."""


CHUNK = 8192
"""Rows that are turned into a piece of the file at once, which bounds the memory of writing."""


@dataclass(frozen=True, slots=True)
class Track:
    """A row of the timeline, or a group of them."""

    uuid: int
    name: str
    root: int
    """uuid of the outermost group that it is in; its own for one that is in none."""
    parent: int = 0
    """uuid of the group; 0 for none."""
    rank: int = 0
    """Its place in the group."""
    row: int = 0
    """Tracks of one group with the same number are shown as one row; 0 for a row of its own."""
    unit: str | None = None
    """Of a counter; None for everything else."""


@dataclass(frozen=True, slots=True)
class Arg:
    """One detail of slices, shown when one is selected."""

    name: str
    value: Ints
    """One number a slice, or an index into `texts`; NONE where it has none."""
    texts: Sequence[str] | None = None
    is_json: bool = False
    """The texts are JSON: a format that is JSON itself has their value, others the text."""

    def at(self, rows: Ints | slice) -> Arg:
        """Of some slices only."""
        return replace(self, value=self.value[rows])


@dataclass(frozen=True, slots=True)
class Flows:
    """Ends of arrows; slice k has those of `first[k]` up to `last[k]`."""

    first: Ints
    last: Ints
    id: Ints
    """What both ends of an arrow share."""
    kind: str
    is_end: bool
    """The arrows come in; else they go out."""

    def at(self, rows: Ints | slice) -> Flows:
        """Of some slices only."""
        return replace(self, first=self.first[rows], last=self.last[rows])

    def of(self, row: int) -> list[int]:
        """The arrows of one slice."""
        found: list[int] = self.id[self.first[row] : self.last[row]].tolist()
        return found


def flows(slices: int, row: Ints, ids: Ints, kind: str, *, is_end: bool) -> Flows:
    """Arrows by the rows of the slices that they begin or end at."""
    order = np.argsort(row, kind="stable")
    first, last = (np.searchsorted(row[order], np.arange(slices), side=side) for side in ("left", "right"))
    return Flows(first, last, ids[order], kind, is_end)


@dataclass(frozen=True, slots=True)
class Slices:
    """Intervals, one row each, by start and the longer first: of two with equal times the outer one first."""

    start: Ints
    """ns."""
    end: Ints
    name: Ints
    """Index into names."""
    names: Sequence[str]
    category: Ints
    """Index into categories."""
    categories: Sequence[str]
    args: tuple[Arg, ...] = ()
    flows: tuple[Flows, ...] = ()

    def __len__(self) -> int:
        return len(self.start)

    def at(self, rows: Ints | slice) -> Slices:
        """Some rows only."""
        return replace(
            self,
            start=self.start[rows],
            end=self.end[rows],
            name=self.name[rows],
            category=self.category[rows],
            args=tuple(arg.at(rows) for arg in self.args),
            flows=tuple(flow.at(rows) for flow in self.flows),
        )

    def chunks(self) -> Iterator[Slices]:
        """All rows, so many at a time."""
        return (self.at(slice(begin, begin + CHUNK)) for begin in range(0, len(self), CHUNK))


def of_one_category(
    start: Ints, end: Ints, name: Ints, names: Sequence[str], category: str, args: tuple[Arg, ...] = ()
) -> Slices:
    """Slices that are all of one kind."""
    return Slices(start, end, name, names, np.zeros(len(start), dtype=np.int64), (category,), args)


def lanes(start: Ints, end: Ints, *, nests: bool) -> Ints:
    """The sibling track of each interval, counted from 0. They come by start, of equal ones the longer first.

    Lane 0 takes what it can: what touches nothing on it or, where intervals nest, lies inside. In the others nothing
    overlaps; each takes the lane that has been free for longest.
    """
    lane = np.zeros(len(start), dtype=np.int64)
    open_ends: list[int] = []
    others: list[tuple[int, int]] = []  # heap of (when it is free, lane)
    for chunk in range(0, len(start), CHUNK):
        rows = slice(chunk, chunk + CHUNK)
        for row, (begin, until) in enumerate(zip(start[rows].tolist(), end[rows].tolist(), strict=True), chunk):
            while open_ends and open_ends[-1] <= begin:
                open_ends.pop()
            if not open_ends or (nests and open_ends[-1] >= until):
                open_ends.append(until)
            elif others and others[0][0] <= begin:
                lane[row] = others[0][1]
                heapq.heapreplace(others, (until, others[0][1]))
            else:
                lane[row] = len(others) + 1
                heapq.heappush(others, (until, len(others) + 1))
    return lane


class Writer(ABC):
    """Writes tracks into a file, and each as soon as it is told."""

    def __init__(self) -> None:
        self._tracks = 0

    def group(self, name: str, within: Track | None = None, rank: int = 0) -> Track:
        """A group of tracks."""
        return self._new(name, within, rank)

    def slices(self, within: Track, name: str, rank: int, slices: Slices, *, nests: bool) -> None:
        """A row of slices: one track, or siblings where they overlap (where they `nest`: where they cross)."""
        lane = lanes(slices.start, slices.end, nests=nests)
        order = np.argsort(lane, kind="stable")
        borders = np.flatnonzero(np.diff(lane[order])) + 1
        row = self._tracks + 1
        for rows in np.split(order, borders) if len(order) else ():
            self._slices(
                self._new(name, within, rank, row=row), slices if len(rows) == len(slices) else slices.at(rows)
            )

    def counter(
        self, within: Track, name: str, rank: int, unit: str, time: Ints, value: npt.NDArray[np.generic]
    ) -> None:
        """A counter that has each value from its time on, ns."""
        self._counter(self._new(name, within, rank, unit=unit), time, value)

    def _new(self, name: str, within: Track | None, rank: int, row: int = 0, unit: str | None = None) -> Track:
        self._tracks += 1
        root, parent = (within.root, within.uuid) if within else (self._tracks, 0)
        track = Track(self._tracks, name, root, parent, rank, row, unit)
        self._track(track)
        return track

    @abstractmethod
    def close(self) -> None:
        """Write what is left of the format; the file stays open."""

    @abstractmethod
    def _track(self, track: Track) -> None:
        """Introduce a track."""

    @abstractmethod
    def _slices(self, track: Track, slices: Slices) -> None:
        """Write slices that nest."""

    @abstractmethod
    def _counter(self, track: Track, time: Ints, value: npt.NDArray[np.generic]) -> None:
        """Write a counter's values."""


def present(*args: Arg) -> tuple[Arg, ...]:
    """Those that some slice has."""
    return tuple(arg for arg in args if (arg.value != NONE).any())
