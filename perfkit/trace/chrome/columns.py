"""Convert Chrome trace events to columns, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import compress, pairwise

import msgspec
import numpy as np

from perfkit.schema.python_frames import innermost_of_user
from perfkit.trace.chrome.annotations import annotation
from perfkit.trace.chrome.events import (
    NO_ARGS,
    NOTHING,
    Args,
    Event,
    Number,
    decode_array,
    integers,
    text_of,
    thread_numbers,
    without_kernels,
)
from perfkit.trace.chrome.gathered import SEPARATOR, Gathered
from perfkit.trace.chrome.old_ranges import OLD_CATEGORY
from perfkit.trace.chrome.routing import Codes, Columns, Dictionary, Target
from perfkit.trace.chrome.times import Bools, nanoseconds
from perfkit.trace.columns import (
    MAX_NS,
    MISSING,
    AutogradFlows,
    Bytes,
    Content,
    DeviceEvents,
    HostKind,
    HostRanges,
    Int32s,
    Int64s,
)
from perfkit.trace.plausible import are_usable


class _Rows(msgspec.Struct, frozen=True):
    """The events of one chunk that go to the same columns."""

    events: list[Event]
    codes: Codes
    position: Int64s
    """Position in the file's list of events."""
    kind: Bytes


class ColumnBuilder(Gathered):
    """Takes events chunk by chunk; `take` then returns the columns of one kind.

    With Content.KERNELS, all other events are counted and not stored, and of kernels only names and times are. With
    `floats`, times are read as floats, and RoundedError says where that is not exact.
    """

    def __init__(self, *, content: Content = Content.ALL, floats: bool = False) -> None:
        self.content = content
        self.floats = floats
        super().__init__()
        self._frames: dict[bytes, int] = {}
        """Call stacks of 2021, and the code of the user's frame in each."""
        self._is_old = False
        """Whether the file is of 2021."""
        self._expects_kernels = False
        """Whether the chunk before had kernels: Kineto writes all of the host's events first, then the device's."""

    def decode(self, text: bytes | memoryview) -> list[Event]:
        """Decode the events in a text, comma-separated objects; raises one of DECODE_ERRORS."""
        array, events = b"".join((b"[", text, b"]")), None
        if self.content is Content.KERNELS and not self._expects_kernels:
            events = without_kernels(array)
        return decode_array(array, self.content, floats=self.floats) if events is None else events

    def add(self, events: list[Event]) -> None:
        """Append one chunk."""
        codes = self.router.encode(events)
        counts = np.bincount(codes).tolist()
        self.counts.update(dict(enumerate(counts)))
        self._is_old = self.has(OLD_CATEGORY)
        by_code = self.router.targets(content=self.content)
        there = {target for target, count in zip(by_code.tolist(), counts, strict=False) if count}
        self._expects_kernels = Target.DEVICE in there
        for target, add in (
            (Target.HOST, self._add_host),
            (Target.DEVICE, self._add_device),
            (Target.FLOW, self._add_flows),
            (Target.OVERHEAD, self._add_overhead),
            (Target.UNKNOWN, self._add_unknown),
            (Target.METADATA, self._add_metadata),
        ):
            if target in there:
                add(self._rows(events, codes, by_code == target))
        self.seen += len(events)

    def _rows(self, events: list[Event], codes: Codes, wanted: Bools) -> _Rows:
        """The events whose route is wanted."""
        chosen = wanted[codes]
        rows = np.flatnonzero(chosen)
        codes = codes[rows]
        kinds = np.array([route.kind for route in self.router.routes], np.uint8)[codes]
        return _Rows(list(compress(events, chosen.tobytes())), codes, self.position + rows, kinds)

    def finish(self) -> None:
        """No chunk follows."""

    def close(self) -> None:
        """Nothing here needs an end."""

    def _encode_threads(self, events: list[Event], coded: Dictionary) -> Int32s:
        """Events of one thread are mostly adjacent, so only the first of each run is looked up."""
        pids = thread_numbers([event.pid for event in events])
        tids = thread_numbers([event.tid for event in events])
        change = np.ones(len(events), np.bool_)
        change[1:] = (pids[1:] != pids[:-1]) | (tids[1:] != tids[:-1])
        first = np.flatnonzero(change)
        if pids.min() < MISSING:
            self.keep_texts(pids[first], [events[row].pid for row in first.tolist()])
        runs = coded.encode(zip(pids[first].tolist(), tids[first].tolist(), strict=True))
        if tids.min() < MISSING:
            for row in np.flatnonzero(tids < MISSING).tolist():
                self.label("text", events[row].pid, events[row].tid, events[row].tid)
        return runs[np.cumsum(change) - 1]

    def _add_host(self, rows: _Rows) -> None:
        args = [event.args or NO_ARGS for event in rows.events]
        index = integers([a.index for a in args])
        start, end, valid = self._times(rows.events)
        columns: Columns = {
            "name": self.coded[HostRanges, "name"].encode([event.name for event in rows.events]),
            "kind": rows.kind,
            "thread": self._encode_threads(rows.events, self.coded[HostRanges, "thread"]),
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
        self.append(HostRanges, columns, valid, rows.codes)

    def _calls(self, args: list[Args], kind: Bytes) -> Columns:
        correlation = np.full(len(args), MISSING, np.int64)
        launches = np.flatnonzero(kind == HostKind.RUNTIME)
        correlation[launches] = integers([args[row].correlation for row in launches.tolist()])
        sequence = integers([a.sequence for a in args]).clip(MISSING)
        forward_thread = np.full(len(args), MISSING, np.int64)
        numbered = np.flatnonzero(sequence != MISSING)
        forward_thread[numbered] = integers([args[row].forward_thread for row in numbered.tolist()]).clip(0)
        return {
            "correlation": correlation,
            "external_id": _external_ids(args),
            "sequence": sequence,
            "forward_thread": forward_thread,
            "frame": self._encode_frames(args),
            "arguments": self._encode_arguments(args),
        }

    def _add_device(self, rows: _Rows) -> None:
        events = rows.events
        start, end, valid = self._times(events)
        mixed = [code for code, route in enumerate(self.router.routes) if route.is_unsorted]
        if mixed:
            unsorted = np.isin(rows.codes, mixed) & valid
            self._count_unknown(rows.codes[unsorted], (end - start)[unsorted])
        columns: Columns = {
            "name": self.coded[DeviceEvents, "name"].encode([event.name for event in events]),
            "kind": rows.kind,
            "start": start,
            "end": end,
        }
        if self.content is Content.ALL:
            columns |= self._places(events)
        self.append(DeviceEvents, columns, valid, rows.codes)

    def _places(self, events: list[Event]) -> Columns:
        """Where they ran, and what they belong to."""
        args, pids = [event.args or NO_ARGS for event in events], [event.pid for event in events]
        graph_node = integers([a.graph_node for a in args])
        return {
            "device": self.lanes.encode(zip([a.device for a in args], pids, strict=True)),  # for now
            "stream": _or_else(integers([a.stream for a in args]), [event.tid for event in events]),
            "correlation": integers([a.correlation for a in args]),
            "external_id": _external_ids(args),
            "process": np.full(len(events), MISSING, np.int64),
            "bytes": integers([a.bytes for a in args]),
            "graph_node": np.where(graph_node == 0, MISSING, graph_node),  # CUPTI's 0: not in a graph
            "annotation": self._encode_annotations(args, graph_node > 0),
        }

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
            code = MISSING if frame is None else self.coded[HostRanges, "frame"][frame]
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
            codes = self._encode_texts(map(SEPARATOR.join, zip(shapes, *others, strict=True)))
        if (collectives := [a.collective for a in args]).count(NOTHING) < len(args):
            rows = [row for row, collective in enumerate(collectives) if collective is not NOTHING]
            codes[rows] = self._encode_texts(SEPARATOR.join((shapes[row], *_others(args[row]))) for row in rows)
        return codes

    def _encode_texts(self, texts: Iterable[bytes]) -> Int32s:
        """The code of each text of arguments; MISSING where it says nothing."""
        return self.texts.encode(texts) - 1

    def _encode_annotations(self, args: list[Args], in_graph: Bools) -> Int32s:
        codes = np.full(len(args), MISSING, np.int32)
        said = [a.annotation is not None or a.module_fqn is not None or a.fqn is not None for a in args]
        if True not in said and not in_graph.any():  # `name` and `str` count in graphs only
            return codes
        maybe = np.flatnonzero(in_graph | np.array(said)).tolist()
        texts = {row: text for row in maybe if (text := annotation(args[row], in_graph=bool(in_graph[row])))}
        if texts:
            codes[list(texts)] = self.coded[DeviceEvents, "annotation"].encode(texts.values())
        return codes

    def _add_flows(self, rows: _Rows) -> None:
        time, valid = nanoseconds([event.ts for event in rows.events])
        columns: Columns = {
            "flow": integers([event.id for event in rows.events]),
            "is_start": rows.kind == 1,
            "thread": self._encode_threads(rows.events, self.coded[AutogradFlows, "thread"]),
            "time": time,
        }
        self.append(AutogradFlows, columns, valid, rows.codes)

    def _add_overhead(self, rows: _Rows) -> None:
        durations, valid = nanoseconds([event.dur for event in rows.events])
        self.overhead_ns += sum(durations[valid].clip(0).tolist())  # a sum that int64 may not hold

    def _add_unknown(self, rows: _Rows) -> None:
        durations, valid = nanoseconds([event.dur for event in rows.events])
        self._count_unknown(rows.codes, np.where(valid, durations, 0).clip(0, MAX_NS))

    def _count_unknown(self, codes: Codes, durations: Int64s) -> None:
        for code in np.unique(codes[durations > 0]).tolist():
            times = durations[(codes == code) & (durations > 0)].tolist()  # a sum that int64 may not hold
            self.count_unknown(self.router.routes[code].label, len(times), sum(times))

    def _add_metadata(self, rows: _Rows) -> None:
        for event in rows.events:
            if event.name in ("thread_name", "process_name") and event.args is not None:
                self.label(event.name, event.pid, event.tid, event.args.name)

    def _times(self, events: list[Event]) -> tuple[Int64s, Int64s, Bools]:
        """Start, end and whether both are known; an event that ends before it starts gets duration zero."""
        start, end, valid = event_times(events)
        self.negative_durations += int(np.count_nonzero((end < start) & valid))
        return start, np.maximum(start, end), valid


def event_times(events: list[Event]) -> tuple[Int64s, Int64s, Bools]:
    """Return start, end and whether they are valid. Events without valid times get no row."""
    count = len(events)
    times, valid = nanoseconds([event.ts for event in events] + [event.dur for event in events])
    start, end = times[:count], times[:count] + times[count:]
    return start, end, valid[:count] & valid[count:] & are_usable(start, end)


def _others(a: Args) -> tuple[msgspec.Raw, ...]:
    """All that is said of a collective's arguments but their shapes."""
    message = a.collective, a.elements_in, a.elements_out, a.ranks, a.dtype, a.group, a.members
    return a.dtypes, a.strides, a.values, *message


def _external_ids(args: list[Args]) -> Int64s:
    ids = integers([a.external_id for a in args])
    rows = np.flatnonzero(ids == MISSING)
    ids[rows] = integers([args[row].old_external_id for row in rows.tolist()])
    return ids


def _or_else(column: Int64s, others: list[Number]) -> Int64s:
    """Return the column, with `others` in place of MISSING."""
    return np.where(column == MISSING, integers(others), column) if (column == MISSING).any() else column
