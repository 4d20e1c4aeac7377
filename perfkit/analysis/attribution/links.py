"""Backward nodes and the forward operations that made them (rules 4 to 8 of docs/attribution.md)."""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analysis.attribution import uncarried
from perfkit.analysis.attribution.host_view import EVALUATE, HostView
from perfkit.analysis.attribution.intervals import (
    NONE,
    ROW,
    Bools,
    Ints,
    at,
    last_at_or_before,
    nearest,
    pair_keys,
    strictly_above,
)
from perfkit.trace.columns import MISSING, Trace

_ACCUMULATE = "AccumulateGrad"
NEVER = np.iinfo(np.int64).min
"""Before every time."""


class Links(msgspec.Struct, frozen=True):
    """Rows are host ranges in the forest's order."""

    is_node: Bools
    """Backward nodes: the engine's ranges and the nodes' own, which nest; perfkit's ranges round nodes where the file
    has no others."""
    is_hooked: Bools
    """perfkit's ranges round nodes, which name the module that made the node."""
    is_forward_op: Bools
    """Operations that carry a sequence number and are not nodes: one of them made each node."""
    by_accumulation: Bools
    """Gradient accumulation nodes, which have no number and go with the node before them."""
    node: Ints
    """Nearest self-or-enclosing node; NONE outside backward."""
    operation: Ints
    """Nearest self-or-enclosing operation with a sequence number, of either direction; NONE for none."""
    owner: Ints
    """On a node that links to no forward operation, or by a guess: row of what names its module, which is
    perfkit's mark in a gradient accumulation, else perfkit's range round the node; NONE without either, and on other
    rows."""
    target: Ints
    """On a node: the forward operation it links to, NONE where the file has none. NONE on other rows."""
    numbered: Bools
    """Nodes proper (not the engine's range round them) with a sequence number: what should link."""
    guessed: Bools
    """Nodes whose target no number names: it was found by the numbers next to theirs."""
    last_use: Ints
    """On a forward operation: latest start of a node with its number and thread; the least integer where none has."""


def link(trace: Trace, host: HostView) -> Links:
    """Find the nodes and link each to its forward operation."""
    is_engine = host.matching(lambda name: name.startswith(EVALUATE))
    is_accumulate = host.matching(lambda name: _ACCUMULATE in name)
    has_sequence = host.sequence >= 0
    numbered = has_sequence & (host.forward_thread > 0) & ~is_engine
    is_node = is_engine | numbered | is_accumulate
    is_forward_op = has_sequence & (host.forward_thread == 0) & ~is_node
    is_hooked = host.own("backward")
    if is_hooked.any():
        is_node |= is_hooked & (nearest(host.forest.parent, is_node) == NONE)

    sequence, forward_thread = _plumb(host, is_engine, numbered)
    thread_of = _forward_threads(trace, host, numbered, is_forward_op, sequence, forward_thread)
    is_root = host.matching(uncarried.is_root)
    rows = np.flatnonzero(is_node & ~is_root)
    node = nearest(host.forest.parent, is_node)
    target, guessed, last_use = _last_started(
        host, is_forward_op, node, rows, sequence[rows], forward_thread[rows], thread_of
    )
    by_accumulation = is_accumulate & (target == NONE)
    target = _accumulations(host, target, is_engine & (sequence >= 0) & ~by_accumulation, by_accumulation)
    owner = _owners(host, node, is_accumulate, is_engine)
    owner = _by_hooks(host, node, owner, is_hooked, is_node & ((target == NONE) | by_accumulation | guessed))
    return Links(
        is_node=is_node,
        is_hooked=is_hooked,
        is_forward_op=is_forward_op,
        by_accumulation=by_accumulation,
        node=node,
        operation=nearest(host.forest.parent, has_sequence),
        owner=owner,
        target=target,
        numbered=numbered & ~is_root,
        guessed=guessed,
        last_use=last_use,
    )


def _plumb(host: HostView, is_engine: Bools, numbered: Bools) -> tuple[Ints, Ints]:
    """Rule 5: an engine range without a number takes it from the node of its name inside it."""
    sequence, forward_thread = host.sequence.copy(), host.forward_thread.copy()
    outer = strictly_above(host.forest.parent, nearest(host.forest.parent, is_engine))
    inner = np.flatnonzero(numbered & (outer != NONE))
    bare = sequence[outer[inner]] < 0
    inner = inner[bare][::-1]  # the first node inside is assigned last, and stays
    wanted = {index: name[len(EVALUATE) :] for index, name in enumerate(host.names) if name.startswith(EVALUATE)}
    same_name = np.array(
        [wanted[o] == host.names[i] for o, i in zip(host.name[outer[inner]], host.name[inner], strict=True)],
        dtype=bool,
    )
    inner = inner[same_name]
    sequence[outer[inner]] = host.sequence[inner]
    forward_thread[outer[inner]] = host.forward_thread[inner]
    return sequence, forward_thread


def _forward_threads(
    trace: Trace, host: HostView, numbered: Bools, is_forward_op: Bools, sequence: Ints, forward_thread: Ints
) -> dict[int, int]:
    """Rule 6: torch's own thread counter -> thread index, by the file's arrows, else by shared numbers."""
    if not trace.recording.capabilities.forward_threads:  # numbered by nvtx_nodes, which found them
        return {int(counter): int(counter) - 1 for counter in np.unique(forward_thread[numbered])}
    by_arrows = _votes_of_arrows(trace, host, numbered)
    mapping = {}
    for counter in np.unique(forward_thread[numbered]):
        votes = by_arrows.get(int(counter))
        if votes is None:
            wanted = np.unique(sequence[numbered & (forward_thread == counter)])
            candidates = is_forward_op & np.isin(host.sequence, wanted)
            pairs = np.unique(np.stack((host.thread[candidates], host.sequence[candidates])), axis=1)
            votes = np.bincount(pairs[0])
        if len(votes):
            mapping[int(counter)] = int(np.argmax(votes))
    return mapping


def _votes_of_arrows(trace: Trace, host: HostView, numbered: Bools) -> dict[int, Ints]:
    """For each of torch's thread counters, how many arrows come from each thread."""
    flows = trace.flows
    votes: dict[int, Ints] = {}
    if not flows.is_start.any():
        return votes
    starts, ends = np.flatnonzero(flows.is_start), np.flatnonzero(~flows.is_start)
    nodes = np.flatnonzero(numbered)
    node_of_end = last_at_or_before(host.thread[nodes], host.start[nodes], flows.thread[ends], flows.time[ends])
    exact = node_of_end != NONE
    exact[exact] = host.start[nodes[node_of_end[exact]]] == flows.time[ends[exact]]
    ends, node_of_end = ends[exact], nodes[node_of_end[exact]]
    order = np.argsort(flows.flow[starts], kind="stable")
    place = np.searchsorted(flows.flow[starts][order], flows.flow[ends])
    start_of_end = starts[order][np.minimum(place, len(starts) - 1)]
    matched = flows.flow[start_of_end] == flows.flow[ends]
    counters, threads = host.forward_thread[node_of_end[matched]], flows.thread[start_of_end[matched]]
    for counter in np.unique(counters):
        votes[int(counter)] = np.bincount(threads[counters == counter])
    return votes


def _last_started(
    host: HostView,
    is_forward_op: Bools,
    node: Ints,
    rows: Ints,
    sequence: Ints,
    counter: Ints,
    thread_of: dict[int, int],
) -> tuple[Ints, Bools, Ints]:
    """Rule 7: the last-started forward operation with the node's number on the node's forward thread.

    `rows` are the nodes, with their sequence numbers and thread counters, MISSING where they have none. Also returns
    Links.guessed (module `uncarried`) and Links.last_use.
    """
    operations = np.flatnonzero(is_forward_op)
    # An operation that starts together with the node it runs in came after it, and did not make it.
    around = node[operations]
    with_node = (around != NONE) & (host.start[around] == host.start[operations])
    counters, place = np.unique(counter, return_inverse=True)
    threads = np.array([thread_of.get(int(value), MISSING) for value in counters], dtype=np.int64)[place]
    known = threads != MISSING
    rows, sequence, threads = rows[known], sequence[known], threads[known]
    keys = pair_keys(
        np.concatenate((host.thread[operations], threads)),
        np.concatenate((host.sequence[operations], sequence)),
    )
    operation_keys, node_keys = keys[: len(operations)], keys[len(operations) :]
    time = 2 * host.start[operations] + with_node
    could_make = np.where(uncarried.in_script(host)[operations], np.iinfo(np.int64).max, time)
    made_by = last_at_or_before(operation_keys, could_make, node_keys, 2 * host.start[rows])
    candidates = uncarried.Operations(host.thread[operations], host.sequence[operations], time)
    nodes = uncarried.Nodes(host.name[rows], threads, sequence, host.start[rows], np.isin(node_keys, operation_keys))
    made_by, is_guess = uncarried.guess(host, candidates, nodes, made_by)
    target = np.full(len(is_forward_op), NONE, dtype=ROW)
    target[rows[made_by != NONE]] = operations[made_by[made_by != NONE]]
    guessed = np.zeros(len(is_forward_op), dtype=bool)
    guessed[rows[is_guess]] = True

    latest = np.full(len(keys), NEVER)  # keys are dense
    np.maximum.at(latest, node_keys, host.start[rows])
    last_use = np.full(len(is_forward_op), NEVER)
    last_use[operations] = latest[operation_keys]
    return target, guessed, last_use


def _owners(host: HostView, node: Ints, is_accumulate: Bools, is_engine: Bools) -> Ints:
    """The first mark in each accumulation node, and for the node's also in the engine's range round it."""
    kinds = {index for index, own in host.own_names.items() if own.kind == "grad"}
    marks = np.flatnonzero(np.isin(host.name, list(kinds)) & (node != NONE))
    marks = marks[is_accumulate[node[marks]]]
    owner = np.full(len(node), NONE, dtype=ROW)
    outer = strictly_above(host.forest.parent, node)[node[marks]]
    around = (outer != NONE) & ~is_engine[node[marks]] & is_engine[outer] & is_accumulate[outer]
    named, mark = np.concatenate((outer[around], node[marks])), np.concatenate((marks[around], marks))
    first_last = np.argsort(-mark, kind="stable")  # of several, the first is assigned last
    owner[named[first_last]] = mark[first_last]
    return owner


def _by_hooks(host: HostView, node: Ints, owner: Ints, is_hooked: Bools, silent: Bools) -> Ints:
    """Let perfkit's range round a node name the module of a node that has no other source (`silent`).

    A range without the engine's round it is the node itself. With it, both the engine's range and the node proper,
    which is inside perfkit's, take the name.
    """
    result = owner.copy()
    hooks = np.flatnonzero(is_hooked)[::-1]  # the first is assigned last
    named = hooks[silent[node[hooks]] & (owner[node[hooks]] == NONE)]
    result[node[named]] = named
    hook = nearest(host.forest.parent, is_hooked)
    outer = strictly_above(host.forest.parent, node)
    proper = np.flatnonzero(silent & (result == NONE) & (outer != NONE) & (hook > outer))
    result[proper] = hook[proper]
    return result


def run_again(host: HostView, links: Links) -> Bools:
    """Rows inside a forward-type operation in a backward node: recomputed, unless it is double backward.

    In a double backward that operation has a node of its own, which runs after the one that holds it. Any node of its
    number counts: operations that only read the sequence counter share the number with the one that advances it.
    """
    ends = np.concatenate((host.end, [np.iinfo(np.int64).max]))
    last_use = np.concatenate((links.last_use, [NEVER]))
    node, operation = links.node, links.operation
    inside = (node != NONE) & (operation != NONE) & links.is_forward_op[operation] & (operation > node)
    return inside & (last_use[operation] < ends[node])


def in_closure(host: HostView, links: Links, optimizer: Ints) -> Bools:
    """Rows in an operation whose node runs before the end of the row's optimizer's range, as a closure's does.

    Operations of an optimizer that works with gradients enabled carry a number too: that of the node that the next
    forward makes.
    """
    last_use = at(links.last_use, links.operation, absent=NEVER)
    before: Bools = (last_use != NEVER) & (last_use < at(host.end, optimizer, absent=NEVER))
    return before


def _accumulations(host: HostView, target: Ints, numbered: Bools, by_accumulation: Bools) -> Ints:
    """Rule 8: gradient accumulation goes with the last node that started before it on its thread, if that links.

    `numbered` are the engine's ranges that have a number, their own or that of the node inside.
    """
    nodes, rows = np.flatnonzero(numbered), np.flatnonzero(by_accumulation)
    before = last_at_or_before(host.thread[nodes], nodes, host.thread[rows], rows)
    result = target.copy()
    result[rows[before != NONE]] = target[nodes[before[before != NONE]]]
    return result
