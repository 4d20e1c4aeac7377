"""Graph launches with fewer device events than others of the same graph: the rest was lost.

A graph runs the same nodes whenever it is launched. Where the file has the nodes' numbers they say which launches are
of one graph; elsewhere the names of the events do, if the same ran before and after. A graph may be part of another
one, as the last piece of a model that is captured in pieces, or run a node only sometimes. So a launch is short only if
its device was idle round it for as long as what it lacks takes, beyond the gaps inside a whole one.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, pair_keys
from perfkit.trace.columns import DeviceKind, Trace

_MOST_GRAPHS = 64
"""The graphs launched most often, of which others may be a part."""
_LEAST_IDLE = 0.5
"""Of the time that the missing events take elsewhere: a second stream may share it, and times vary."""


class _Replays(msgspec.Struct, frozen=True):
    """Graph launches that have events, one row each."""

    row: Ints
    """In the host view."""
    kind: Ints
    """Launches of one kind have the same nodes or names, as often each, in one process."""
    busy: Ints
    """ns, their sum."""
    span: Ints
    """ns from the start of its first event to the end of its last."""
    room: Ints
    """ns from the end of what ran before it to the start of what ran after it; endless at an edge."""
    before: Ints
    """Name of the event that ran before it; below NONE a launch: -2 for the first row, and so on; NONE for none."""
    after: Ints
    keys: tuple[Counter[int], ...]
    """The nodes or names of each kind."""
    by_node: Bools
    """Of each kind."""


def missing_events(trace: Trace, attribution: Attribution, is_graph: Bools) -> Ints:
    """How many events each row of the host view lacks; `is_graph` says which are graph launches."""
    lacks = np.zeros(len(is_graph), dtype=np.int64)
    launch = attribution.events.launch
    ran = (launch != NONE) & is_graph[launch] & (trace.device.kind != DeviceKind.MEMSET)
    if not ran.any():
        return lacks
    found = _replays(trace, attribution, np.flatnonzero(ran))
    count = np.bincount(found.kind)
    if len(count) == 1:
        return lacks
    full = _wholes(found, count)
    for kind in np.flatnonzero(full != np.arange(len(full))):
        short, whole = np.flatnonzero(found.kind == kind), found.kind == full[kind]
        missing_time = np.median(found.busy[whole]) - found.busy[short]
        more_idle = found.room[short] - found.busy[short] - np.median(found.span[whole] - found.busy[whole])
        is_short = more_idle >= _LEAST_IDLE * missing_time
        if not found.by_node[kind]:
            for side in (found.before, found.after):
                near = _nearby(found, full, side)
                is_short &= (near[short] == NONE) | np.isin(near[short], near[whole])
        lacks[found.row[short[is_short]]] = found.keys[full[kind]].total() - found.keys[kind].total()
    return lacks


def _replays(trace: Trace, attribution: Attribution, rows: Ints) -> _Replays:
    events, launch = trace.device, attribution.events.launch
    rows = rows[np.lexsort((events.start[rows], launch[rows]))]
    row, first, size = np.unique(launch[rows], return_index=True, return_counts=True)
    replay = np.repeat(np.arange(len(row)), size)
    by_node = np.logical_and.reduceat(events.graph_node[rows] >= 0, first)
    key = np.where(by_node[replay], events.graph_node[rows], events.name[rows])
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)[attribution.host.thread[row]]
    code = pair_keys(process[replay], by_node[replay], key)
    letters = np.random.default_rng(0).integers(0, 2**64, size=int(code.max()) + 1, dtype=np.uint64)[code]
    _, example, kind = np.unique(np.add.reduceat(letters, first), return_index=True, return_inverse=True)
    busy = np.add.reduceat(events.end[rows] - events.start[rows], first)
    span = np.maximum.reduceat(events.end[rows], first) - events.start[rows[first]]
    before, after, room = _neighbours(trace, launch, rows, first, size, row)
    return _Replays(
        row=row, kind=kind, busy=busy, span=span,
        room=room, before=before, after=after,
        keys=tuple(Counter(code[first[one] : first[one] + size[one]].tolist()) for one in example),
        by_node=by_node[example],
    )  # fmt: skip


def _neighbours(trace: Trace, launch: Ints, rows: Ints, first: Ints, size: Ints, row: Ints) -> tuple[Ints, Ints, Ints]:
    """What ran before and after each replay on its device, and the time between the two; endless at an edge."""
    events = trace.device
    before, after = (np.full(len(row), NONE, dtype=np.int64) for _ in range(2))
    room = np.full(len(row), np.iinfo(np.int64).max // 2)
    name = events.name.astype(np.int64)
    place = np.minimum(np.searchsorted(row, launch), len(row) - 1)
    replayed = (row[place] == launch) & (launch != NONE)
    name[replayed] = -2 - place[replayed]
    for device in np.unique(events.device[rows]):
        order = np.flatnonzero(events.device == device)
        order = order[np.argsort(events.start[order], kind="stable")]
        begun, ended = events.start[order], np.maximum.accumulate(events.end[order])
        mine = np.flatnonzero(events.device[rows[first]] == device)
        left = np.searchsorted(begun, events.start[rows[first[mine]]]) - 1
        right = np.searchsorted(begun, events.start[rows[first[mine] + size[mine] - 1]], side="right")
        has_left, has_right = left >= 0, right < len(order)
        before[mine[has_left]] = name[order[left[has_left]]]
        after[mine[has_right]] = name[order[right[has_right]]]
        both = has_left & has_right
        room[mine[both]] = begun[right[both]] - ended[left[both]]
    return before, after, room


def _wholes(found: _Replays, count: Ints) -> Ints:
    """For each kind that which it is a part of, and which is launched more often: the most frequent, or itself."""
    full = np.arange(len(count))
    usual = np.argsort(-count, kind="stable")[:_MOST_GRAPHS]
    for kind, keys in enumerate(found.keys):
        more = (whole for whole in usual if count[whole] > count[kind] and keys < found.keys[whole])
        full[kind] = next(more, kind)
    return full


def _nearby(found: _Replays, full: Ints, side: Ints) -> Ints:
    """The names, with that of the whole graph for each launch."""
    launched = side < NONE
    return np.where(launched, -2 - full[found.kind[np.where(launched, -2 - side, 0)]], side)
