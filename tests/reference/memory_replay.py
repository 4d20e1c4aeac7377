"""The peak of an allocator's snapshot by replaying its events one by one: plain Python, nothing of perfkit's.

Live requested bytes: each piece from its `alloc` to its `free_completed`, and what lived before the first event: freed
without an alloc before it, or live in the segments at the end and never allocated in the recording.
"""

from __future__ import annotations

from typing import Any


def peak(snapshot: dict[str, Any], device: int) -> int:
    """The most bytes that live at once on a device of a snapshot as PyTorch pickles it."""
    events = [event for event in snapshot["device_traces"][device] if event["action"] in ("alloc", "free_completed")]
    used = most = _before(snapshot, events, device)
    live: dict[int, int] = {}
    for event in events:
        address, size = event["addr"], event["size"]
        if event["action"] == "alloc":
            used += size - live.get(address, 0)  # an alloc where something lives says that its free was lost
            live[address] = size
        else:
            used -= live.pop(address, size)
        most = max(most, used)
    return most


def _before(snapshot: dict[str, Any], events: list[dict[str, Any]], device: int) -> int:
    before, live, allocated = 0, set(), set()
    for event in events:
        if event["action"] == "alloc":
            live.add(event["addr"])
            allocated.add(event["addr"])
        elif event["addr"] in live:
            live.remove(event["addr"])
        else:
            before += event["size"]
    for segment in snapshot["segments"]:
        for block in segment["blocks"] if segment["device"] == device else ():
            if block["state"] != "inactive" and block["address"] not in allocated:
                before += block["requested_size"]
    return before
