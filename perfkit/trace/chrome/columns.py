"""Chrome trace events to columns, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from perfkit.trace.byte_stream import printable
from perfkit.trace.chrome.events import (
    NO_ARGS,
    Args,
    Bools,
    Event,
    Number,
    integers,
    nanoseconds,
    thread_number,
    thread_numbers,
)
from perfkit.trace.columns import (
    BEGIN_END,
    MISSING,
    NO_TIME,
    AutogradFlows,
    Bytes,
    DeviceEvents,
    DeviceKind,
    HostKind,
    HostRanges,
    Int32s,
    Int64s,
    Thread,
    empty,
)
from perfkit.trace.plausible import are_usable

_HOST = {
    "cpu_op": HostKind.OP,
    "operator": HostKind.OP,
    "user_annotation": HostKind.ANNOTATION,
    "python_function": HostKind.PYTHON,
    "cuda_runtime": HostKind.RUNTIME,
    "cuda_driver": HostKind.RUNTIME,
    "runtime": HostKind.RUNTIME,
    "hip_runtime": HostKind.RUNTIME,
    "hip_driver": HostKind.RUNTIME,
    "xpu_runtime": HostKind.RUNTIME,
    "xpu_driver": HostKind.RUNTIME,
    "mtia_runtime": HostKind.RUNTIME,
    "privateuse1_runtime": HostKind.RUNTIME,
    "privateuse1_driver": HostKind.RUNTIME,
}
"""Host categories in lower case: traces of 2021 wrote `Operator`, `Runtime`, `Kernel`, `Memcpy`, `Memset`."""
_DEVICE = {
    "kernel": DeviceKind.KERNEL,
    "gpu_memcpy": DeviceKind.MEMCPY,
    "memcpy": DeviceKind.MEMCPY,
    "gpu_memset": DeviceKind.MEMSET,
    "memset": DeviceKind.MEMSET,
}
_FLOWS = ("fwdbwd", "forward_backward")
_OVERHEAD = "overhead"
"""Pauses that the profiler itself made."""
_MAX_CATEGORIES = 255
_JOINED_CHUNKS = 64

_Codes: TypeAlias = npt.NDArray[np.int64]
_Columns: TypeAlias = dict[str, npt.NDArray[Any]]


class _Target(IntEnum):
    """Which columns an event goes to."""

    NONE = 0
    HOST = 1
    DEVICE = 2
    FLOW = 3
    METADATA = 4
    OVERHEAD = 5


@dataclass(frozen=True, slots=True)
class _Route:
    """What becomes of the events of one phase and category."""

    target: _Target
    kind: int
    label: str
    """The category, for counting."""
    complete: bool


def _route(ph: str, cat: str) -> _Route:
    known = cat.lower()
    if ph == "X" and known in _HOST:
        return _Route(_Target.HOST, _HOST[known], cat, True)
    if ph == "X" and known in _DEVICE:
        return _Route(_Target.DEVICE, _DEVICE[known], cat, True)
    if ph in ("s", "f") and known in _FLOWS:
        return _Route(_Target.FLOW, int(ph == "s"), cat, False)
    if ph == "X" and known == _OVERHEAD:
        return _Route(_Target.OVERHEAD, 0, cat, True)
    if ph == "M":
        return _Route(_Target.METADATA, 0, cat, False)
    if ph in ("B", "E"):
        return _Route(_Target.NONE, 0, BEGIN_END, False)
    return _Route(_Target.NONE, 0, printable(cat) or f"ph {printable(ph)}", ph == "X")


class _Router:
    """Phases and categories to routes: `routes[code]` is what becomes of an event with that code."""

    def __init__(self) -> None:
        self.routes: list[_Route] = []
        self._categories = _Dictionary()
        self._categories.encode((*_HOST, *_DEVICE, *_FLOWS), -1)
        self._codes: Int64s = np.full((_MAX_CATEGORIES + 1, 256), -1, np.int64)

    def encode(self, events: list[Event]) -> _Codes:
        """A code for each event. Categories beyond the first 255 (nonsense, then) share one."""
        cats = self._categories.encode([event.cat for event in events], len(events)).clip(max=_MAX_CATEGORIES)
        phases = [event.ph for event in events]
        letters = np.frombuffer("".join(phases).encode("latin-1", "replace"), np.uint8)
        if len(letters) != len(events) or "" in phases:
            letters = np.array([ord(ph) & 255 if len(ph) == 1 else 0x3F for ph in phases], np.uint8)
        codes: _Codes = self._codes[cats, letters]
        if codes.min(initial=0) < 0:
            names = list(self._categories)
            for cat, letter in set(zip(cats[codes < 0].tolist(), letters[codes < 0].tolist(), strict=True)):
                name = names[cat] if cat < _MAX_CATEGORIES else "other categories"
                self._codes[cat, letter] = len(self.routes)
                self.routes.append(_route(chr(letter), name))
            codes = self._codes[cats, letters]
        return codes


@dataclass(frozen=True, slots=True)
class _Rows:
    """The events of one chunk that go to the same columns."""

    events: list[Event]
    codes: _Codes
    position: Int64s
    """In the file's list of events."""
    kind: Bytes
    name: Int32s
    thread: Int32s


class _Dictionary(dict[Any, int]):
    """Values to consecutive integers, in order of first appearance."""

    def __missing__(self, key: Any) -> int:
        self[key] = code = len(self)
        return code

    def encode(self, values: Iterable[Any], count: int) -> Int32s:
        return np.fromiter(map(self.__getitem__, values), np.int32, count)


@dataclass(slots=True)
class _Pieces:
    """A table's columns as they come, chunk by chunk.

    Joined now and then: as many small arrays as a large file has chunks would leave the heap full of holes.
    """

    joined: list[_Columns] = field(default_factory=list)
    fresh: list[_Columns] = field(default_factory=list)

    def append(self, columns: _Columns) -> None:
        self.fresh.append(columns)
        if len(self.fresh) == _JOINED_CHUNKS:
            self.joined.append({name: np.concatenate([piece[name] for piece in self.fresh]) for name in columns})
            self.fresh.clear()

    def column(self, name: str) -> npt.NDArray[Any]:
        """One whole column, handed over: its pieces are gone then."""
        return np.concatenate([piece.pop(name) for piece in (*self.joined, *self.fresh)])


class ColumnBuilder:
    """Takes events chunk by chunk; `take` then hands over the columns of one kind.

    With kernels_only, everything else is counted and not kept.
    """

    def __init__(self, *, kernels_only: bool = False) -> None:
        self._kernels_only = kernels_only
        self._router = _Router()
        self._counts: Counter[int] = Counter()
        self._untimed: Counter[str] = Counter()
        self._names = _Dictionary()
        self._threads = _Dictionary()
        self._labels: dict[tuple[str, int, int], str] = {}
        self._pieces: dict[type[Any], _Pieces] = {}
        self._seen = 0
        self._all_whole_us = True
        self.negative_durations = 0
        """Events that ended before they started; their length became zero."""
        self.overhead_ns = 0
        """What the profiler's own pauses last in all."""

    def add(self, events: list[Event]) -> None:
        """Append one chunk."""
        codes = self._router.encode(events)
        self._counts.update(dict(enumerate(np.bincount(codes).tolist())))
        targets = np.array([self._target(route) for route in self._router.routes], np.int64)[codes]
        kinds = np.array([route.kind for route in self._router.routes], np.uint8)[codes]
        names = self._encode_names(events, (targets == _Target.HOST) | (targets == _Target.DEVICE))
        threads = self._encode_threads(events, (targets == _Target.HOST) | (targets == _Target.FLOW))
        for target, add in (
            (_Target.HOST, self._add_host),
            (_Target.DEVICE, self._add_device),
            (_Target.FLOW, self._add_flows),
            (_Target.OVERHEAD, self._add_overhead),
        ):
            rows = np.flatnonzero(targets == target)
            if len(rows):
                chosen = [events[row] for row in rows.tolist()]
                add(_Rows(chosen, codes[rows], self._seen + rows, kinds[rows], names[rows], threads[rows]))
        for row in np.flatnonzero(targets == _Target.METADATA).tolist():
            self._add_metadata(events[row])
        self._seen += len(events)

    def _target(self, route: _Route) -> _Target:
        is_kernel = route.target is _Target.DEVICE and route.kind == DeviceKind.KERNEL
        return route.target if is_kernel or not self._kernels_only else _Target.NONE

    def _encode_names(self, events: list[Event], wanted: Bools) -> Int32s:
        codes = np.zeros(len(events), np.int32)
        rows = np.flatnonzero(wanted)
        codes[rows] = self._names.encode([events[row].name for row in rows.tolist()], len(rows))
        return codes

    def _encode_threads(self, events: list[Event], wanted: Bools) -> Int32s:
        """Events of one thread stand together: only the first of each run is looked up."""
        codes = np.zeros(len(events), np.int32)
        rows = np.flatnonzero(wanted)
        if not len(rows):
            return codes
        pids = thread_numbers([events[row].pid for row in rows.tolist()])
        tids = thread_numbers([events[row].tid for row in rows.tolist()])
        change = np.ones(len(rows), np.bool_)
        change[1:] = (pids[1:] != pids[:-1]) | (tids[1:] != tids[:-1])
        first = np.flatnonzero(change)
        runs = self._threads.encode(zip(pids[first].tolist(), tids[first].tolist(), strict=True), len(first))
        codes[rows] = runs[np.cumsum(change) - 1]
        if tids.min() < MISSING:
            for row in rows[np.flatnonzero(tids < MISSING)].tolist():
                self._label("text", events[row].pid, events[row].tid, events[row].tid)
        return codes

    def _add_host(self, rows: _Rows) -> None:
        args = [event.args or NO_ARGS for event in rows.events]
        correlation = integers([a.correlation for a in args])
        sequence = integers([a.sequence for a in args]).clip(MISSING)
        forward_thread = integers([a.forward_thread for a in args])
        index = integers([a.index for a in args])
        start, end, valid = self._times(rows.events)
        columns: _Columns = {
            "name": rows.name,
            "kind": rows.kind,
            "thread": rows.thread,
            "start": start,
            "end": end,
            "correlation": np.where(rows.kind == HostKind.RUNTIME, correlation, MISSING),
            "external_id": _external_ids(args),
            "sequence": sequence,
            "forward_thread": np.where(sequence == MISSING, MISSING, forward_thread.clip(0)),
            "order": np.where(index == MISSING, rows.position, index),
        }
        self._append(HostRanges, columns, valid, rows.codes)

    def _add_device(self, rows: _Rows) -> None:
        events = rows.events
        args = [event.args or NO_ARGS for event in events]
        graph_node = integers([a.graph_node for a in args])
        device = _or_else(integers([a.device for a in args]), [event.pid for event in events])
        start, end, valid = self._times(events)
        columns: _Columns = {
            "name": rows.name,
            "kind": rows.kind,
            "device": np.where((device >= 0) & (device < 1 << 31), device, MISSING).astype(np.int32),
            "stream": _or_else(integers([a.stream for a in args]), [event.tid for event in events]),
            "start": start,
            "end": end,
            "correlation": integers([a.correlation for a in args]),
            "external_id": _external_ids(args),
            "process": np.full(len(events), MISSING, np.int64),
            "bytes": integers([a.bytes for a in args]),
            "graph_node": np.where(graph_node == 0, MISSING, graph_node),  # CUPTI's 0: not in a graph
            "annotation": self._encode_annotations(args),
        }
        self._append(DeviceEvents, columns, valid, rows.codes)

    def _encode_annotations(self, args: list[Args]) -> Int32s:
        codes = np.full(len(args), MISSING, np.int32)
        rows = [row for row, a in enumerate(args) if a.annotation is not None]
        if rows:
            codes[rows] = self._names.encode([str(args[row].annotation) for row in rows], len(rows))
        return codes

    def _add_flows(self, rows: _Rows) -> None:
        time, valid = nanoseconds([event.ts for event in rows.events])
        columns: _Columns = {
            "flow": integers([event.id for event in rows.events]),
            "is_start": rows.kind == 1,
            "thread": rows.thread,
            "time": time,
        }
        self._append(AutogradFlows, columns, valid, rows.codes)

    def _add_overhead(self, rows: _Rows) -> None:
        durations, valid = nanoseconds([event.dur for event in rows.events])
        self.overhead_ns += sum(durations[valid].clip(0).tolist())  # which int64 need not hold

    def _add_metadata(self, event: Event) -> None:
        if event.name in ("thread_name", "process_name") and event.args is not None:
            self._label(event.name, event.pid, event.tid, event.args.name)

    def _label(self, what: str, pid: Number, tid: Number, label: Number) -> None:
        if label not in (None, ""):
            tid = MISSING if what == "process_name" else tid
            self._labels[what, thread_number(pid), thread_number(tid)] = str(label)

    def _times(self, events: list[Event]) -> tuple[Int64s, Int64s, Bools]:
        """Start, end and whether both are known; an event that ends before it starts gets length zero."""
        count = len(events)
        times, valid = nanoseconds([event.ts for event in events] + [event.dur for event in events])
        start, end = times[:count], times[:count] + times[count:]
        valid = valid[:count] & valid[count:] & are_usable(start, end)
        self.negative_durations += int(np.count_nonzero((end < start) & valid))
        return start, np.maximum(start, end), valid

    def _append(self, table: type[Any], columns: _Columns, valid: Bools, codes: _Codes) -> None:
        if not valid.all():
            for code in codes[~valid].tolist():
                self._untimed[f"{self._router.routes[code].label}{NO_TIME}"] += 1
            columns = {name: column[valid] for name, column in columns.items()}
        if self._all_whole_us:
            times = [column for name, column in columns.items() if name in ("start", "end", "time")]
            self._all_whole_us = not any((column % 1000).any() for column in times)
        self._pieces.setdefault(table, _Pieces()).append(columns)

    def take(self, table: type[Any]) -> Any:
        """The finished columns of one kind. They are handed over, not kept: ask once."""
        pieces = self._pieces.pop(table, None)
        return table(*(pieces.column(f.name) for f in fields(table))) if pieces else empty(table)

    def names(self) -> tuple[str, ...]:
        """Every name, in the order of its code."""
        return tuple(self._names)

    def threads(self) -> tuple[Thread, ...]:
        """Every thread that a host range or a flow is on, in the order of its code."""
        return tuple(Thread(pid, tid, self._thread_name(pid, tid)) for pid, tid in self._threads)

    def _thread_name(self, pid: int, tid: int) -> str:
        """What the file calls the thread, else its process, else the text that stands for its number."""
        for where in (("thread_name", pid, tid), ("process_name", pid, MISSING), ("text", pid, tid)):
            if where in self._labels:
                return self._labels[where]
        return ""

    @property
    def events(self) -> int:
        """Complete events taken, of every category."""
        return sum(self._counts[code] for code, route in enumerate(self._router.routes) if route.complete)

    @property
    def ignored(self) -> dict[str, int]:
        """Events that no column holds: category -> how many."""
        found = Counter(self._untimed)
        for code, route in enumerate(self._router.routes):
            if route.target in (_Target.NONE, _Target.OVERHEAD):
                found[route.label] += self._counts[code]
        return dict(found)

    @property
    def resolution_ns(self) -> int:
        """1000 if every time taken is a whole microsecond, else 1."""
        return 1000 if self._all_whole_us and self.events else 1


def _external_ids(args: list[Args]) -> Int64s:
    found = integers([a.external_id for a in args])
    if (found == MISSING).any():
        found = np.where(found == MISSING, integers([a.old_external_id for a in args]), found)
    return found


def _or_else(column: Int64s, others: list[Number]) -> Int64s:
    """The column, with `others` where it is MISSING."""
    return np.where(column == MISSING, integers(others), column) if (column == MISSING).any() else column
