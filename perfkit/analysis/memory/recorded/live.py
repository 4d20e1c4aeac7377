"""Live bytes over the events of a recording, the peak, and what an allocator holds beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analysis.memory.lifetimes import ALWAYS, STILL, Kind, Lifetimes
from perfkit.trace.columns import Int64s


@dataclass(frozen=True, slots=True)
class Peak:
    """The most live bytes of one device."""

    device: int
    bytes: int
    moment: int
    """Number of the first event after which so much lived; below the device's first where it was before all."""


def line(lives: Lifetimes, device: int) -> tuple[Int64s, Int64s]:
    """Moments of one device at which something began or ended, and the requested bytes that live just after each.

    The first moment is before the first event.
    """
    here = lives.device == device
    return _line(lives.begin[here], lives.end[here], lives.size[here])


def _line(begin: Int64s, end: Int64s, size: Int64s) -> tuple[Int64s, Int64s]:
    begins, ends = begin != ALWAYS, end != STILL
    moments = np.concatenate((begin[begins], end[ends]))
    deltas = np.concatenate((size[begins], -size[ends]))
    order = np.argsort(moments, kind="stable")
    moments, deltas = moments[order], deltas[order]
    before = int(moments[0]) - 1 if len(moments) else -1
    moments = np.concatenate(([before], moments))
    used = np.cumsum(np.concatenate(([size[~begins].sum()], deltas)))
    last = np.append(moments[1:] != moments[:-1], True)
    return moments[last], used[last]


def peaks(lives: Lifetimes) -> tuple[Peak, ...]:
    """The peak of each device, the largest first."""
    found = []
    for device in np.unique(lives.device).tolist():
        moments, used = line(lives, device)
        row = int(used.argmax())
        found.append(Peak(device, int(used[row]), int(moments[row])))
    return tuple(sorted(found, key=lambda peak: -peak.bytes))


def alive(lives: Lifetimes, peak: Peak) -> Int64s:
    """Rows that live at a peak, or at another moment of a device that is written as one."""
    return np.flatnonzero(lives.alive(peak.moment) & (lives.device == peak.device))


def times(lives: Lifetimes, moments: Int64s) -> Int64s:
    """ns of moments of one device, the first of which is before its first event and gets the time of the second."""
    at = np.where(moments == moments[0], moments[min(1, len(moments) - 1)], moments)
    return lives.time[np.maximum(at, 0)] if len(lives.time) else np.zeros(len(moments), np.int64)


def by_kind(lives: Lifetimes, device: int, most: int) -> tuple[Int64s, Int64s, dict[Kind, Int64s]]:
    """At most so many moments of one device, their times in ns after the first event, and what lives at each by kind.

    Of each stretch of moments the one with the most bytes is chosen, so that the peak is among them. Kinds that never
    live are left out.
    """
    moments, used = line(lives, device)
    stretch = np.arange(len(moments)) * min(most, len(moments)) // len(moments)
    order = np.lexsort((-used, stretch))
    picked = np.sort(order[np.flatnonzero(np.diff(stretch[order], prepend=-1))])
    chosen, at_ns = moments[picked], times(lives, moments)
    found = {}
    for kind in Kind:
        rows = (lives.kind == kind) & (lives.device == device)
        if rows.any():
            at, held = _line(lives.begin[rows], lives.end[rows], lives.size[rows])
            place = np.searchsorted(at, chosen, side="right") - 1
            always = int(lives.size[rows][lives.begin[rows] == ALWAYS].sum())
            found[kind] = np.where(place >= 0, held[np.maximum(place, 0)], always)
    return chosen, at_ns[picked] - at_ns[0], found
