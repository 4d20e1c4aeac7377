"""Replay: when everything in a graph would happen, computed from what it waits for; and what an edit would gain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, covered, nearest
from perfkit.analysis.time.replay.device import Queue
from perfkit.analysis.time.replay.edges import EdgeKind, Edges, edges, joined
from perfkit.analysis.time.replay.graph import Graph

WORST_ERROR = 0.05
"""A replay that misses the steps by more is of no use, and is refused."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What is changed in a graph: `factor` times as long, or gone where it is 0."""

    device: Bools | None = None
    """Device events, in the trace's order."""
    host: Bools | None = None
    """Host ranges, in the forest's order, with all that is in them: calls, waits, and the work that they launch."""
    factor: float = 0.0
    keeps_work: bool = False
    """What the host ranges launch stays as it is: they only take less of the host's time."""


@dataclass(frozen=True)
class Times:
    """One replay."""

    edges: Edges
    """Those that were followed, in the order of their targets."""
    own: Ints
    """ns that each node took itself."""
    time: Ints
    """When each node was, ns."""


@dataclass(frozen=True)
class Replayed:
    """A graph replayed as it is."""

    graph: Graph
    times: Times
    measured: Ints
    """ns of each step in the recording."""
    replayed: Ints
    """ns of each step in the replay."""
    span_measured: int
    """ns from the begin of the first step until the last one and all its work is done, in the recording."""
    span_replayed: int
    """The same in the replay."""

    @property
    def errors(self) -> Ints:
        """|replayed - measured| / measured of each step."""
        return np.abs(self.replayed - self.measured) / np.maximum(self.measured, 1)

    @property
    def error(self) -> float:
        """The mean of the steps' errors or, if that is larger, the error of the whole span."""
        span = abs(self.span_replayed - self.span_measured) / max(self.span_measured, 1)
        return max(float(self.errors.mean()), span) if len(self.errors) else 0.0

    @property
    def refused(self) -> str:
        """Why gains of this graph would be worth nothing; empty where they are fine."""
        if not len(self.measured):
            return "the trace has no host thread to replay"
        if self.error > WORST_ERROR:
            return f"the replay misses the recording by {self.error:.1%} (limit {WORST_ERROR:.0%})"
        return ""


@dataclass(frozen=True, slots=True)
class Gain:
    """What an edit gains at most: what it takes away may have to be done elsewhere, in less time."""

    ns_per_step: int
    share: float
    """Of the step's replayed time."""


def replay(graph: Graph) -> Replayed:
    """Replay a graph as it is."""
    times = times_of(graph)
    begin, end = graph.borders
    return Replayed(
        graph,
        times,
        graph.time[end] - graph.time[begin],
        times.time[end] - times.time[begin],
        _span(graph, graph.time),
        _span(graph, times.time),
    )


def gain(graph: Graph, edit: Edit, base: Replayed | None = None) -> Gain | None:
    """What a step would gain at most by an edit: the whole span's, divided by the steps. None where it is refused.

    `base`: the graph's own replay, where it is there already.
    """
    base = base or replay(graph)
    if base.refused:
        return None
    saved = base.span_replayed - _span(graph, times_of(graph, edit).time)
    return Gain(saved // len(base.measured), saved / max(base.span_replayed, 1))


def _span(graph: Graph, time: Ints) -> int:
    """From the begin of the first step to the end of the last, and of all work that was launched in between."""
    begin, end = graph.borders
    if not len(begin):
        return 0
    called = graph.work.called
    mine = (called >= graph.time[begin].min()) & (called <= graph.time[end].max())
    events = time[graph.first_event :][mine]
    return int(max(time[end].max(), events.max(initial=time[end].max())) - time[begin].min())


def times_of(graph: Graph, edit: Edit | None = None) -> Times:
    """Replay a graph, edited or not.

    Each node is as late as the latest of what it waits for makes it (a longest path through the graph). Only what
    waits for nothing is where it was in the recording: the begin of a thread, work that was launched before it.
    """
    found, own, gone = graph.edges, graph.own, np.zeros(len(graph.work.start), dtype=bool)
    if edit is not None:
        found, own, gone = _edited(graph, edit)
    found = joined((found, *(_queue(queue, gone, graph.first_event) for queue in graph.queues)))
    found = found.kept(graph.place[found.source] < graph.place[found.target])
    found = found.kept(np.argsort(graph.place[found.target], kind="stable"))
    waits_for_nothing = np.ones(len(own), dtype=bool)
    waits_for_nothing[found.target] = False
    time = np.where(waits_for_nothing, graph.time - graph.own + own, np.iinfo(np.int64).min).tolist()
    delay = found.delay + own[found.target]
    for source, target, after in zip(found.source.tolist(), found.target.tolist(), delay.tolist(), strict=True):
        at = time[source] + after
        if at > time[target]:
            time[target] = at
    return Times(found, own, np.array(time, dtype=np.int64))


def _queue(queue: Queue, gone: Bools, first: int) -> Edges:
    """A launch returns when the work so many launches before it has ended; launches that are gone do not count."""
    kept = ~gone[queue.events]
    events, point = queue.events[kept], queue.point[kept]
    source, target = first + events[: -queue.limit], point[queue.limit :]
    return edges(EdgeKind.QUEUE, source, target, np.zeros(len(source), dtype=np.int64))


def _edited(graph: Graph, edit: Edit) -> tuple[Edges, Ints, Bools]:
    """The edges and own times of an edited graph, and which events' launches are gone."""
    host, work, first = graph.attribution.host, graph.work, graph.first_event
    found, own = graph.edges, graph.own.copy()
    changed = np.zeros(len(work.start), dtype=bool) if edit.device is None else edit.device.copy()
    gone, delay = np.zeros(len(work.start), dtype=bool), found.delay.copy()
    if edit.host is not None:
        inside = np.append(nearest(host.forest.parent, edit.host) != NONE, False)
        launched = inside[work.call]
        gone = launched & (edit.factor == 0) & (not edit.keeps_work)
        changed |= launched & (not edit.keeps_work)
        delay -= _saved(graph, edit.host, edit.factor)
        if edit.factor == 0:
            waits = (found.kind == EdgeKind.SYNC) & inside[found.row]
            waits |= (found.kind == EdgeKind.EVENT) & np.append(np.zeros(first, dtype=bool), gone)[found.target]
            found, delay = found.kept(~waits), delay[~waits]
    own[first:] = np.where(changed, (own[first:] * edit.factor).astype(np.int64), own[first:])
    if edit.factor == 0:
        nothing = np.append(np.zeros(first, dtype=bool), changed)
        delay = np.where(nothing[found.target], 0, delay)
    return replace(found, delay=delay), own, gone


def _saved(graph: Graph, chosen: Bools, factor: float) -> Ints:
    """ns by which each edge gets shorter: its thread's part in the chosen ranges, as far as the thread was busy."""
    host, found = graph.attribution.host, graph.edges
    saved = np.zeros(len(found), dtype=np.int64)
    rows = np.flatnonzero(chosen)
    for thread in np.unique(host.thread[rows]).tolist():
        mine = rows[host.thread[rows] == thread]
        here = np.flatnonzero((found.kind == EdgeKind.HOST) & (found.thread == thread))
        part = covered(found.start[here], found.end[here], host.start[mine], host.end[mine])
        whole = found.end[here] - found.start[here]
        busy = found.delay[here]
        chosen_part = np.where(busy == whole, part, busy * (part / np.maximum(whole, 1)))  # of a wait's cost its share
        saved[here] = np.rint(chosen_part * (1 - factor))
    return saved
