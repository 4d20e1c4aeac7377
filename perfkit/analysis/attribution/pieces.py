"""Piecewise CUDA graphs: a step launches a graph, attention, a graph, and so on (docs/attribution.md, CUDA graphs).

Serving engines capture what lies between two attention operators as a graph of its own, since attention depends on the
lengths of the requests. No range says which layer a piece is of, but their order does: the k-th attention of a step is
that of layer k, between piece k and piece k + 1.
"""

from __future__ import annotations

import re

import numpy as np

from perfkit.analysis.attribution.captures import graph_launches
from perfkit.analysis.attribution.graphs import Scoped
from perfkit.analysis.attribution.host_view import HostView, name_flags
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, last_at_or_before, nearest
from perfkit.analysis.attribution.scopes import How
from perfkit.analysis.kernels.categories import category
from perfkit.analysis.kernels.kinds import ATTENTION
from perfkit.regex import Regex
from perfkit.trace.columns import HostKind, Trace

_BETWEEN = Regex(r"attention|attn|mamba|short_conv", re.IGNORECASE)
"""In the names of the operators that engines leave out of their graphs: attention, and what takes its place."""
_FEWEST = 3
"""Pieces of a step; two graphs with attention between them may be anything."""


def by_piece(trace: Trace, host: HostView, launch: Ints, scoped: Scoped, movable: Bools, separator: str) -> Scoped:
    """Number the pieces of each step, and what is launched between two, below the scope that all its pieces have.

    Where the scopes of a step's pieces differ, they say which layer it is, and stay.
    """
    calls = np.array([call for call, _ in graph_launches(host, launch, trace.device.start)], dtype=np.int64)
    if len(calls) < _FEWEST:
        return scoped
    calls = np.sort(calls)  # by thread and time, as the forest is
    thread, start = host.thread[calls], host.start[calls]
    after = last_at_or_before(thread, start, at(host.thread, launch, absent=NONE), at(host.start, launch, absent=NONE))
    of_graph = np.isin(launch, calls)
    free = movable & (after != NONE) & (scoped.how != How.GRAPH)
    rows, texts = [], []
    for first, last in _steps(trace, host, calls, after, of_graph):
        here = np.flatnonzero(free & (after >= first) & (after <= last) & (of_graph | (after < last)))
        fronts = np.unique(scoped.path[here[of_graph[here]]])
        if len(fronts) != 1:
            continue
        here = here[np.isin(scoped.path[here], (fronts[0], NONE))]
        front = [scoped.paths[fronts[0]]] if fronts[0] != NONE else []
        rows += here.tolist()
        texts += [
            separator.join((*front, "pieces", str(piece), what))
            for piece, what in zip(
                (after[here] - first).tolist(), np.where(of_graph[here], "graph", "attention").tolist(), strict=True
            )
        ]
    return scoped.moved(np.array(rows, dtype=np.int64), texts, How.PIECE)


def _steps(trace: Trace, host: HostView, calls: Ints, after: Ints, of_graph: Bools) -> list[tuple[int, int]]:
    """First and last piece of each step, as places in `calls`: launches on one thread, with attention between any two.

    Between the steps there is sampling and whatever else, but no attention. A range of the user's holds a whole step.
    """
    kernels = name_flags(trace.names, trace.device.name, _is_attention)
    named = (host.kind == HostKind.OP) & host.matching(lambda name: _BETWEEN.search(name) is not None)
    operators = np.flatnonzero(named)
    gaps = last_at_or_before(host.thread[calls], host.start[calls], host.thread[operators], host.start[operators])
    has_attention = np.zeros(len(calls) + 1, dtype=bool)  # the last is for NONE
    has_attention[after[kernels & ~of_graph]] = True
    has_attention[gaps] = True
    around = nearest(host.forest.parent, host.kind == HostKind.ANNOTATION)[calls]
    joined = has_attention[: len(calls) - 1] & (host.thread[calls][1:] == host.thread[calls][:-1])
    joined &= around[1:] == around[:-1]
    firsts = np.flatnonzero(np.append(True, ~joined))
    lasts = np.append(firsts[1:], len(calls)) - 1
    return [
        (first, last)
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
        if last - first >= _FEWEST - 1
    ]


def _is_attention(kernel: str) -> bool:
    return category(kernel, None, in_optimizer=False) == ATTENTION
