"""Convert Chrome trace events to columns, chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import chain, islice, pairwise
from typing import Any

import msgspec
import numpy as np

from perfkit.schema.python_frames import innermost_of_user
from perfkit.trace.chrome.annotations import annotation
from perfkit.trace.chrome.devices import Identified, Lane, identify
from perfkit.trace.chrome.events import (
    NO_ARGS,
    NOTHING,
    Args,
    Bools,
    Event,
    Number,
    decode,
    integers,
    nanoseconds,
    text_of,
    thread_number,
    thread_numbers,
)
from perfkit.trace.chrome.old_ranges import OLD_CATEGORY
from perfkit.trace.chrome.routing import Codes, Columns, Dictionary, Pieces, Router, Target
from perfkit.trace.columns import (
    LONGEST_NAME,
    MAX_NS,
    MISSING,
    NO_TIME,
    Arguments,
    AutogradFlows,
    Bytes,
    Content,
    DeviceEvents,
    HostKind,
    HostRanges,
    Int32s,
    Int64s,
    Thread,
    empty,
)
from perfkit.trace.plausible import are_usable

_SEPARATOR = b"\0"
"""Stands in no JSON text, which has control characters as escapes only."""
_NO_ARGUMENTS = _SEPARATOR * 3
_NAMES = ((HostRanges, "name"), (HostRanges, "frame"), (DeviceEvents, "name"), (DeviceEvents, "annotation"))
"""The columns whose codes stand for names, in the order in which `names` has theirs."""
_THREADS = ((HostRanges, "thread"), (AutogradFlows, "thread"))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The events of one chunk that go to the same columns."""

    events: list[Event]
    codes: Codes
    position: Int64s
    """Position in the file's list of events."""
    kind: Bytes


class _ArgumentTexts(Dictionary):
    """Texts of arguments and their codes; one that is longer than any name has the code of what is left of it."""

    def __missing__(self, text: bytes) -> int:
        kept = text if len(text) <= LONGEST_NAME else _shortened(text)
        return super().__missing__(text) if kept == text else self[kept]


class ColumnBuilder:
    """Takes events chunk by chunk; `take` then returns the columns of one kind.

    With Content.KERNELS, all other events are counted and not stored.
    """

    decode = staticmethod(decode)

    def __init__(self, *, content: Content = Content.ALL) -> None:
        self._content = content
        self._router = Router()
        self._counts: Counter[int] = Counter()
        self._untimed: Counter[str] = Counter()
        self._coded: dict[tuple[type[Any], str], Dictionary] = {key: Dictionary() for key in (*_NAMES, *_THREADS)}
        """The names or threads of each such column, in the order of the file, however it was cut into chunks."""
        self._lanes = Dictionary()
        self._pid_texts: dict[int, str] = {}
        self._labels: dict[tuple[str, int, int], str] = {}
        self._frames: dict[bytes, int] = {}
        """Call stacks of 2021, and the code of the user's frame in each."""
        self._arguments = _ArgumentTexts({_NO_ARGUMENTS: 0})
        self._pieces: dict[type[Any], Pieces] = {}
        self._is_old = False
        """Whether the file is of 2021."""
        self._seen = 0
        self._all_whole_us = True
        self.negative_durations = 0
        """Events that ended before they started; their duration was set to zero."""
        self.overhead_ns = 0
        """Total duration of the profiler's own pauses."""
        self.unknown: dict[str, tuple[int, int]] = {}
        """Events with a duration whose category says too little: category -> count and ns, as in ReadFacts."""

    def add(self, events: list[Event]) -> None:
        """Append one chunk."""
        codes = self._router.encode(events)
        self._counts.update(dict(enumerate(np.bincount(codes).tolist())))
        targets = self._router.targets(content=self._content)[codes]
        self._is_old = self.has(OLD_CATEGORY)
        kinds = np.array([route.kind for route in self._router.routes], np.uint8)[codes]
        for target, add in (
            (Target.HOST, self._add_host),
            (Target.DEVICE, self._add_device),
            (Target.FLOW, self._add_flows),
            (Target.OVERHEAD, self._add_overhead),
            (Target.UNKNOWN, self._add_unknown),
        ):
            rows = np.flatnonzero(targets == target)
            if len(rows):
                chosen = [events[row] for row in rows.tolist()]
                add(_Rows(chosen, codes[rows], self._seen + rows, kinds[rows]))
        for row in np.flatnonzero(targets == Target.METADATA).tolist():
            self._add_metadata(events[row])
        self._seen += len(events)

    def _encode_threads(self, events: list[Event], coded: Dictionary) -> Int32s:
        """Events of one thread are mostly adjacent, so only the first of each run is looked up."""
        pids = thread_numbers([event.pid for event in events])
        tids = thread_numbers([event.tid for event in events])
        change = np.ones(len(events), np.bool_)
        change[1:] = (pids[1:] != pids[:-1]) | (tids[1:] != tids[:-1])
        first = np.flatnonzero(change)
        if pids.min() < MISSING:
            self._keep_texts(pids[first], [events[row].pid for row in first.tolist()])
        runs = coded.encode(zip(pids[first].tolist(), tids[first].tolist(), strict=True))
        if tids.min() < MISSING:
            for row in np.flatnonzero(tids < MISSING).tolist():
                self._label("text", events[row].pid, events[row].tid, events[row].tid)
        return runs[np.cumsum(change) - 1]

    def _add_host(self, rows: _Rows) -> None:
        args = [event.args or NO_ARGS for event in rows.events]
        index = integers([a.index for a in args])
        start, end, valid = self._times(rows.events)
        columns: Columns = {
            "name": self._coded[HostRanges, "name"].encode([event.name for event in rows.events]),
            "kind": rows.kind,
            "thread": self._encode_threads(rows.events, self._coded[HostRanges, "thread"]),
            "start": start,
            "end": end,
            "order": np.where(index == MISSING, rows.position, index),
        }
        calls = np.flatnonzero((rows.kind != HostKind.PYTHON) & valid)
        if len(calls) == len(args):
            columns |= self._calls(args, rows.kind)
        else:  # frames of Python, most of some files, have no numbers and no arguments
            for name, column in self._calls([args[row] for row in calls.tolist()], rows.kind[calls]).items():
                columns[name] = np.full(len(args), MISSING, column.dtype)
                columns[name][calls] = column
        self._append(HostRanges, columns, valid, rows.codes)

    def _calls(self, args: list[Args], kind: Bytes) -> Columns:
        correlation = integers([a.correlation for a in args])
        sequence = integers([a.sequence for a in args]).clip(MISSING)
        forward_thread = np.full(len(args), MISSING, np.int64)
        numbered = np.flatnonzero(sequence != MISSING)
        forward_thread[numbered] = integers([args[row].forward_thread for row in numbered.tolist()]).clip(0)
        return {
            "correlation": np.where(kind == HostKind.RUNTIME, correlation, MISSING),
            "external_id": _external_ids(args),
            "sequence": sequence,
            "forward_thread": forward_thread,
            "frame": self._encode_frames(args),
            "arguments": self._encode_arguments(args),
        }

    def _add_device(self, rows: _Rows) -> None:
        events = rows.events
        args, pids = [event.args or NO_ARGS for event in events], [event.pid for event in events]
        graph_node = integers([a.graph_node for a in args])
        start, end, valid = self._times(events)
        mixed = [code for code, route in enumerate(self._router.routes) if route.is_unsorted]
        if mixed:
            unsorted = np.isin(rows.codes, mixed) & valid
            self._count_unknown(rows.codes[unsorted], (end - start)[unsorted])
        columns: Columns = {
            "name": self._coded[DeviceEvents, "name"].encode([event.name for event in events]),
            "kind": rows.kind,
            "device": self._lanes.encode(zip([a.device for a in args], pids, strict=True)),  # for now
            "stream": _or_else(integers([a.stream for a in args]), [event.tid for event in events]),
            "start": start,
            "end": end,
            "correlation": integers([a.correlation for a in args]),
            "external_id": _external_ids(args),
            "process": np.full(len(events), MISSING, np.int64),
            "bytes": integers([a.bytes for a in args]),
            "graph_node": np.where(graph_node == 0, MISSING, graph_node),  # CUPTI's 0: not in a graph
            "annotation": self._encode_annotations(args, graph_node > 0),
        }
        self._append(DeviceEvents, columns, valid, rows.codes)

    def _keep_texts(self, pids: Int64s, given: list[Number]) -> None:
        """Keep the pids that are texts, for the labels of devices."""
        for row in np.flatnonzero(pids < MISSING).tolist():
            if isinstance(given[row], str):
                self._pid_texts[int(pids[row])] = str(given[row])

    def _encode_frames(self, args: list[Args]) -> Int32s:
        """The user's frame in each operator's call stack: few are different, and inner operators have the outer's."""
        if not self._is_old or (stacks := [a.call_stack for a in args]).count(NOTHING) == len(args):
            return np.full(len(args), MISSING, np.int32)
        first = [0, *(row for row, (a, b) in enumerate(pairwise(stacks), 1) if a != b)]
        frames = np.array([self._frame(bytes(stacks[row])) for row in first], np.int32)
        return np.repeat(frames, np.diff(first, append=len(stacks)))

    def _frame(self, stack: bytes) -> int:
        """The code of the user's frame in a call stack, MISSING for none."""
        code = self._frames.get(stack)
        if code is None:
            frame = innermost_of_user(text_of(stack))
            code = MISSING if frame is None else self._coded[HostRanges, "frame"][frame]
            self._frames[stack] = code
        return code

    def _encode_arguments(self, args: list[Args]) -> Int32s:
        """What is said of each operator's arguments. Files with shapes have them nearly everywhere, others nowhere."""
        codes = np.full(len(args), MISSING, np.int32)
        shapes = [a.shapes for a in args]
        if self._is_old:
            shapes = [b if a is NOTHING else a for a, b in zip(shapes, [a.old_shapes for a in args], strict=True)]
        if shapes.count(NOTHING) < len(args):
            others = [a.dtypes for a in args], [a.strides for a in args], [a.values for a in args]
            codes = self._encode_texts(map(_SEPARATOR.join, zip(shapes, *others, strict=True)))
        if (collectives := [a.collective for a in args]).count(NOTHING) < len(args):
            rows = [row for row, collective in enumerate(collectives) if collective is not NOTHING]
            codes[rows] = self._encode_texts(_SEPARATOR.join((shapes[row], *_others(args[row]))) for row in rows)
        return codes

    def _encode_texts(self, texts: Iterable[bytes]) -> Int32s:
        """The code of each text of arguments; MISSING where it says nothing."""
        return self._arguments.encode(texts) - 1

    def _encode_annotations(self, args: list[Args], in_graph: Bools) -> Int32s:
        codes = np.full(len(args), MISSING, np.int32)
        said = [a.annotation is not None or a.module_fqn is not None or a.fqn is not None for a in args]
        if True not in said and not in_graph.any():  # `name` and `str` count in graphs only
            return codes
        maybe = np.flatnonzero(in_graph | np.array(said)).tolist()
        texts = {row: text for row in maybe if (text := annotation(args[row], in_graph=bool(in_graph[row])))}
        if texts:
            codes[list(texts)] = self._coded[DeviceEvents, "annotation"].encode(texts.values())
        return codes

    def _add_flows(self, rows: _Rows) -> None:
        time, valid = nanoseconds([event.ts for event in rows.events])
        columns: Columns = {
            "flow": integers([event.id for event in rows.events]),
            "is_start": rows.kind == 1,
            "thread": self._encode_threads(rows.events, self._coded[AutogradFlows, "thread"]),
            "time": time,
        }
        self._append(AutogradFlows, columns, valid, rows.codes)

    def _add_overhead(self, rows: _Rows) -> None:
        durations, valid = nanoseconds([event.dur for event in rows.events])
        self.overhead_ns += sum(durations[valid].clip(0).tolist())  # a sum that int64 may not hold

    def _add_unknown(self, rows: _Rows) -> None:
        durations, valid = nanoseconds([event.dur for event in rows.events])
        self._count_unknown(rows.codes, np.where(valid, durations, 0).clip(0, MAX_NS))

    def _count_unknown(self, codes: Codes, durations: Int64s) -> None:
        for code in np.unique(codes[durations > 0]).tolist():
            times = durations[(codes == code) & (durations > 0)].tolist()  # a sum that int64 may not hold
            label = self._router.routes[code].label
            count, total = self.unknown.get(label, (0, 0))
            self.unknown[label] = count + len(times), total + sum(times)

    def _add_metadata(self, event: Event) -> None:
        if event.name in ("thread_name", "process_name") and event.args is not None:
            self._label(event.name, event.pid, event.tid, event.args.name)

    def _label(self, what: str, pid: Number, tid: Number, label: Number) -> None:
        if label not in (None, ""):
            tid = MISSING if what == "process_name" else tid
            self._labels[what, thread_number(pid), thread_number(tid)] = str(label)

    def _times(self, events: list[Event]) -> tuple[Int64s, Int64s, Bools]:
        """Start, end and whether both are known; an event that ends before it starts gets duration zero."""
        start, end, valid = event_times(events)
        self.negative_durations += int(np.count_nonzero((end < start) & valid))
        return start, np.maximum(start, end), valid

    def _append(self, table: type[Any], columns: Columns, valid: Bools, codes: Codes) -> None:
        if not valid.all():
            for code in codes[~valid].tolist():
                self._untimed[f"{self._router.routes[code].label}{NO_TIME}"] += 1
            columns = {name: column[valid] for name, column in columns.items()}
        if self._all_whole_us:
            times = [column for name, column in columns.items() if name in ("start", "end", "time")]
            self._all_whole_us = not any((column % 1000).any() for column in times)
        self._pieces.setdefault(table, Pieces()).append(columns)

    def take(self, table: type[Any]) -> Any:
        """Return the finished columns of one kind. They are not kept: call this once for each kind."""
        pieces = self._pieces.pop(table, None)
        columns = table(*(self._column(pieces, table, f.name) for f in fields(table))) if pieces else empty(table)
        if not isinstance(columns, DeviceEvents) or not len(columns):
            return columns
        found, lane = self.identified(), columns.device
        number, process = np.array(found.numbers, np.int32)[lane], np.array(found.processes, np.int64)[lane]
        return replace(columns, device=number, process=process)

    def _column(self, pieces: Pieces, table: type[Any], name: str) -> Any:
        """One whole column; the codes of its own names or threads become those of all, and MISSING stays."""
        column = pieces.column(name)
        if (table, name) not in self._coded:
            return column
        among = self._joined(_NAMES if (table, name) in _NAMES else _THREADS)
        return np.array([*map(among.__getitem__, self._coded[table, name]), MISSING], np.int32)[column]

    def _joined(self, columns: tuple[tuple[type[Any], str], ...]) -> Dictionary:
        """What some columns have codes for, each once."""
        joined = Dictionary()
        joined.encode(chain.from_iterable(self._coded[column] for column in columns))
        return joined

    def identified(self) -> Identified:
        """Which device the events of each lane ran on, once all events are there."""
        lanes = [Lane(_device_index(index), thread_number(pid)) for index, pid in self._lanes]
        self._keep_texts(thread_numbers(given := [pid for _, pid in self._lanes]), given)
        hosts = list(dict.fromkeys(pid for pid, _ in self._joined(_THREADS)))
        return identify(lanes, self._pid_texts, hosts, lambda pid: self._labels.get(("process_name", pid, MISSING), ""))

    def arguments(self) -> tuple[Arguments, ...]:
        """The different arguments of operators, in the order of the codes."""
        return tuple(map(_arguments, islice(self._arguments, 1, None)))

    def names(self) -> tuple[str, ...]:
        """Every name, in the order of the codes."""
        return tuple(self._joined(_NAMES))

    def threads(self) -> tuple[Thread, ...]:
        """Every thread that has a host range or a flow, in the order of the codes."""
        return tuple(Thread(pid, tid, self._thread_name(pid, tid)) for pid, tid in self._joined(_THREADS))

    def _thread_name(self, pid: int, tid: int) -> str:
        """The file's name for the thread, else for its process, else the text that its number stands for."""
        for where in (("thread_name", pid, tid), ("process_name", pid, MISSING), ("text", pid, tid)):
            if where in self._labels:
                return self._labels[where]
        return ""

    def has(self, category: str) -> bool:
        """Whether the file has events of a category, which is in lower case."""
        return any(route.label.lower() == category for route in self._router.routes)

    @property
    def events(self) -> int:
        """Complete events taken, of all categories."""
        return sum(self._counts[code] for code, route in enumerate(self._router.routes) if route.complete)

    @property
    def ignored(self) -> dict[str, int]:
        """Events that are in no column: category -> count."""
        counts = Counter(self._untimed)
        for code, route in enumerate(self._router.routes):
            if not route.target.is_used:
                counts[route.label] += self._counts[code]
        return dict(counts)

    @property
    def resolution_ns(self) -> int:
        """1000 if every time taken is a whole microsecond, else 1."""
        return 1000 if self._all_whole_us and self.events else 1


def event_times(events: list[Event]) -> tuple[Int64s, Int64s, Bools]:
    """Return start, end and whether they are valid. Events without valid times get no row."""
    count = len(events)
    times, valid = nanoseconds([event.ts for event in events] + [event.dur for event in events])
    start, end = times[:count], times[:count] + times[count:]
    return start, end, valid[:count] & valid[count:] & are_usable(start, end)


def _device_index(value: Number) -> int:
    index = int(integers([value])[0])
    return index if 0 <= index < 1 << 31 else MISSING


def _others(a: Args) -> tuple[msgspec.Raw, ...]:
    """All that is said of a collective's arguments but their shapes."""
    return a.dtypes, a.strides, a.values, a.collective, a.elements_in, a.elements_out, a.ranks, a.dtype


def _shortened(text: bytes) -> bytes:
    """Leave out what is longer than any name."""
    return _SEPARATOR.join(part if len(part) <= LONGEST_NAME else b"" for part in text.split(_SEPARATOR))


def _arguments(text: bytes) -> Arguments:
    parts = text.split(_SEPARATOR)
    message = b"[" + b",".join(part or b"null" for part in parts[4:]) + b"]" if parts[4:] else b""
    return Arguments(*(part.decode("utf-8", "replace") for part in (*parts[:4], message)))


def _external_ids(args: list[Args]) -> Int64s:
    ids = integers([a.external_id for a in args])
    rows = np.flatnonzero(ids == MISSING)
    ids[rows] = integers([args[row].old_external_id for row in rows.tolist()])
    return ids


def _or_else(column: Int64s, others: list[Number]) -> Int64s:
    """Return the column, with `others` in place of MISSING."""
    return np.where(column == MISSING, integers(others), column) if (column == MISSING).any() else column
