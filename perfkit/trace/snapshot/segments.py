"""What the allocator held at the end: segments, and the blocks they are cut into."""

from __future__ import annotations

from itertools import compress
from typing import Any

import numpy as np

from perfkit.trace.columns import Int32s
from perfkit.trace.snapshot.columns import Blocks, BlockState, Segments
from perfkit.trace.snapshot.interned import StackNumbers
from perfkit.trace.snapshot.values import ImplausibleError, integer, integers, items, members, sizes

_STATES = {
    "inactive": BlockState.INACTIVE,
    "active_allocated": BlockState.ACTIVE,
    "active_awaiting_free": BlockState.AWAITING_FREE,
    "active_pending_free": BlockState.AWAITING_FREE,
}
_SEGMENT = ("device", "address", "total", "allocated", "active", "requested", "stream", "is_large", "is_expandable")
_BLOCK = ("segment", "address", "size", "requested", "state")


def segments_and_blocks(found: list[Any], stacks: StackNumbers) -> tuple[Segments, Blocks]:
    """The columns of `segments`. Raises ImplausibleError where a value is not what it should be."""
    segments: dict[str, list[Any]] = {name: [] for name in (*_SEGMENT, "pool", "stack")}
    blocks: dict[str, list[Any]] = {name: [] for name in (*_BLOCK, "stack")}
    pools: dict[tuple[int, ...], int] = {(0, 0): 0}
    for row, value in enumerate(found):
        segment = members(value, "a segment")
        address = integer(segment.get("address"), "a segment's address")
        first = len(blocks["size"])
        own = items(segment.get("blocks", []), "a segment's list of blocks")
        for block in own:
            address += _add_block(blocks, members(block, "a block"), row, address, stacks)
        own.clear()  # a list that a million segments share would be walked a million times
        _add_segment(segments, segment, {name: column[first:] for name, column in blocks.items()})
        segments["pool"].append(pools.setdefault(_pool(segment.get("segment_pool_id", (0, 0))), len(pools)))
        segments["stack"].append(stacks.of(segment.get("frames")))
    return _segments(segments), _blocks(blocks)


def _add_block(
    blocks: dict[str, list[Any]], block: dict[Any, Any], row: int, address: int, stacks: StackNumbers
) -> int:
    """One row; returns its size. Before PyTorch 2.2 a block has no address (it follows the one before it), and what
    is known of its allocation is the first entry of its history."""
    size = integer(block.get("size"), "a block's size")
    state = block.get("state")
    if type(state) is not str or state not in _STATES:
        raise ImplausibleError("a block's state is none of " + ", ".join(_STATES))
    is_used = state != "inactive"
    history = items(block.get("history", []), "a block's history")
    last = members(history[0], "a block's history") if history else {}
    values = (
        row,
        block.get("address", address),
        size,
        block.get("requested_size", last.get("real_size", size * is_used)),
        _STATES[state],
    )
    for name, value in zip(_BLOCK, values, strict=True):
        blocks[name].append(value)
    blocks["stack"].append(stacks.of(block.get("frames", last.get("frames"))))
    return size


def _add_segment(segments: dict[str, list[Any]], segment: dict[Any, Any], blocks: dict[str, list[Any]]) -> None:
    """One row; sums that the file does not have are made of the segment's blocks."""
    used = [state != BlockState.INACTIVE for state in blocks["state"]]
    active = [state == BlockState.ACTIVE for state in blocks["state"]]
    requested = integers(blocks["requested"], "a block's requested size").tolist()
    sums = {
        "total_size": sum(blocks["size"]),
        "allocated_size": sum(compress(blocks["size"], active)),
        "active_size": sum(compress(blocks["size"], used)),
        "requested_size": sum(compress(requested, used)),
    }
    values = (
        segment.get("device", 0),
        segment.get("address"),
        *(segment.get(name, made) for name, made in sums.items()),
        segment.get("stream", 0),
        segment.get("segment_type") == "large",
        segment.get("is_expandable") is True,
    )
    for name, value in zip(_SEGMENT, values, strict=True):
        segments[name].append(value)


def _pool(value: Any) -> tuple[int, ...]:
    if type(value) not in (tuple, list) or len(value) > 2:
        raise ImplausibleError("a segment's pool is not a pair of integers")
    return tuple(integers(value, "a segment's pool").tolist())


def _segments(rows: dict[str, list[Any]]) -> Segments:
    return Segments(
        device=_small(rows["device"], "a segment's device"),
        address=integers(rows["address"], "a segment's address"),
        total=sizes(rows["total"], "a segment's size"),
        allocated=sizes(rows["allocated"], "a segment's allocated size"),
        active=sizes(rows["active"], "a segment's active size"),
        requested=sizes(rows["requested"], "a segment's requested size"),
        stream=integers(rows["stream"], "a segment's stream", least=-(2**63)),
        is_large=np.array(rows["is_large"], np.uint8),
        is_expandable=np.array(rows["is_expandable"], np.uint8),
        pool=np.array(rows["pool"], np.int32),
        stack=np.array(rows["stack"], np.int32),
    )


def _blocks(rows: dict[str, list[Any]]) -> Blocks:
    return Blocks(
        segment=np.array(rows["segment"], np.int32),
        address=integers(rows["address"], "a block's address"),
        size=sizes(rows["size"], "a block's size"),
        requested=sizes(rows["requested"], "a block's requested size"),
        state=np.array(rows["state"], np.uint8),
        stack=np.array(rows["stack"], np.int32),
    )


def _small(values: list[Any], what: str) -> Int32s:
    column = integers(values, what)
    if len(column) and column.max() > np.iinfo(np.int32).max:
        raise ImplausibleError(f"{what} is {column.max()}")
    return column.astype(np.int32)
