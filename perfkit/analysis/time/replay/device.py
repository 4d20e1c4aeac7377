"""Device events: in which order they run, what each waits for, and how long after it it starts."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, pair_keys
from perfkit.analysis.kernels import calls
from perfkit.analysis.time.replay.edges import LONGEST_DELAY, EdgeKind, Edges, edges, joined, usual
from perfkit.analysis.time.replay.spans import calls_like
from perfkit.trace.columns import Trace

NEVER = np.iinfo(np.int64).min
_LATENCY, _GAP = 5_000, 1_000
"""ns from a call to its kernel and from a kernel to the next, where the file has no example."""
_QUEUE_EXAMPLES = 10
"""So many launches must have found a queue full to say that it has a limit,"""
_QUEUE_BLOCKS = 3
"""and must have taken so many times as long as others, on average."""

LEAST_QUEUE = 64
"""Launches. No driver's queue is known to be smaller."""


class Work(msgspec.Struct, frozen=True):
    """The device events that are replayed, one row each, in the trace's order."""

    row: Ints
    """Their rows in the trace."""
    device: Ints
    call: Ints
    """The host row of its launch; NONE for none."""
    called: Ints
    """ns: the start of that call; NEVER without one."""
    start: Ints
    end: Ints
    stream: Ints
    """Of all devices, counted from 0."""
    before: Ints
    """The event before it on its stream; NONE for the first."""
    until: Ints
    """ns: the end of that event; NEVER for the first."""


def work_of(trace: Trace, attribution: Attribution, last: int) -> Work:
    """The events launched before `last` (or, without a launch, started), with their order on each stream, by starts."""
    call = attribution.events.launch.astype(np.int64)
    called = at(attribution.host.start, call, absent=NEVER)
    row = np.flatnonzero(np.where(call == NONE, trace.device.start, called) < last)
    device, start, end = (column[row] for column in (trace.device.device, trace.device.start, trace.device.end))
    stream = pair_keys(device, trace.device.stream[row]) if len(row) else row
    order = np.lexsort((end, start, stream))
    before = np.full(len(row), NONE, dtype=np.int64)
    same = stream[order][1:] == stream[order][:-1]
    before[order[1:][same]] = order[:-1][same]
    before[(before != NONE) & (end[before] > end)] = NONE  # runs beside it: no order
    until = at(end, before, absent=NEVER)
    return Work(row, device, call[row], called[row], start, end, stream, before, until)


def last_launched(work: Work, time: Ints) -> tuple[Ints, Ints]:
    """For each time and stream, the last event of the stream that was launched up to it: [times, streams]; its end.

    Streams run in the order of their events, and so the event whose predecessors have all been launched is the last
    one that any wait can be for. NONE and NEVER where a stream had none.
    """
    streams = int(work.stream.max(initial=NONE)) + 1
    event = np.full((len(time), streams), NONE, dtype=np.int64)
    for stream in range(streams):
        rows = np.flatnonzero(work.stream == stream)
        rows = rows[np.argsort(work.start[rows], kind="stable")]
        called = np.maximum.accumulate(work.called[rows])
        place = np.searchsorted(called, time, side="right") - 1
        event[:, stream] = at(rows, place, absent=NONE)
    return event, at(work.end, event.reshape(-1), absent=NEVER).reshape(event.shape)


# --- waits of a stream for another ---------------------------------------------------------------------------------


def stream_waits(attribution: Attribution, work: Work) -> tuple[Ints, Ints]:
    """Pairs (event, event that it waits for) across streams.

    The file has the calls that make a stream wait, but neither the stream nor the event. So the next launch of the
    calling thread is taken for what waits, and what it waits for is the last work that had been launched on each of the
    other streams of its device; what had not ended when it started was evidently not waited for. In a CUDA graph,
    which is launched by one call, an event that started when its own stream had been idle for long, right after
    the end of another stream's event, waits for that one.
    """
    host = attribution.host
    waiting = np.flatnonzero(calls_like(attribution, calls.makes_stream_wait))
    rows = np.flatnonzero(work.call != NONE)
    rows = rows[np.lexsort((work.start[rows], work.called[rows], host.thread[work.call[rows]]))]
    event, source = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for thread in np.unique(host.thread[waiting]).tolist():
        mine = rows[host.thread[work.call[rows]] == thread]
        calls_at = np.sort(host.start[waiting[host.thread[waiting] == thread]])
        place = np.searchsorted(work.called[mine], calls_at)
        place, last = np.unique(place[place < len(mine)], return_index=True)
        latest = np.append(last[1:], len(calls_at))[: len(last)] - 1  # of several waits before a launch the last
        sources, ends = last_launched(work, calls_at[latest])
        waits = mine[place]
        valid = (sources != NONE) & (ends <= work.start[waits][:, None])
        valid &= np.arange(sources.shape[1]) != work.stream[waits][:, None]
        valid[valid] = work.device[sources[valid]] == work.device[waits[np.nonzero(valid)[0]]]
        event.append(waits[np.nonzero(valid)[0]])
        source.append(sources[valid])
    graph = _in_graphs(work)
    return np.concatenate((*event, graph[0])), np.concatenate((*source, graph[1]))


def _in_graphs(work: Work) -> tuple[Ints, Ints]:
    event, source = [], []
    order = np.flatnonzero(work.call != NONE)
    order = order[np.argsort(work.call[order], kind="stable")]
    bounds = np.flatnonzero(np.diff(work.call[order], prepend=NONE, append=NONE))
    for first, last in pairwise(bounds.tolist()):
        rows = order[first:last]
        if last - first == 1 or len(np.unique(work.stream[rows])) == 1:
            continue
        by_end = rows[np.argsort(work.end[rows], kind="stable")]
        place = np.searchsorted(work.end[by_end], work.start[rows], side="right") - 1
        latest = at(by_end, place, absent=NONE)
        idle = work.start[rows] - np.maximum(work.until[rows], work.called[rows]) > LONGEST_DELAY
        near = work.start[rows] - at(work.end, latest, absent=NEVER // 2) <= LONGEST_DELAY
        joins = (latest != NONE) & idle & near & (work.stream[latest] != work.stream[rows])
        event.append(rows[joins])
        source.append(latest[joins])
    nothing = np.empty(0, np.int64)
    return np.concatenate((nothing, *event)), np.concatenate((nothing, *source))


# --- edges -----------------------------------------------------------------------------------------------------------


def device_edges(attribution: Attribution, work: Work, point: Ints, first: int) -> Edges:
    """What events wait for. `point`: for each event the start of its launch as a node, whose end is the next node.

    `first`: the node of the first event.
    """
    host, events = attribution.host, np.arange(len(work.start))
    waits, source = stream_waits(attribution, work)
    waited = np.full(len(events), NEVER)
    np.maximum.at(waited, waits, work.end[source])
    until = np.maximum(work.until, waited)
    launched = work.call != NONE
    free = launched & (until <= work.called)
    returned = at(host.end, work.call, absent=NEVER)
    after = free & (work.start >= returned)
    latency = usual((work.start - work.called)[free], _LATENCY)
    delay = np.minimum(latency, np.where(launched, work.start - np.where(launched, work.called, 0), 0))
    delay[free] = usual((work.start - work.called)[free & ~after], _LATENCY)
    delay[after] = usual((work.start - returned)[after], _LATENCY)
    follows = until != NEVER
    since = np.where(follows, work.start - np.where(follows, until, 0), 0)
    behind = follows & (until >= np.where(launched, work.called, 0) + latency)
    gap = np.minimum(since, usual(since[behind], _GAP))
    chained = work.before != NONE
    parts = [
        edges(EdgeKind.LAUNCH, (point + after)[launched], first + events[launched], delay[launched]),
        edges(EdgeKind.STREAM, first + work.before[chained], first + events[chained], gap[chained]),
        edges(EdgeKind.EVENT, first + source, first + waits, gap[waits]),
    ]
    return joined(parts)


# --- queues ----------------------------------------------------------------------------------------------------------


class Queue(msgspec.Struct, frozen=True):
    """A stream whose queue was full: a launch waits until the work so many launches before it has ended."""

    limit: int
    """Launches that are pending at most."""
    events: Ints
    """In the order of their launches; the last event of each launch."""
    point: Ints
    """For each of them the end of its launch, as a node."""


def queues(work: Work, attribution: Attribution, point: Ints, least: int = LEAST_QUEUE) -> tuple[list[Queue], Bools]:
    """The queues that were full, and which launches (rows of `work`) waited for room.

    A driver keeps a bounded number of launches for each stream (1,022 in a trace of a V100), and then lets the host
    wait. The file does not have that number. It is the largest number of pending launches, where the launches that find
    it so take much longer than others.
    """
    host = attribution.host
    found, blocked = [], np.zeros(len(work.start), dtype=bool)
    for stream in np.unique(work.stream[work.call != NONE]).tolist():
        rows = np.flatnonzero((work.stream == stream) & (work.call != NONE))
        rows = rows[np.lexsort((work.end[rows], work.called[rows]))]
        rows = rows[np.append(work.call[rows][1:] != work.call[rows][:-1], True)]
        start, end = work.called[rows], host.end[work.call[rows]]
        ended = np.maximum.accumulate(work.end[rows])
        pending = np.arange(1, len(rows) + 1) - np.searchsorted(ended, end, side="right")
        limit = int(pending.max())
        if limit < least:
            continue
        full = np.arange(len(rows)) - np.searchsorted(ended, start, side="right") >= limit - 2
        if full.sum() < _QUEUE_EXAMPLES or full.all():
            continue
        duration = end - start
        usual = np.median(duration[~full])
        if duration[full].mean() < _QUEUE_BLOCKS * max(usual, 1):
            continue
        blocked[rows[full & (duration > usual)]] = True
        found.append(Queue(limit, rows, point[rows] + 1))
    return found, blocked


def queue_edges(queue: Queue, gone: Bools, first: int) -> Edges:
    """A launch returns when the work so many launches before it has ended; launches that are gone do not count."""
    kept = ~gone[queue.events]
    events, point = queue.events[kept], queue.point[kept]
    source, target = first + events[: -queue.limit], point[queue.limit :]
    return edges(EdgeKind.QUEUE, source, target, np.zeros(len(source), dtype=np.int64))
