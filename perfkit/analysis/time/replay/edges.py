"""Edges: what a point or an event waits for, and how long after it it comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Ints

LONGEST_DELAY = 50_000
"""ns. What passes between a cause and its effect (a launch and its kernel, a kernel and the next, a kernel and the
return of who waits for it) is some microseconds. A longer time is a wait for something that the graph does not know:
it is no example of a delay, and what the replay lacks without it shows in its error."""


class EdgeKind(IntEnum):
    """Why one thing comes after another."""

    HOST = 0
    """A thread goes on, or hands over to another."""
    LAUNCH = 1
    """Work starts after the call that launched it."""
    STREAM = 2
    """Work starts after the work before it on its stream."""
    EVENT = 3
    """Work starts after work of another stream that its stream waits for."""
    SYNC = 4
    """A call returns after the work that it waits for."""
    QUEUE = 5
    """A launch returns when there is room for it in the stream's queue."""


@dataclass(frozen=True, slots=True)
class Edges:
    """One row an edge, as columns: `target` is not before `source` + `delay` (+ the target's own duration)."""

    kind: Ints
    source: Ints
    """Node."""
    target: Ints
    delay: Ints
    """ns; negative where work starts before the work before it on its stream has ended."""
    thread: Ints
    """Of a HOST edge: whose time it is; NONE elsewhere."""
    start: Ints
    """Of a HOST edge: when that time began in the recording, ns."""
    end: Ints
    row: Ints
    """Of a SYNC edge: the row of the call, in the host view; NONE elsewhere."""

    def __len__(self) -> int:
        return len(self.kind)

    def kept(self, keep: Ints) -> Edges:
        """Only some edges."""
        return Edges(*(getattr(self, column.name)[keep] for column in fields(self)))


def edges(
    kind: EdgeKind,
    source: Ints,
    target: Ints,
    delay: Ints,
    *,
    thread: Ints | None = None,
    start: Ints | None = None,
    end: Ints | None = None,
    row: Ints | None = None,
) -> Edges:
    """Edges of one kind; columns that are not given are NONE."""
    nothing = np.full(len(source), NONE, dtype=np.int64)
    given = (nothing if column is None else column for column in (thread, start, end, row))
    columns = (np.asarray(column, dtype=np.int64) for column in (source, target, delay, *given))
    return Edges(np.full(len(source), kind, dtype=np.int64), *columns)


def joined(parts: Iterable[Edges]) -> Edges:
    """All edges of several parts."""
    columns = zip(*([getattr(part, column.name) for column in fields(Edges)] for part in parts), strict=True)
    return Edges(*map(np.concatenate, columns))


def usual(values: Ints, otherwise: int) -> int:
    """The mean of some delays, of those that are no longer than LONGEST_DELAY; the other value where there is none."""
    short = values[(values >= 0) & (values <= LONGEST_DELAY)]
    return round(float(short.mean())) if len(short) else otherwise
