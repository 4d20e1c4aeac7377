"""Spans of host threads where they meet a device, another thread, or a step's border; between them a thread is busy.

A span has two points, its start and its end. In the order of time the points of a thread make a chain; the time from
one point to the next is the thread's own busy time, or a wait, which a replay computes anew.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints
from perfkit.analysis.kernels import calls
from perfkit.trace.columns import Trace


class Role(IntEnum):
    """What a span of a thread is."""

    LAUNCH = 0
    """A call that gave a device work."""
    WAIT = 1
    """A call that waits for a device, and gives it none."""
    STEP = 2
    AWAY = 3
    """The thread does nothing while another works for it: in backward, while autograd's thread runs the nodes."""
    EPISODE = 4
    """All that another thread does meanwhile."""


class Spans(msgspec.Struct, frozen=True):
    """One row a span, as columns. Its points are numbered 2 * row (start) and 2 * row + 1 (end)."""

    role: Ints
    thread: Ints
    start: Ints
    """ns."""
    end: Ints
    row: Ints
    """Of a call its row of the host view, of a step its number, of AWAY and EPISODE the number of their handover."""

    def __len__(self) -> int:
        return len(self.role)

    def of(self, role: Role) -> Ints:
        """Numbers of the spans of one role."""
        return np.flatnonzero(self.role == role)


def find_spans(trace: Trace, attribution: Attribution, steps: list[tuple[int, int, int]], until: int) -> Spans:
    """The spans that begin before `until`; `steps` are (thread, start, end)."""
    host, early = attribution.host, attribution.host.start < until
    launches = np.zeros(len(host.name) + 1, dtype=bool)
    launches[attribution.events.launch] = True  # NONE is the last
    launches = launches[:-1] & early
    is_wait = calls_like(attribution, lambda name: calls.wait_of(name) is not None)
    waits = np.flatnonzero(is_wait & early & ~launches)
    launches = np.flatnonzero(launches)
    parts = [
        (Role.LAUNCH, host.thread[launches], host.start[launches], host.end[launches], launches),
        (Role.WAIT, host.thread[waits], host.start[waits], host.end[waits], waits),
        (Role.STEP, *np.array(steps, dtype=np.int64).reshape(-1, 3).T, np.arange(len(steps))),
        *_handovers(trace, attribution, early),
    ]
    role = np.concatenate([np.full(len(row), kind) for kind, *_, row in parts])
    columns = [np.concatenate([part[place] for part in parts]).astype(np.int64) for place in range(1, 5)]
    return Spans(role, *columns)


def calls_like(attribution: Attribution, test: Callable[[str], bool]) -> Bools:
    """Rows of the host view that are calls whose name passes a test."""
    host = attribution.host
    return host.is_runtime & host.matching(test)


def _handovers(trace: Trace, attribution: Attribution, early: Bools) -> list[tuple[Role, Ints, Ints, Ints, Ints]]:
    """Where the main thread does nothing while others work for it, and what those do.

    A gap between two borders of ranges on the main thread is one if outermost ranges of another thread of its process
    lie in it, and one of these has backward nodes or launches: the engine's threads run nodes while the caller of
    backward waits (torch's Engine::execute), and so do the threads of DataParallel.
    """
    host, main = attribution.host, attribution.main_thread
    if main == NONE:
        return []
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    mine = host.thread == main
    borders = np.sort(np.concatenate((host.start[mine & early], host.end[mine & early])))
    borders = borders[np.append(np.diff(borders) > 0, True)[: len(borders)]]
    others = (host.forest.parent == NONE) & early & ~mine & (process[host.thread] == process[main])
    works = _working_roots(attribution)
    roots = np.flatnonzero(others)
    gap = np.searchsorted(borders, host.start[roots], side="right")
    inside = (gap > 0) & (gap < len(borders))
    until = borders[np.minimum(gap, len(borders) - 1)]
    inside &= host.end[roots] <= until + trace.facts.resolution_ns - 1
    roots, gap = roots[inside], gap[inside]
    key = gap * len(trace.threads) + host.thread[roots]
    episode, place = np.unique(key, return_inverse=True)
    begin = np.full(len(episode), np.iinfo(np.int64).max)
    end, used = np.full(len(episode), np.iinfo(np.int64).min), np.zeros(len(episode), dtype=bool)
    np.minimum.at(begin, place, host.start[roots])
    np.maximum.at(end, place, host.end[roots])
    np.logical_or.at(used, place, works[roots])
    begin, end, gap = begin[used], end[used], (episode // len(trace.threads))[used]
    thread = (episode % len(trace.threads))[used]
    gaps, number = np.unique(gap, return_inverse=True)
    away = (np.full(len(gaps), main), borders[gaps - 1], borders[gaps], np.arange(len(gaps)))
    return [(Role.AWAY, *away), (Role.EPISODE, thread, begin, np.minimum(end, borders[gap]), number)]


def _working_roots(attribution: Attribution) -> Bools:
    """Outermost ranges in which a backward node or a launch is."""
    host, events, links = attribution.host, attribution.events, attribution.links
    root = np.arange(len(host.name))
    above = host.forest.parent.astype(np.int64)
    while (above != NONE).any():
        root = np.where(above != NONE, above, root)
        above = np.where(above != NONE, host.forest.parent[above], NONE)
    works = np.zeros(len(root), dtype=bool)
    works[root[events.launch[events.launch != NONE]]] = True
    works[root[np.flatnonzero(links.node != NONE)]] = True
    return works
