"""When everything in a graph would happen, computed from what it waits for."""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import Ints
from perfkit.analysis.time.replay.device import queue_edges
from perfkit.analysis.time.replay.edges import Edges, joined
from perfkit.analysis.time.replay.edit import Edit, edited
from perfkit.analysis.time.replay.graph import Graph


class Times(msgspec.Struct, frozen=True):
    """One replay."""

    edges: Edges
    """Those that were followed, in the order of their targets."""
    own: Ints
    """ns that each node took itself."""
    time: Ints
    """When each node was, ns."""


def times_of(graph: Graph, edit: Edit | None = None) -> Times:
    """Replay a graph, edited or not.

    Each node is as late as the latest of what it waits for makes it (a longest path through the graph). Only what
    waits for nothing is where it was in the recording: the begin of a thread, work that was launched before it.
    """
    found, own, gone = graph.edges, graph.own, np.zeros(len(graph.work.start), dtype=bool)
    if edit is not None:
        found, own, gone = edited(graph, edit)
    found = joined((found, *(queue_edges(queue, gone, graph.first_event) for queue in graph.queues)))
    found = found.kept(graph.place[found.source] < graph.place[found.target])
    found = found.kept(np.argsort(graph.place[found.target], kind="stable"))
    waits_for_nothing = np.ones(len(own), dtype=bool)
    waits_for_nothing[found.target] = False
    time = np.where(waits_for_nothing, graph.time - graph.own + own, np.iinfo(np.int64).min).tolist()
    delay = found.delay + own[found.target]
    for source, target, after in zip(found.source.tolist(), found.target.tolist(), delay.tolist(), strict=True):
        at = time[source] + after
        time[target] = max(time[target], at)
    return Times(found, own, np.array(time, dtype=np.int64))
