"""Backward nodes in NVTX ranges by emit_nvtx, which writes sequence numbers without their threads.

Kineto says of a backward node which thread ran its forward operation; here the thread has to be found
(docs/attribution.md, "nsys"). The result is written as Kineto would write it, so that the rest of the
attribution needs no special case: on a node, 1 + the index of its forward thread.
"""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import (
    NONE,
    Bools,
    Forest,
    Ints,
    last_at_or_before,
    nearest,
    pair_keys,
    strictly_above,
)
from perfkit.schema import range_names
from perfkit.trace.columns import MISSING

EVALUATE = "autograd::engine::evaluate_function: "
"""What the autograd engine calls the range round each node it runs."""


def forward_threads(
    names: tuple[str, ...], forest: Forest, name: Ints, thread: Ints, process: Ints, start: Ints, sequence: Ints
) -> Ints:
    """HostRanges.forward_thread for ranges in the forest's order; `process` says which process each thread is of."""
    numbered = sequence >= 0
    is_node = numbered & _directly_evaluated(names, forest, name)
    counter = np.where(numbered, 0, MISSING).astype(np.int64)
    for owner in np.unique(process[thread[is_node]]):
        here = process[thread] == owner
        nodes, operations = is_node & here, numbered & ~is_node & here
        counter[nodes] = 1 + _most_matches(thread[operations], sequence[operations], sequence[nodes])
    nested = _made_inside_the_enclosing_node(forest, is_node, numbered & ~is_node, thread, start, sequence)
    counter[nested] = 1 + thread[nested]
    return counter


def _directly_evaluated(names: tuple[str, ...], forest: Forest, name: Ints) -> Bools:
    """Ranges directly inside the engine's range for the node of their name, but for perfkit's range round the node."""
    numbers = {text: number for number, text in enumerate(names)}
    wanted = np.full(len(names) + 1, NONE, dtype=np.int64)  # the last is for roots
    for number, text in enumerate(names):
        if text.startswith(EVALUATE):
            wanted[number] = numbers.get(text[len(EVALUATE) :], NONE)
    parsed = [range_names.parse_trace(text) for text in names]
    ours = np.array([own is not None and own.kind == "backward" for own in parsed], dtype=bool)
    parent = forest.parent.copy()
    between = np.flatnonzero((parent != NONE) & ours[name[parent]])
    parent[between] = forest.parent[parent[between]]
    above = np.where(parent == NONE, len(names), name[parent])
    return wanted[above] == name


def _most_matches(thread: Ints, sequence: Ints, wanted: Ints) -> int:
    """The thread whose operations carry most of the wanted numbers."""
    here = np.isin(sequence, wanted)
    pairs = np.unique(np.stack((thread[here], sequence[here])), axis=1)
    return int(np.bincount(pairs[0], minlength=1).argmax())


def _made_inside_the_enclosing_node(
    forest: Forest, is_node: Bools, is_operation: Bools, thread: Ints, start: Ints, sequence: Ints
) -> Ints:
    """Nodes in a node, made by an operation of their own thread that ran in that node: a reentrant checkpoint."""
    outer = strictly_above(forest.parent, nearest(forest.parent, is_node))
    rows, operations = np.flatnonzero(is_node & (outer != NONE)), np.flatnonzero(is_operation)
    keys = pair_keys(
        np.concatenate((thread[rows], thread[operations])), np.concatenate((sequence[rows], sequence[operations]))
    )
    made = last_at_or_before(keys[len(rows) :], start[operations], keys[: len(rows)], start[rows], strictly=True)
    is_made = made != NONE
    is_made[is_made] = start[operations[made[is_made]]] >= start[outer[rows[is_made]]]
    return rows[is_made]
