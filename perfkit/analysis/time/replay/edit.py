"""Edit: what is taken away from a graph, or made faster or slower."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, covered, nearest
from perfkit.analysis.time.replay.edges import EdgeKind, Edges
from perfkit.analysis.time.replay.graph import Graph


class Edit(msgspec.Struct, frozen=True):
    """What is changed in a graph: `factor` times as long, or gone where it is 0."""

    device: Bools | None = None
    """Device events, in the trace's order."""
    host: Bools | None = None
    """Host ranges, in the forest's order, with all that is in them: calls, waits, and the work that they launch."""
    factor: float = 0.0
    keeps_work: bool = False
    """What the host ranges launch stays as it is: they only take less of the host's time."""


def edited(graph: Graph, edit: Edit) -> tuple[Edges, Ints, Bools]:
    """The edges and own times of an edited graph, and which events' launches are gone."""
    host, work, first = graph.attribution.host, graph.work, graph.first_event
    found, own = graph.edges, graph.own.copy()
    changed = np.zeros(len(work.start), dtype=bool) if edit.device is None else edit.device[work.row]
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
