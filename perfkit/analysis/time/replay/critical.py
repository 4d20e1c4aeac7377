"""Critical path: the chain of host and device work that sets the pace of the steps.

From the end of the last step backwards, each node comes when the last of what it waits for lets it. What is on this
chain decides; what is not on it could be faster at no gain.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.analysis.time.replay.edges import EdgeKind
from perfkit.analysis.time.replay.graph import Graph
from perfkit.analysis.time.replay.replay import Replayed, windows


class PathKind(IntEnum):
    """What a part of a critical path is."""

    HOST = 0
    DEVICE = 1
    LAUNCH = 2
    GAP = 3
    RETURN = 4
    UNKNOWN = 5

    @property
    def label(self) -> str:
        """As in the table."""
        return ("host", "device", "launch latency", "gap on a stream", "return of a wait", "before the recording")[self]


_OF_EDGE = {
    EdgeKind.LAUNCH: PathKind.LAUNCH,
    EdgeKind.STREAM: PathKind.GAP,
    EdgeKind.EVENT: PathKind.GAP,
    EdgeKind.SYNC: PathKind.RETURN,
}


@dataclass(frozen=True, slots=True)
class Path:
    """The parts of a critical path as columns, the last first; each begins where the next one ends."""

    kind: Ints
    """PathKind."""
    event: Ints
    """The device event that ran or was launched; NONE for others."""
    row: Ints
    """Of a part on the host the innermost range, as a row of the host view; NONE for others, and between ranges."""
    start: Ints
    """ns, in the replay's time."""
    end: Ints

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def ns(self) -> Ints:
        """How long each part is."""
        return self.end - self.start

    def between(self, begin: int, end: int) -> Path:
        """The parts in an interval, cut at its ends."""
        rows = np.flatnonzero((self.end > begin) & (self.start < end))
        columns = {column.name: getattr(self, column.name)[rows] for column in fields(self)}
        columns["start"], columns["end"] = np.maximum(columns["start"], begin), np.minimum(columns["end"], end)
        return Path(**columns)


def paths(replayed: Replayed) -> list[Path]:
    """The critical path in each step's window; its parts add up to the step's pace."""
    whole = critical_path(replayed)
    begins, ends = windows(replayed.graph, replayed.times.time)
    return [whole.between(begin, end) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


def critical_path(replayed: Replayed) -> Path:
    """The critical path from the end of the last step, its work included, back to the begin of the first."""
    graph, times = replayed.graph, replayed.times
    begins, ends = windows(graph, times.time)
    begin, now = int(begins[0]), int(ends[-1])
    node = int(np.flatnonzero(times.time == now)[0])
    via = _deciding(replayed).tolist()
    walk = _Walk(graph.attribution, now)
    edges = {column.name: getattr(times.edges, column.name).tolist() for column in fields(times.edges)}
    own_of = times.own.tolist()
    while walk.now > begin:
        edge, own = via[node], own_of[node]
        delay = edges["delay"][edge] if edge != NONE else 0
        walk.add(PathKind.DEVICE, own + min(delay, 0), event=_event(graph, node))
        if edge == NONE:
            walk.add(PathKind.UNKNOWN, walk.now - begin)
            break
        kind = EdgeKind(edges["kind"][edge])
        if kind is EdgeKind.HOST:
            walk.go_on(edges["thread"][edge], edges["end"][edge] - delay, edges["end"][edge])
        elif kind is not EdgeKind.QUEUE:
            row = edges["row"][edge] if kind is EdgeKind.SYNC else NONE
            walk.add(_OF_EDGE[kind], max(delay, 0), event=NONE if row != NONE else _event(graph, node), row=row)
        node = edges["source"][edge]
    return walk.path(now).between(begin, now)


def _event(graph: Graph, node: int) -> int:
    return int(graph.work.row[node - graph.first_event]) if node >= graph.first_event else NONE


def _deciding(replayed: Replayed) -> Ints:
    """For each node the edge that decided when it was; NONE for none."""
    times = replayed.times
    followed = times.edges
    tight = times.time[followed.source] + followed.delay + times.own[followed.target] == times.time[followed.target]
    via = np.full(len(times.time), NONE, dtype=np.int64)
    rows = np.flatnonzero(tight)[::-1]  # of several the first counts
    via[followed.target[rows]] = rows
    return via


class _Walk:
    """Collects the parts of a path. Time of one thread is collected while it goes on, and then told by its ranges."""

    def __init__(self, attribution: Attribution, now: int) -> None:
        self.now = now
        self._attribution = attribution
        self._columns: list[tuple[Ints, Ints, Ints, Ints]] = []
        self._thread, self._begin, self._end = NONE, 0, 0

    def add(self, kind: PathKind, ns: int, *, event: int = NONE, row: int = NONE) -> None:
        """One part before the others."""
        if ns > 0:
            self._settle()
            self._columns.append(tuple(np.array([value]) for value in (kind, event, row, ns)))  # type: ignore[arg-type]
            self.now -= ns

    def go_on(self, thread: int, begin: int, end: int) -> None:
        """Time of a thread before the others."""
        if thread != self._thread or end != self._begin:
            self._settle()
            self._thread, self._end = thread, end
        self._begin = begin
        self.now -= end - begin

    def _settle(self) -> None:
        if self._thread != NONE:
            row, ns = innermost(self._attribution, self._thread, self._begin, self._end)
            self._columns.append((np.full(len(row), PathKind.HOST), np.full(len(row), NONE), row, ns))
            self._thread = NONE

    def path(self, now: int) -> Path:
        """All parts, the first of which ends now."""
        self._settle()
        nothing = np.empty(0, dtype=np.int64)
        kind, event, row, ns = (
            (np.concatenate((nothing, *column)) for column in zip(*self._columns, strict=True))
            if self._columns
            else (nothing,) * 4
        )
        end = now - np.concatenate(([0], np.cumsum(ns)))[: len(ns)]
        return Path(kind, event, row, end - ns, end)


def innermost(attribution: Attribution, thread: int, begin: int, end: int) -> tuple[Ints, Ints]:
    """The innermost ranges of a thread from `begin` to `end` and how long, the last first; NONE between ranges."""
    host = attribution.host
    mine = slice(*np.searchsorted(host.thread, [thread, thread + 1]))
    start, ends = host.start[mine], host.end[mine]
    parent = np.where(host.forest.parent[mine] == NONE, NONE, host.forest.parent[mine] - mine.start).astype(np.int64)
    near = slice(*np.searchsorted(start, [begin, end]))
    borders, row = [begin, end], near.start - 1  # what started before, or lies round it, may end in the interval
    while row >= 0:
        borders.append(int(ends[row]))
        row = int(parent[row])
    border = np.unique(np.concatenate((np.array(borders, dtype=np.int64), start[near], ends[near])))
    border = border[(border >= begin) & (border <= end)]
    place = np.searchsorted(start, border[:-1], side="right") - 1
    over = np.flatnonzero(place != NONE)
    while len(over := over[ends[place[over]] <= border[over]]):
        place[over] = parent[place[over]]
        over = over[place[over] != NONE]
    return np.where(place == NONE, NONE, place + mine.start)[::-1], np.diff(border)[::-1]
