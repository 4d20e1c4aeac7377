"""Interval arithmetic on sorted columns: forests, ancestors, self time, unions. Vectorised; times are int64 ns.

The forest holds for any set of intervals, crossing ones included (docs/attribution.md, "Forest").
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[Any]
Bools: TypeAlias = npt.NDArray[np.bool_]
_Scalar = TypeVar("_Scalar", bound=np.generic)

NONE = -1
"""No such row."""

ROW = np.int32
"""The type of row numbers: half the memory of int64; traces of 2^31 ranges would not fit into memory anyway."""

_BLOCK = 2**16
"""Rows that are worked on together. Earlier rows are final when a block is reached, and a block's columns stay
in the processor's cache, so that time grows linearly with the rows."""


def at(values: npt.NDArray[_Scalar], rows: Ints, *, absent: object) -> npt.NDArray[_Scalar]:
    """`values[rows]`, and `absent` where the row is NONE. `values` may be empty."""
    return np.append(values, np.array(absent, dtype=values.dtype))[rows]  # NONE is the last


class Forest(msgspec.Struct, frozen=True):
    """Host ranges in nesting order. Every array runs in sorted order: row k here is row order[k] of the trace.

    A parent is always an earlier row, and so of two ranges that both hold a third the later row is the inner one.
    """

    order: Ints
    parent: Ints
    """Row of the enclosing range, always an earlier one; NONE for roots."""


def build_forest(thread: Ints, start: Ints, end: Ints, leaf_only: Bools, order_hint: Ints, tolerance: int) -> Forest:
    """Nest the ranges of each thread.

    The parent of i is the nearest previous range j of its thread, by (start, longest first, order_hint), with
    end[j] + tolerance >= end[i], that is still open at i's start or starts with it. Ranges marked leaf_only
    (calls into the driver) come last among equal starts and have no children.
    """
    order = np.lexsort((order_hint, -end, leaf_only, start, thread)).astype(ROW)
    thread, start, end, leaf_only = thread[order], start[order], end[order], leaf_only[order]

    def holds(outer: Ints, inner: Ints) -> Bools:
        ends, begins = end[outer], start[inner]
        held: Bools = (ends > begins) | (start[outer] == begins)
        held &= ends + tolerance >= end[inner]
        held &= thread[outer] == thread[inner]
        return held

    count = len(order)
    inner_rows = np.flatnonzero(~leaf_only).astype(ROW)
    parent = np.full(count, NONE, dtype=ROW)
    # Start from the previous range that may hold others; whatever lies between a candidate and i cannot hold i.
    previous = np.full(count, NONE, dtype=ROW)
    previous[inner_rows] = inner_rows
    previous = np.maximum.accumulate(previous) if count else previous
    parent[1:] = previous[:-1]
    for rows in (inner_rows, np.flatnonzero(leaf_only).astype(ROW)):
        for begin in range(0, len(rows), _BLOCK):
            _climb(parent, rows[begin : begin + _BLOCK], holds)
    return Forest(order, parent)


def _climb(parent: Ints, rows: Ints, holds: Any) -> None:
    """Replace each row's candidate by the candidate's own candidate until it holds the row: pointer jumping."""
    candidate = parent[rows]
    while len(rows):
        wrong = candidate != NONE
        rows, candidate = rows[wrong], candidate[wrong]
        wrong = ~holds(candidate, rows)
        rows, candidate = rows[wrong], parent[candidate[wrong]]
        parent[rows] = candidate


def depths(parent: Ints) -> Ints:
    """Number of ancestors of each row, by pointer doubling."""
    depth: Ints = (parent != NONE).astype(ROW)
    above = parent.copy()
    rows = np.flatnonzero(above != NONE)
    while len(rows):
        depth[rows] += depth[above[rows]]
        above[rows] = above[above[rows]]
        rows = rows[above[rows] != NONE]
    return depth


def nearest(parent: Ints, flagged: Bools) -> Ints:
    """The nearest self-or-ancestor that is flagged, NONE where there is none."""
    count = len(parent)
    if not flagged.any():  # as often as not: a file has few of the things that may be looked for
        return np.full(count, NONE, dtype=ROW)
    answer = np.where(flagged, np.arange(count, dtype=ROW), parent)
    holds = np.zeros(count + 1, dtype=bool)
    holds[parent] = True  # one more row, for NONE
    asking = (answer != NONE) & ~flagged
    inner = np.flatnonzero(asking & holds[:-1])
    for begin in range(0, len(inner), _BLOCK):
        rows = inner[begin : begin + _BLOCK]
        above = parent[rows]
        while len(rows):
            wrong = ~flagged[above]
            rows, above = rows[wrong], answer[above[wrong]]
            answer[rows] = above
            climbing = above != NONE
            rows, above = rows[climbing], above[climbing]
    leaves = np.flatnonzero(asking & ~holds[:-1])  # most rows: each takes its parent's answer
    answer[leaves] = answer[parent[leaves]]
    return answer


def strictly_above(parent: Ints, nearest_flagged: Ints) -> Ints:
    """The nearest flagged proper ancestor, from `nearest`'s answer for self-or-ancestor."""
    return np.where(parent == NONE, NONE, nearest_flagged[parent])


def self_times(parent: Ints, start: Ints, end: Ints, whole: Bools | None = None) -> Ints:
    """Duration less the durations of direct children. Over any subtree they add up to its root's duration, exactly.

    A child that outlasts its parent, by a coarse clock, is cut at the parent's end. With `whole`, of two children that
    overlap (they cross, or the first is a call into the driver) the first is cut where the second starts, unless it is
    to stay whole; without, both count, and the parent's own time may be below zero.
    """
    clipped = end.copy()
    rows = np.flatnonzero(parent != NONE)
    if whole is not None:
        siblings = rows[np.argsort(parent[rows], kind="stable")]
        first, second = siblings[:-1], siblings[1:]
        cut = (parent[first] == parent[second]) & (end[first] > start[second]) & ~whole[first]
        clipped[first[cut]] = start[second[cut]]
    while True:
        late = rows[clipped[rows] > clipped[parent[rows]]]
        if not len(late):
            break
        clipped[late] = clipped[parent[late]]
    duration = np.maximum(clipped - start, 0)
    own: Ints = duration.copy()
    np.subtract.at(own, parent[rows], duration[rows])
    return own


def last_at_or_before(
    group: Ints, time: Ints, wanted_group: Ints, wanted_time: Ints, *, strictly: bool = False
) -> Ints:
    """For each wanted (group, time), the row with that group and the latest time not after it (strictly: before it).

    Among equal times the later row wins. NONE where there is no such row. Groups are any integers.
    """
    count, wanted = len(group), len(wanted_group)
    groups = np.concatenate((group, wanted_group))
    times = np.concatenate((time, wanted_time))
    is_query = np.concatenate((np.zeros(count, dtype=np.int8), np.ones(wanted, dtype=np.int8)))
    rank = 1 - is_query if strictly else is_query
    order = np.lexsort((rank, times, groups))  # stable: equal keys keep their row order
    candidates = np.where(is_query[order] == 0, np.arange(len(order)), NONE)
    latest = np.maximum.accumulate(candidates) if len(order) else candidates
    query_places = np.flatnonzero(is_query[order])
    place = latest[query_places]
    queries = order[query_places]
    row = np.where(place == NONE, NONE, order[place])
    row[(row != NONE) & (groups[row] != groups[queries])] = NONE
    answer = np.full(wanted, NONE, dtype=np.int64)
    answer[queries - count] = row
    return answer


def pair_keys(*columns: Ints) -> Ints:
    """One dense integer for each distinct row of the columns, whatever their values."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, dense = np.unique(column, return_inverse=True)
        _, key = np.unique(key * len(values) + dense, return_inverse=True)
    return key


def union_length(start: Ints, end: Ints) -> int:
    """Length of the union of half-open intervals."""
    cover = union(start, end)
    return int((cover[1] - cover[0]).sum())


def covered(start: Ints, end: Ints, by_start: Ints, by_end: Ints) -> Ints:
    """Length of each half-open interval that the union of others shares with it."""
    return _overlap(start, end, *union(by_start, by_end))


def union(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """The union as disjoint intervals in order, of which none begins where another ends."""
    if not len(start):
        return start, end
    order = np.argsort(start, kind="stable")
    start, reach = start[order], np.maximum.accumulate(end[order])
    first = np.concatenate(([True], start[1:] > reach[:-1]))
    last = np.concatenate((first[1:], [True]))
    return start[first], reach[last]


def exclusive_times(start: Ints, end: Ints, rank: Ints) -> Ints:
    """Give each busy instant to exactly one interval: the lowest rank, in it the earliest started (then the first row).

    The results add up to the union's length, exactly.
    """
    own = np.zeros(len(start), dtype=np.int64)
    cover_start, cover_end = start[:0], end[:0]
    for level in np.unique(rank):
        rows = np.flatnonzero(rank == level)
        rows = rows[np.argsort(start[rows], kind="stable")]
        reach = np.maximum.accumulate(end[rows])
        begin = start[rows].copy()
        begin[1:] = np.maximum(begin[1:], reach[:-1])
        finish = np.maximum(end[rows], begin)
        own[rows] = finish - begin - _overlap(begin, finish, cover_start, cover_end)
        cover_start, cover_end = union(
            np.concatenate((cover_start, start[rows])), np.concatenate((cover_end, end[rows]))
        )
    return own


def _overlap(start: Ints, end: Ints, cover_start: Ints, cover_end: Ints) -> Ints:
    """Length of each interval that a cover of disjoint, ordered intervals shares with it."""
    if not len(cover_start):
        return np.zeros(len(start), dtype=np.int64)
    before = np.concatenate(([0], np.cumsum(cover_end - cover_start)))

    def covered_until(time: Ints) -> Ints:
        index = np.searchsorted(cover_start, time, side="right") - 1
        inside = np.minimum(time, cover_end[index]) - cover_start[index]
        return np.where(index < 0, 0, before[index] + np.maximum(inside, 0))

    return covered_until(end) - covered_until(start)
