"""What an allocator held at the end of a snapshot, and the ranges and settings beside its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from perfkit.trace.columns import MISSING
from perfkit.trace.snapshot.columns import Annotation, Blocks, BlockState, Segments
from perfkit.trace.snapshot.events import MAX_TIME_US, NotASnapshotError, StackTable, codes, integers

_STATES = {
    "active_allocated": BlockState.ACTIVE,
    "active_awaiting_free": BlockState.AWAITING_FREE,
    "active_pending_free": BlockState.AWAITING_FREE,
    "inactive": BlockState.INACTIVE,
}
"""Both words for the second were torch's."""
_MOST_SETTINGS = 200

_Members = dict[Any, Any]


def dictionaries(value: Any, what: str) -> list[_Members]:
    """A list of dictionaries; raises NotASnapshotError where it is none."""
    if value is None:
        return []
    if type(value) not in (list, tuple) or not all(type(member) is dict for member in value):
        raise NotASnapshotError(f"has {what} that are no list of dictionaries")
    return list(value)


def segments_of(found: Sequence[_Members], stacks: StackTable) -> tuple[Segments, Blocks]:
    """The segments of a snapshot and their blocks."""

    def column(*names: str) -> Any:
        return integers([next((s[name] for name in names if name in s), 0) for s in found])

    blocks: list[_Members] = []
    owner: list[int] = []
    address: list[Any] = []
    for row, segment in enumerate(found):
        at = segment.get("address", 0)
        for block in dictionaries(segment.get("blocks"), "blocks"):
            blocks.append(block)
            owner.append(row)
            given = block.get("address", at)  # not in torch 2.0
            address.append(given)
            at = _plus(given, block.get("size", 0))
    segments = Segments(
        device=column("device").astype(np.int32),
        address=column("address"),
        total=column("total_size"),
        allocated=column("allocated_size"),
        active=column("active_size"),
        requested=column("requested_size", "active_size"),
        stream=column("stream"),
        is_large=np.array([s.get("segment_type") == "large" for s in found], np.uint8),
        is_expandable=np.array([s.get("is_expandable") is True for s in found], np.uint8),
        pool=_pools(found),
        stack=codes([stacks.number(s.get("frames"), mark=False) for s in found]),
    )
    pieces = Blocks(
        segment=np.array(owner, np.int32),
        address=integers(address),
        size=integers([block.get("size", 0) for block in blocks]),
        requested=integers([_requested(block) for block in blocks]),
        state=np.array([_state(block) for block in blocks], np.uint8),
        stack=codes([stacks.number(_frames(block), mark=False) for block in blocks]),
    )
    for sizes in (segments.total, segments.address, pieces.size, pieces.requested):
        if sizes.min(initial=0) < 0:
            raise NotASnapshotError("has sizes or addresses that cannot be")
    return segments, pieces


def _plus(a: Any, b: Any) -> Any:
    return a + b if type(a) is int and type(b) is int else 0


def _state(block: _Members) -> BlockState:
    state = block.get("state")
    if type(state) is not str or state not in _STATES:
        raise NotASnapshotError("has blocks in states that torch does not have")
    return _STATES[state]


def _requested(block: _Members) -> Any:
    """Bytes asked for. Snapshots of torch 2.0 have them in the block's history only, the oldest nowhere."""
    return block.get("requested_size", block.get("size", 0))


def _frames(block: _Members) -> Any:
    if "frames" in block or not block.get("history"):
        return block.get("frames")
    last = dictionaries(block["history"], "histories of blocks")[0]
    return last.get("frames")


def _pools(found: Sequence[_Members]) -> Any:
    """Pools, numbered in order: (0, 0) is the usual one."""
    numbers: dict[str, int] = {"(0, 0)": 0}
    pools = [_pair(s.get("segment_pool_id")) for s in found]
    return codes([numbers.setdefault(str(pool), len(numbers)) for pool in pools])


def _pair(pool: Any) -> tuple[int, int]:
    is_pair = type(pool) in (list, tuple) and len(pool) == 2 and all(type(number) is int for number in pool)
    return (pool[0], pool[1]) if is_pair else (0, 0)


def annotations_of(found: Sequence[_Members], end: int) -> tuple[Annotation, ...]:
    """Ranges by their starts and ends: an end closes the last open range of its name on its device.

    A range without an end lasts to `end`, the last event's time in ns; one without a start, from 0.
    """
    ranges: list[Annotation] = []
    opened: dict[tuple[str, int], list[int]] = defaultdict(list)
    for member in found:
        name, device, time = member.get("name"), member.get("device", MISSING), member.get("time_us", 0)
        if type(name) is not str or type(device) is not int or type(time) is not int or not 0 <= time <= MAX_TIME_US:
            raise NotASnapshotError("has annotations that are not what torch writes")
        time *= 1000
        if member.get("stage") == "START":
            opened[name, device].append(len(ranges))
            ranges.append(Annotation(name, device, time, max(end, time)))
        elif opened[name, device]:
            row = opened[name, device].pop()
            ranges[row] = Annotation(name, device, ranges[row].start, max(time, ranges[row].start))
        else:
            ranges.append(Annotation(name, device, 0, time))
    return tuple(ranges)


def settings_of(found: Any) -> Mapping[str, object]:
    """The allocator's settings that are plain values."""
    if type(found) is not dict:
        return {}
    plain = {key: value for key, value in found.items() if type(key) is str and type(value) in (str, int, float, bool)}
    return dict(list(plain.items())[:_MOST_SETTINGS])
