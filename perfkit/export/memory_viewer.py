"""Recordings of memory for PyTorch's viewer (https://pytorch.org/memory_viz, `torch.cuda._memory_viz`).

The form is that of `torch.cuda.memory._snapshot()`: segments with their blocks, and events by device. What each
allocation is for stands in its `user_metadata`, which the viewer shows with its stack. It reads pickles of protocol 4,
unpacked; for other protocols it shows an empty page.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, LABELS, STILL, Kind, Lifetimes
from perfkit.trace.columns import MISSING
from perfkit.trace.snapshot.columns import ACTIONS, Action, BlockState, Snapshot

_PROTOCOL = 4
_WORDS: dict[Action, str] = {action: word for word, action in ACTIONS.items()}
_STATES = {
    BlockState.INACTIVE: "inactive",
    BlockState.ACTIVE: "active_allocated",
    BlockState.AWAITING_FREE: "active_awaiting_free",
}
_CPU = 0
"""The device under which the viewer shows what is on none."""

Event = dict[str, Any]


def write(lives: Lifetimes, snapshot: Snapshot | None, file: IO[bytes]) -> None:
    """Write what lived when, with what it was for. `snapshot` is what the lifetimes were read from, if it was one."""
    document = _of_lifetimes(lives) if snapshot is None else _of_snapshot(snapshot, _texts(lives))
    pickle.dump(document, file, protocol=_PROTOCOL)


def _texts(lives: Lifetimes) -> dict[int, str]:
    """Number of an allocating event -> what it is for."""
    made = np.flatnonzero(lives.begin != ALWAYS)
    return dict(zip(lives.begin[made].tolist(), (_text(lives, row) for row in made.tolist()), strict=True))


def _text(lives: Lifetimes, row: int) -> str:
    scope = int(lives.scope[row])
    parts = (
        LABELS[Kind(lives.kind[row])],
        "" if scope == MISSING else lives.scopes[scope],
        Phase(lives.phase[row]).label,
    )
    return ", ".join(filter(None, parts))


def _of_snapshot(snapshot: Snapshot, texts: dict[int, str]) -> dict[str, Any]:
    frames = _frames(snapshot)
    events = snapshot.events
    devices = [*events.device.tolist(), *snapshot.segments.device.tolist()]
    traces: list[list[Event]] = [[] for _ in range(max(devices, default=_CPU) + 1)]
    columns = (events.action, events.device, events.time, events.address, events.size, events.stream, events.stack)
    for row, (action, device, time, address, size, stream, stack) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        if action == Action.OTHER:
            continue
        event = {
            "action": _WORDS[Action(action)], "addr": address, "size": size, "stream": stream,
            "time_us": time // 1000, "frames": frames[stack],
        }  # fmt: skip
        if action == Action.OOM:
            event["device_free"] = event.pop("addr")
        said = int(events.metadata[row])
        text = [snapshot.texts[said]] if said != MISSING else []
        event["user_metadata"] = "; ".join([*text, texts[row]] if row in texts else text)
        traces[device].append(event)
    return {
        "segments": list(_segments(snapshot, frames)),
        "device_traces": traces,
        "allocator_settings": dict(snapshot.settings),
    }


def _frames(snapshot: Snapshot) -> list[list[dict[str, Any]]]:
    """The frames of each stack; the last are those of none, so that MISSING finds them."""
    each = [{"name": frame.name, "filename": frame.file, "line": frame.line} for frame in snapshot.frames]
    stacks = [[each[frame] for frame in snapshot.stacks.of(stack)] for stack in range(len(snapshot.stacks))]
    return [*stacks, []]


def _segments(snapshot: Snapshot, frames: Sequence[list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    segments, blocks = snapshot.segments, snapshot.blocks
    held: list[list[dict[str, Any]]] = [[] for _ in range(len(segments))]
    columns = (blocks.segment, blocks.address, blocks.size, blocks.requested, blocks.state, blocks.stack)
    for segment, address, size, requested, state, stack in zip(*(one.tolist() for one in columns), strict=True):
        held[segment].append({
            "address": address, "size": size, "requested_size": requested, "state": _STATES[BlockState(state)],
            "frames": frames[stack],
        })  # fmt: skip
    for row in range(len(segments)):
        yield {
            "device": int(segments.device[row]), "address": int(segments.address[row]),
            "total_size": int(segments.total[row]), "allocated_size": int(segments.allocated[row]),
            "active_size": int(segments.active[row]), "requested_size": int(segments.requested[row]),
            "stream": int(segments.stream[row]), "segment_type": "large" if segments.is_large[row] else "small",
            "segment_pool_id": (0, int(segments.pool[row])), "is_expandable": bool(segments.is_expandable[row]),
            "frames": frames[int(segments.stack[row])], "blocks": held[row],
        }  # fmt: skip


def _of_lifetimes(lives: Lifetimes) -> dict[str, Any]:
    """A recording without an allocator's state: what lives at the end is in a segment of its own."""
    traces: list[list[Event]] = [[] for _ in range(max(int(lives.device.max(initial=_CPU)), _CPU) + 1)]
    segments = []
    moments: list[tuple[int, int, int]] = []
    for row, (begin, end) in enumerate(zip(lives.begin.tolist(), lives.end.tolist(), strict=True)):
        moments += [(begin, 1, row)] * (begin != ALWAYS) + [(end, 0, row)] * (end != STILL)
        if end == STILL:
            segments.append(_segment(lives, row))
    for moment, is_made, row in sorted(moments):
        event = {
            "addr": int(lives.address[row]), "size": int(lives.size[row]), "stream": 0,
            "time_us": int(lives.time[moment]) // 1000, "frames": _place(lives, row),
            "user_metadata": _text(lives, row),
        }  # fmt: skip
        words = ("alloc",) if is_made else ("free_requested", "free_completed")
        traces[max(int(lives.device[row]), _CPU)] += [{"action": word, **event} for word in words]
    return {"segments": segments, "device_traces": traces}


def _segment(lives: Lifetimes, row: int) -> dict[str, Any]:
    address, size, frames = int(lives.address[row]), int(lives.size[row]), _place(lives, row)
    block = {
        "address": address, "size": size, "requested_size": size, "state": "active_allocated", "frames": frames,
    }  # fmt: skip
    return {
        "device": max(int(lives.device[row]), _CPU), "address": address, "total_size": size, "allocated_size": size,
        "active_size": size, "requested_size": size, "stream": 0, "segment_type": "large", "segment_pool_id": (0, 0),
        "is_expandable": False, "frames": frames, "blocks": [block],
    }  # fmt: skip


def _place(lives: Lifetimes, row: int) -> list[dict[str, Any]]:
    """The operator and the layer as a stack, innermost first."""
    operator, scope = int(lives.operator[row]), int(lives.scope[row])
    names = ("" if operator == MISSING else lives.operators[operator], "" if scope == MISSING else lives.scopes[scope])
    return [{"name": name, "filename": "", "line": 0} for name in names if name]
