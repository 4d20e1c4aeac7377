"""Graph: a trace as nodes that wait for each other. Nodes are points of host threads, and ends of device events."""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import Attribution, ProfiledStep
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.time.replay.device import LEAST_QUEUE, Queue, Work, device_edges, queue_edges, queues, work_of
from perfkit.analysis.time.replay.edges import EdgeKind, Edges, edges, joined
from perfkit.analysis.time.replay.spans import Role, Spans, find_spans
from perfkit.analysis.time.replay.waits import sync_edges
from perfkit.trace.columns import Trace

MOST_LAUNCHES = 50_000
"""Launches, and so some tenths of a second for a replay. Of a trace with more, the first steps with so many are
replayed, at least one, from the begin of the recording: what the device still had to do then is part of it."""
FOREVER = np.iinfo(np.int64).max
_ROUNDS = 100
"""So many nodes at one instant may wait for each other in a row; further edges between them are left out."""


class Graph(msgspec.Struct, frozen=True, dict=True):
    """A trace to be replayed. Nodes 2 * span and 2 * span + 1 are a span's start and end, the next are the events'."""

    trace: Trace
    attribution: Attribution
    steps: tuple[ProfiledStep, ...]
    """The replayed ones of the main thread, in the order of time; where there are none, all of it as one."""
    numbers: tuple[int, ...]
    """Their numbers in the attribution; empty where there are none."""
    spans: Spans
    work: Work
    edges: Edges
    """Without those of queues, which an edit changes."""
    queues: tuple[Queue, ...]
    time: Ints
    """When each node was in the recording, ns."""
    rank: Ints
    """Order of nodes at the same instant."""
    own: Ints
    """ns that a node takes itself: the duration of an event; 0 for points."""

    @property
    def first_event(self) -> int:
        """The node of the first event."""
        return 2 * len(self.spans)

    @property
    def problem(self) -> str:
        """Why the trace cannot be replayed at all; empty where it can."""
        if not self.trace.recording.capabilities.operators:
            return "only traces of torch.profiler are replayed"
        return "" if self.steps else "the trace has no host thread to replay"

    @cached_property
    def place(self) -> Ints:
        """The place of each node in an order in which none comes before what it waits for."""
        place = np.empty(len(self.time), dtype=np.int64)
        place[np.lexsort((self.rank, self.time))] = np.arange(len(self.time))
        return place

    @cached_property
    def borders(self) -> tuple[Ints, Ints]:
        """The nodes where the steps begin and end."""
        rows = self.spans.of(Role.STEP)
        return 2 * rows, 2 * rows + 1


def graph_of(
    trace: Trace, attribution: Attribution, *, most_launches: int = MOST_LAUNCHES, least_queue: int = LEAST_QUEUE
) -> Graph:
    """The graph of a trace, of its first steps up to `most_launches`, and of all before them.

    `least_queue`: launches; what is taken for a driver's queue must hold as many.
    """
    steps, numbers, until = _steps(trace, attribution, most_launches)
    spans = find_spans(trace, attribution, [(step.thread, step.start, step.end) for step in steps], until)
    work, first = work_of(trace, attribution, until), 2 * len(spans)
    time = np.concatenate((np.column_stack((spans.start, spans.end)).reshape(-1), work.end))
    own = np.concatenate((np.zeros(first, dtype=np.int64), work.end - work.start))
    point = _launch_points(attribution, spans, work)
    full, blocked = queues(work, attribution, point, least_queue)
    sync, cost = sync_edges(trace, attribution, spans, work, first)
    cost = _of_blocked(spans, point[blocked] // 2, cost)
    on_device = device_edges(attribution, work, point, first)
    found = joined((_chains(spans, cost), _handovers(spans), on_device, sync))
    none_gone = np.zeros(len(work.row), dtype=bool)
    found, rank = _forward(found, [queue_edges(queue, none_gone, first) for queue in full], time)
    return Graph(trace, attribution, steps, numbers, spans, work, found, tuple(full), time, rank, own)


def _steps(trace: Trace, attribution: Attribution, most: int) -> tuple[tuple[ProfiledStep, ...], tuple[int, ...], int]:
    """The first steps of the main thread with so many launches, their numbers, and when the last ends.

    Where there are no steps, everything that is on the thread is one.
    """
    main, steps = attribution.main_thread, attribution.steps
    numbers = sorted((i for i, step in enumerate(steps) if step.thread == main), key=lambda i: steps[i].start)
    mine = trace.host.thread == main
    if not numbers and mine.any():
        return (
            (ProfiledStep("", int(trace.host.start[mine].min()), int(trace.host.end[mine].max()), main),),
            (),
            FOREVER,
        )
    called = np.sort(at(attribution.host.start, attribution.events.launch, absent=0))
    launches = np.searchsorted(called, [steps[number].end for number in numbers])
    kept = numbers[: max(int((launches <= most).sum()), 1)]
    until = FOREVER if kept == numbers else steps[kept[-1]].end
    return tuple(steps[number] for number in kept), tuple(kept), until


def _launch_points(attribution: Attribution, spans: Spans, work: Work) -> Ints:
    """For each event the node where its launch starts; NONE without a launch."""
    launching = spans.of(Role.LAUNCH)
    point = np.full(len(attribution.host.name) + 1, NONE, dtype=np.int64)
    point[spans.row[launching]] = 2 * launching
    return point[work.call]  # NONE is the last


def _of_blocked(spans: Spans, blocked: Ints, cost: Ints) -> Ints:
    """What launches that waited for room in a queue cost without it: as much as the others, at the median."""
    launching = spans.of(Role.LAUNCH)
    duration, is_free = spans.end - spans.start, np.ones(len(spans), dtype=bool)
    is_free[blocked] = False
    others = launching[is_free[launching]]
    cost = cost.copy()
    cost[blocked] = np.minimum(duration[blocked], int(np.median(duration[others])) if len(others) else 0)
    return cost


def _chains(spans: Spans, cost: Ints) -> Edges:
    """Each thread's points in the order of time. What it spends from one to the next is its own, or waiting."""
    span = np.repeat(np.arange(len(spans)), 2)
    is_end = np.tile([0, 1], len(spans))
    time = np.column_stack((spans.start, spans.end)).reshape(-1)
    # At one instant what began earlier ends first, the innermost of it; then begin steps and the like, the longest
    # first; then come calls: those without length, since calls do not nest, and then the begins of others.
    is_call = np.isin(spans.role, (Role.LAUNCH, Role.WAIT))[span]
    is_short = (spans.start == spans.end)[span]
    turn = np.where(is_short, 2, np.where(is_end, 0, np.where(is_call, 3, 1)))
    depth = np.where(is_short, 0, np.where(is_end, -spans.start[span], -spans.end[span]))
    order = np.lexsort((is_end, span, depth, turn, time, spans.thread[span]))
    source, target = order[:-1], order[1:]
    same = spans.thread[span[source]] == spans.thread[span[target]]
    source, target = source[same], target[same]
    delay = time[target] - time[source]
    whole = (span[source] == span[target]) & (is_end[source] == 0)
    role = spans.role[span[source]]
    delay = np.where(whole & (cost[span[source]] != NONE), cost[span[source]], delay)
    delay = np.where(whole & (role == Role.AWAY), 0, delay)
    resting = (role == Role.EPISODE) & (spans.role[span[target]] == Role.EPISODE)
    delay = np.where(resting & (is_end[source] == 1) & (is_end[target] == 0), 0, delay)
    thread = spans.thread[span[source]]
    return edges(EdgeKind.HOST, source, target, delay, thread=thread, start=time[source], end=time[target])


def _handovers(spans: Spans) -> Edges:
    """To those who work while the main thread is away, and back from them."""
    away, episode = spans.of(Role.AWAY), spans.of(Role.EPISODE)
    caller = away[spans.row[episode]]
    parts = []
    for source, target, start, end in (
        (2 * caller, 2 * episode, spans.start[caller], spans.start[episode]),
        (2 * episode + 1, 2 * caller + 1, spans.end[episode], spans.end[caller]),
    ):
        parts.append(
            edges(EdgeKind.HOST, source, target, end - start, thread=spans.thread[caller], start=start, end=end)
        )
    return joined(parts)


def _forward(found: Edges, others: list[Edges], time: Ints) -> tuple[Edges, Ints]:
    """The edges that do not lead back in time, and an order of the nodes at one instant that agrees with all edges."""
    found = found.kept(time[found.source] <= time[found.target])
    rank = np.zeros(len(time), dtype=np.int64)
    every = joined((found, *others))
    at_once = time[every.source] == time[every.target]
    source, target = every.source[at_once], every.target[at_once]
    for _ in range(_ROUNDS):
        late = rank[target] <= rank[source]
        if not late.any():
            break
        np.maximum.at(rank, target[late], rank[source[late]] + 1)
    keep: Bools = (time[found.source] < time[found.target]) | (rank[found.source] < rank[found.target])
    return found.kept(keep), rank
