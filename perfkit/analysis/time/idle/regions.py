"""Regions: the intervals of a device's time that rows of the wall table are made for, steps and what lies outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, union
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.trace.columns import MISSING

if TYPE_CHECKING:
    from perfkit.analysis.time.account import Account

Pair: TypeAlias = tuple[Ints, Ints]
"""Two columns of one length."""


class Regions(msgspec.Struct, frozen=True):
    """One row an interval of time, in which the device's time is accounted for."""

    step: Ints
    """Index into the account's steps; NONE outside them."""
    start: Ints
    end: Ints
    cause: Ints
    """Why the device is idle there, if its next event is launched later: BETWEEN_STEPS, OUTSIDE_STEPS; else NONE."""
    thread: Ints
    """The thread that the step runs on; NONE outside."""

    def kept(self, keep: Bools | Ints) -> Regions:
        """Only some rows."""
        return Regions(self.step[keep], self.start[keep], self.end[keep], self.cause[keep], self.thread[keep])


def regions_of(account: Account, processes: Ints, first: int, last: int) -> Regions:
    """The regions of a device whose events are of these processes, and run from `first` to `last`.

    Steps of other processes are none of its steps; where nobody knows its process, all are. What lies outside all of
    its steps ends with its events.
    """
    steps = account.attribution.steps
    known = processes[processes != MISSING]
    here = np.array([not len(known) or account.trace.threads[step.thread].pid in known for step in steps], dtype=bool)
    start, end = (np.array([getattr(step, at) for step in steps], dtype=np.int64) for at in ("start", "end"))
    thread = np.array([step.thread for step in steps], dtype=np.int64)
    chosen = [index for index in account.steps if here[index]]
    numbers = np.array([number for number, index in enumerate(account.steps) if here[index]], dtype=np.int64)
    own = Regions(numbers, start[chosen], end[chosen], np.full(len(chosen), NONE), thread[chosen])
    if account.steps and account.steps_only:
        return own
    outside = _outside(start[here], end[here], first, last)
    return Regions(*(np.concatenate(both) for both in zip(_columns(own), _columns(outside), strict=True)))


def _columns(regions: Regions) -> tuple[Ints, ...]:
    return regions.step, regions.start, regions.end, regions.cause, regions.thread


def _outside(start: Ints, end: Ints, first: int, last: int) -> Regions:
    """The span from `first` to `last` without these steps."""
    steps = union(start, end)
    begin = np.maximum(np.concatenate(([first], steps[1])), first)
    until = np.minimum(np.concatenate((steps[0], [last])), last)
    cause = np.full(len(begin), Cause.BETWEEN_STEPS, dtype=np.int64)
    cause[[0, -1]] = Cause.OUTSIDE_STEPS if len(start) else NONE
    none = np.full(len(begin), NONE, dtype=np.int64)
    return Regions(none, begin, until, cause, none).kept(until > begin)


def overlaps(start: Ints, end: Ints, by_start: Ints, by_end: Ints) -> Pair:
    """Pairs of an interval of the first and one of the second that share time, in the order of the second.

    The first are disjoint and in order.
    """
    begin = np.searchsorted(end, by_start, side="right")
    until = np.searchsorted(start, by_end, side="left")
    return pairs(begin, np.maximum(until, begin))


def pairs(begin: Ints, until: Ints) -> Pair:
    """Each number from `begin` up to `until`, row by row, and its row: of [1, 5], [3, 6] it is [1, 2, 5], [0, 0, 1]."""
    count = until - begin
    row = np.repeat(np.arange(len(count)), count)
    return np.arange(len(row)) - (np.cumsum(count) - count - begin)[row], row
