"""Tell devices apart in files merged from several processes, which each number their devices from 0.

An event says its device (`args.device`) and, as the lane that it is drawn in, a `pid`: the device's number again, or in
a merged file what the merging program made of it to keep the processes apart: a text (`[TP00] 0`; sglang's
profile_merger.py) or a number with an offset for each process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from perfkit.trace.columns import MISSING, TraceDevice

_LARGEST_PID = 2**22
"""Of a process on 64-bit Linux (PID_MAX_LIMIT in linux/threads.h)."""
_MOST = 1 << 31
"""Device numbers lie below it."""


class Lane(msgspec.Struct, frozen=True):
    """The device of some events, as the file states it."""

    index: int
    """`args.device`; MISSING where it is not said."""
    pid: int
    """As an integer: `events.thread_number`."""


class Identified(msgspec.Struct, frozen=True):
    """Which device each lane is."""

    numbers: tuple[int, ...]
    """The device's number, unique in the trace, of each lane."""
    processes: tuple[int, ...]
    """The process that launches the lane's events; all MISSING unless it is known of each lane."""
    devices: tuple[TraceDevice, ...]
    """Devices whose labels are not their numbers; empty in the usual file."""


def identify(
    lanes: Sequence[Lane], texts: Mapping[int, str], hosts: Sequence[int], name_of: Callable[[int], str]
) -> Identified:
    """Give each lane a device: lanes of one number are several where their pids differ.

    `texts` has the pids that are texts, by number; `hosts` the pids of host ranges; `name_of` a process's name.
    """
    said = [_with_index(lane, lanes) for lane in lanes]
    first = {lane.index: lane for lane in reversed(said)}
    repeated = any(lane != first[lane.index] for lane in said)
    is_merged = repeated or any(lane.pid in texts for lane in said) or len({_offset(lane) for lane in said}) > 1
    owners = _owners(said, texts, hosts) if is_merged else (MISSING,)
    processes = (MISSING,) * len(lanes) if MISSING in owners else owners
    if not repeated and not any(lane.index == MISSING and lane.pid in texts for lane in said):
        return Identified(tuple(lane.index for lane in said), processes, ())
    fresh = iter(range(max(first) + 1, _MOST))
    numbers = {lane: lane.index if lane == first[lane.index] else next(fresh) for lane in dict.fromkeys(said)}
    labels = _unique(_label(lane, texts.get(lane.pid), name_of(lane.pid)) for lane in numbers)
    devices = tuple(TraceDevice(numbers[lane], label, lane.index) for lane, label in zip(numbers, labels, strict=True))
    return Identified(tuple(numbers[lane] for lane in said), processes, devices)


def _with_index(lane: Lane, lanes: Sequence[Lane]) -> Lane:
    """The lane, with the device that others of its pid say, or the pid for it, as in Kineto, where it says none."""
    if lane.index != MISSING:
        return lane
    others = {other.index for other in lanes if other.pid == lane.pid} - {MISSING}
    index = others.pop() if len(others) == 1 else lane.pid
    return Lane(index if 0 <= index < _MOST else MISSING, lane.pid)


def _label(lane: Lane, text: str | None, name: str) -> str:
    """The process's label and the device's number, once."""
    if lane.index == MISSING:
        return text or "unknown"
    if text is None:
        return f"{lane.pid}/{lane.index}" + (f" {name}" if name else "")
    return text if re.search(rf"(?<!\d){lane.index}$", text) else f"{text} {lane.index}"


def _unique(labels: Iterator[str]) -> list[str]:
    """The labels; one that was there before has a number behind it."""
    found: dict[str, None] = {}
    for label in labels:
        spelled, again = label, 1
        while spelled in found:
            again += 1
            spelled = f"{label} ({again})"
        found[spelled] = None
    return list(found)


def _owners(lanes: Sequence[Lane], texts: Mapping[int, str], hosts: Sequence[int]) -> tuple[int, ...]:
    """The host process of each lane, where its pid tells: by what is the same in both texts, or by the offset."""
    fronts = {pid: _without_a_number(texts[pid]) for pid in (*hosts, *(lane.pid for lane in lanes)) if pid in texts}
    offsets = {_offset(lane) for lane in lanes if lane.pid not in texts}
    of_offset = _of_offsets(offsets, [pid for pid in hosts if pid not in texts])
    owners = []
    for lane in lanes:
        if lane.pid in texts:
            alike = [pid for pid in hosts if pid in fronts and fronts[pid] & fronts[lane.pid]]
            owners.append(alike[0] if len(alike) == 1 else MISSING)
        else:
            owners.append(of_offset.get(_offset(lane), MISSING))
    return tuple(owners)


def _offset(lane: Lane) -> int:
    return lane.pid - lane.index


def _of_offsets(offsets: set[int], hosts: Sequence[int]) -> dict[int, int]:
    """The host process of each offset, if there is one way only to give each its own; else of none.

    What is left of a process's pid without the offset is a number below _LARGEST_PID, so 100,005 may be 100,005 of
    offset 0 or 5 of offset 100,000; but where 100,000 has no other, offset 0 has the other one. If there is one way,
    some offset has a single process that fits, without it the same is true of the rest, and so on.
    """
    fitting = {offset: {pid for pid in hosts if 0 <= pid - offset < _LARGEST_PID} for offset in offsets}
    found: dict[int, int] = {}
    while fitting:
        offset = next((offset for offset, pids in fitting.items() if len(pids) == 1), None)
        if offset is None:
            return {}
        (found[offset],) = fitting.pop(offset)
        for pids in fitting.values():
            pids.discard(found[offset])
    return found


def _without_a_number(text: str) -> frozenset[str]:
    """The text without one of its numbers, whichever: `[TP00] 5000` and `[TP00] 0` share `[TP00] `."""
    return frozenset(text[: found.start()] + text[found.end() :] for found in re.finditer(r"\d+", text))
