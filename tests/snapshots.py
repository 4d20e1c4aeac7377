"""Snapshots of an allocator built by hand, as torch lays them out."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Members = dict[str, Any]

USER = {"name": "forward", "filename": "model.py", "line": 12}
INNER = {"name": "linear", "filename": "functional.py", "line": 3}


def event(
    action: str, address: int, size: int, *, time: int = 0, frames: Sequence[Members] = (), **more: Any
) -> Members:
    """One event of a device's trace; `time` in microseconds."""
    return {
        "action": action, "addr": address, "size": size, "stream": 0, "time_us": time, "compile_context": "N/A",
        "user_metadata": "", "frames": list(frames), **more,
    }  # fmt: skip


def freed(address: int, size: int, *, time: int = 0, **more: Any) -> list[Members]:
    """Both events of a free."""
    return [event(action, address, size, time=time, **more) for action in ("free_requested", "free_completed")]


def block(address: int, size: int, requested: int, state: str = "active_allocated", **more: Any) -> Members:
    """One block of a segment."""
    return {"address": address, "size": size, "requested_size": requested, "state": state, "frames": [], **more}


def segment(address: int, blocks: Sequence[Members], **more: Any) -> Members:
    """A segment of blocks that lie one behind the other."""
    used = [b for b in blocks if b["state"] != "inactive"]
    sizes = {"total_size": sum(b["size"] for b in blocks), "allocated_size": sum(b["size"] for b in used)}
    return {
        "device": 0, "address": address, **sizes, "active_size": sizes["allocated_size"],
        "requested_size": sum(b["requested_size"] for b in used), "stream": 0, "segment_type": "large",
        "segment_pool_id": (0, 0), "is_expandable": False, "frames": [], "blocks": list(blocks), **more,
    }  # fmt: skip


def snapshot(events: Sequence[Members] = (), segments: Sequence[Members] = (), **more: Any) -> Members:
    """A snapshot of one device."""
    return {"device_traces": [list(events)], "segments": list(segments), **more}


def written(path: Path, value: object, protocol: int = 4) -> Path:
    """The value, pickled into a file."""
    path.write_bytes(pickle.dumps(value, protocol))
    return path
