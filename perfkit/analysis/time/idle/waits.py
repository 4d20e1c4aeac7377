"""The host's calls that bear on a gap: those that launch work, that wait for it, and that make a stream wait."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import name_flags
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, union
from perfkit.analysis.attribution.phase_words import is_loading
from perfkit.analysis.kernels import calls
from perfkit.analysis.kernels.copies import host_memory
from perfkit.analysis.time.idle.regions import Pair
from perfkit.schema import python_frames
from perfkit.trace.columns import HostKind, Trace

if TYPE_CHECKING:
    from perfkit.analysis.attribution.attribute import Attribution
    from perfkit.analysis.attribution.host_view import HostView

_NEVER = np.iinfo(np.int64).max


class HostCalls(msgspec.Struct, frozen=True):
    """Rows of the forest, in its order: by thread, and on a thread by time."""

    launching: Ints
    """Calls that launched a device event of the file."""
    waiting: Ints
    """Calls that return when the device has come so far; of those inside each other the outermost."""
    making_wait: Ints
    """Calls that make a stream wait for an event."""


def host_calls(trace: Trace, attribution: Attribution) -> HostCalls:
    """Find the calls. A call that copies waits if it is made to or, of pageable memory, if it ended after its copy."""
    host, launch = attribution.host, attribution.events.launch
    launched = np.zeros(len(host.name), dtype=bool)
    launched[launch[launch != NONE]] = True
    waits = host.is_runtime & host.matching(calls.waits_for_work)
    waits[_outlasting(trace, host, launch)] = True
    streams = host.is_runtime & host.matching(calls.makes_stream_wait)
    return HostCalls(np.flatnonzero(launched), _outermost(host, np.flatnonzero(waits)), np.flatnonzero(streams))


def _outlasting(trace: Trace, host: HostView, launch: Ints) -> Ints:
    """Calls that copy from or to pageable memory and ended after their copy."""
    events = trace.device
    pageable = np.array([host_memory(name) == "pageable" for name in trace.names], dtype=bool)
    rows = np.flatnonzero(pageable[events.name] & (launch != NONE)) if len(pageable) else launch[:0]
    return launch[rows[host.end[launch[rows]] >= events.end[rows]]]


def _outermost(host: HostView, rows: Ints) -> Ints:
    """Rows that end later than every one before them on their thread."""
    keep = np.ones(len(rows), dtype=bool)
    for begin, until in _by_thread(host, rows):
        end = host.end[rows[begin:until]]
        keep[begin + 1 : until] = end[1:] > np.maximum.accumulate(end)[:-1]
    return rows[keep]


def _by_thread(host: HostView, rows: Ints) -> list[tuple[int, int]]:
    """Where the rows of each thread begin and end among rows of the forest."""
    begins = np.flatnonzero(np.diff(host.thread[rows], prepend=NONE)).tolist()
    return list(pairwise([*begins, len(rows)]))


def drained_by(host: HostView, waiting: Ints, thread: Ints, time: Ints) -> Ints:
    """For each thread and time the waiting call that was open on it then, and so returned no earlier; NONE for none."""
    found = np.full(len(time), NONE, dtype=np.int64)
    for begin, until in _by_thread(host, waiting):
        rows = waiting[begin:until]
        asked = np.flatnonzero(thread == host.thread[rows[0]])
        place = np.searchsorted(host.start[rows], time[asked], side="right") - 1
        call = np.where(place < 0, NONE, rows[place])
        found[asked] = np.where((call != NONE) & (at(host.end, call, absent=0) >= time[asked]), call, NONE)
    return found


def next_launch(host: HostView, launching: Ints, call: Ints) -> Ints:
    """When the thread of each call next launched something after it, ns; the largest number for never."""
    found = np.full(len(call), _NEVER, dtype=np.int64)
    for begin, until in _by_thread(host, launching):
        start = host.start[launching[begin:until]]
        asked = np.flatnonzero(host.thread[call] == host.thread[launching[begin]])
        place = np.searchsorted(start, host.end[call[asked]], side="left")
        found[asked] = np.append(start, _NEVER)[place]
    return found


def follows_stream_wait(host: HostView, found: HostCalls, launch: Ints) -> Bools:
    """Launches before which their thread made a stream wait, with no other launch in between."""
    before = np.append(found.launching, NONE)[np.searchsorted(found.launching, launch) - 1]  # NONE for the first one
    wait = np.append(found.making_wait, NONE)[np.searchsorted(found.making_wait, launch) - 1]
    same: Bools = (wait > before) & (at(host.thread, wait, absent=NONE) == host.thread[launch])
    return same


def loading(host: HostView) -> dict[int, Pair]:
    """Thread -> when it was in a range of a data loader, as disjoint intervals in order."""
    rows = ranges_of_loaders(host)
    return {
        int(host.thread[rows[begin]]): union(host.start[rows[begin:until]], host.end[rows[begin:until]])
        for begin, until in _by_thread(host, rows)
    }


def ranges_of_loaders(host: HostView) -> Ints:
    """Rows of ranges and Python frames of a data loader; those that hold steps are none."""
    worded = _of_kind(host, is_loading, HostKind.OP, HostKind.ANNOTATION)
    rows = np.union1d(worded, _of_kind(host, _is_frame_of_loader, HostKind.PYTHON))
    return np.setdiff1d(rows, _round_steps(host))


def _of_kind(host: HostView, test: Callable[[str], bool], *kinds: HostKind) -> Ints:
    """Rows of these kinds whose name passes a test."""
    rows = np.flatnonzero(np.isin(host.kind, kinds))
    return rows[name_flags(host.names, host.name[rows], test)]


def _is_frame_of_loader(name: str) -> bool:
    """Whether a Python frame is in torch's data loader, or is a function whose name says that it gets data."""
    if "torch/utils/data/" in name.replace("\\", "/"):
        return True
    function = name.rpartition("): ")[2]
    return python_frames.is_users(name) and is_loading(function)


def _round_steps(host: HostView) -> Ints:
    """Ranges that hold steps, such as a loop over a loader: what runs in them is no loading."""
    row = np.unique(host.forest.parent[host.is_step])
    holding = [row[:0]]
    while len(row := row[row != NONE]):
        holding.append(row)
        row = np.unique(host.forest.parent[row])
    return np.concatenate(holding)
