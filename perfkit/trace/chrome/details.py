"""Read what a Chrome trace says of its events beyond their times, in a second pass on request.

This pass walks the document and decodes the events exactly as the reader does, so the same events get rows in the
same order. It also keeps the text of each event's `args`, most of which the reader skips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from itertools import compress
from typing import Any, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from perfkit.trace.chrome.columns import event_times
from perfkit.trace.chrome.document import CHUNK, Document
from perfkit.trace.chrome.events import DECODE_ERRORS, NOTHING, Event, decode, integers, thread_numbers
from perfkit.trace.chrome.recording import integer
from perfkit.trace.chrome.routing import Columns, Dictionary, Pieces, Router, Target
from perfkit.trace.chrome.times import nanoseconds
from perfkit.trace.chrome.window import Window
from perfkit.trace.columns import LONGEST_NAME, MISSING, Content, Int32s, Int64s, Thread, Trace
from perfkit.trace.detail_columns import (
    Calls,
    Counters,
    Details,
    LaunchGeometry,
    MemoryEvents,
    changed,
    no_counters,
    no_memory_events,
    small,
)
from perfkit.trace.operands import operands_of

_Said: TypeAlias = tuple[Event, msgspec.Raw]
"""An event, and the text of its args; NOTHING where it has no args."""
_T = TypeVar("_T")


class _ArgsOf(msgspec.Struct, gc=False):
    args: msgspec.Raw = NOTHING


class _CallArgs(msgspec.Struct, gc=False):
    kernel: msgspec.Raw = NOTHING


class _GeometryArgs(msgspec.Struct, gc=False):
    grid: msgspec.Raw = NOTHING
    block: msgspec.Raw = NOTHING
    registers: msgspec.Raw = msgspec.field(default=NOTHING, name="registers per thread")
    shared_memory: msgspec.Raw = msgspec.field(default=NOTHING, name="shared memory")
    occupancy: msgspec.Raw = msgspec.field(default=NOTHING, name="est. achieved occupancy %")


_ARGS = msgspec.json.Decoder(list[_ArgsOf])
_CALL_ARGS = msgspec.json.Decoder(_CallArgs)
_GEOMETRY_ARGS = msgspec.json.Decoder(_GeometryArgs)
_ALLOCATION = "[memory]"
"""The name that torch gives to its allocations and frees."""


def read_chrome_details(pieces: Iterable[bytes], trace: Trace, *, chunk: int = CHUNK, content: Content) -> Details:
    """Read the details of a trace from pieces of its text. Raises UsageError if the text is not the trace's."""
    collector = _Collector(trace.threads, content=content)
    Document(Window(pieces, chunk), trace.source, collector).read()
    return collector.details(trace)


class _Texts:
    """A column of JSON texts. Most repeat, so each different text is stored once."""

    def __init__(self) -> None:
        self._numbers = Dictionary()

    def encode(self, texts: Sequence[msgspec.Raw]) -> Int32s:
        """Return the code of each text. A text longer than any name is treated as missing."""
        kept = (bytes(text) if len(text) <= LONGEST_NAME else b"" for text in texts)
        return self._numbers.encode(kept)

    def values(self, codes: Int32s, parse: Callable[[Any], Any]) -> tuple[Int32s, tuple[Any, ...]]:
        """Return for each code the index of its value, and the distinct values; `parse` returns None for no value."""
        indices: dict[Any, int] = {}
        parsed = [parse(_decoded(text)) for text in self._numbers]
        places = [MISSING if value is None else indices.setdefault(value, len(indices)) for value in parsed]
        return np.array(places, np.int32)[codes], tuple(indices)

    def sizes(self, codes: Int32s, width: int) -> Int32s:
        """For each code, `width` sizes: [codes, width]; where the text is a single number: [codes]."""
        parsed = [_sizes(_decoded(text), width) for text in self._numbers]
        return np.array(parsed, np.int32).reshape(-1 if width == 1 else (-1, width))[codes]


class _Collector:
    """Takes events chunk by chunk. It also keeps their starts, which identify their rows."""

    def __init__(self, threads: Sequence[Thread], *, content: Content) -> None:
        self._router = Router()
        self._content = content
        self._threads = {(thread.pid, thread.tid): index for index, thread in enumerate(threads)}
        self._kernels = _Texts()
        self._geometry = {name: _Texts() for name in _GEOMETRY}
        self._counter_names = Dictionary()
        self._pieces = {target: Pieces() for target in (Target.HOST, Target.DEVICE, Target.MEMORY, Target.COUNTER)}

    @staticmethod
    def decode(text: bytes | memoryview) -> list[_Said]:
        """Decode events as the reader does, with each event's args; raises one of DECODE_ERRORS."""
        events = decode(text)
        said = _ARGS.decode(b"".join((b"[", text, b"]")))
        return [(event, one.args) for event, one in zip(events, said, strict=True)]

    def add(self, said: list[_Said]) -> None:
        """Take one chunk."""
        codes = self._router.encode([event for event, _ in said])
        targets = self._router.targets(content=self._content)[codes]
        for target, add in (
            (Target.HOST, self._add_host),
            (Target.DEVICE, self._add_device),
            (Target.MEMORY, self._add_memory),
            (Target.COUNTER, self._add_counters),
        ):
            chosen = [said[row] for row in np.flatnonzero(targets == target).tolist()]
            if chosen:
                add([event for event, _ in chosen], [bytes(args) for _, args in chosen])

    def _add_host(self, events: list[Event], args: list[bytes]) -> None:
        start, args = _timed(events, args)
        kernels = [_arguments(text, _CALL_ARGS).kernel if b'"kernel"' in text else NOTHING for text in args]
        self._pieces[Target.HOST].append({"start": start, "kernel": self._kernels.encode(kernels)})

    def _add_device(self, events: list[Event], args: list[bytes]) -> None:
        start, args = _timed(events, args)
        arguments = [_arguments(text, _GEOMETRY_ARGS) for text in args]
        columns = {
            name: self._geometry[name].encode([getattr(geometry, name) for geometry in arguments]) for name in _GEOMETRY
        }
        self._pieces[Target.DEVICE].append({"start": start} | columns)

    def _add_memory(self, events: list[Event], args: list[bytes]) -> None:
        said = [(event, _members(text)) for event, text in zip(events, args, strict=True) if event.name == _ALLOCATION]
        rows = [(event, {arg: integer(members.get(arg)) for arg in _MEMORY.values()}) for event, members in said]
        rows = [(event, members) for event, members in rows if members["Bytes"] is not None]
        if not rows:
            return
        time, valid = nanoseconds([event.ts for event, _ in rows])
        columns: Columns = {name: integers([members[arg] for _, members in rows]) for name, arg in _MEMORY.items()}
        pids, tids = (thread_numbers([getattr(event, of) for event, _ in rows]).tolist() for of in ("pid", "tid"))
        threads = [self._threads.get(thread, MISSING) for thread in zip(pids, tids, strict=True)]
        columns |= {"time": time, "thread": np.array(threads, np.int32)}
        columns |= {name: small(columns[name]) for name in ("device_type", "device")}
        self._pieces[Target.MEMORY].append({name: column[valid] for name, column in columns.items()})

    def _add_counters(self, events: list[Event], args: list[bytes]) -> None:
        rows = [
            (event, series, value)
            for event, text in zip(events, args, strict=True)
            for series, value in _members(text).items()
            if isinstance(value, float) or integer(value) is not None
        ]
        if not rows:
            return
        time, valid = nanoseconds([event.ts for event, _, _ in rows])
        columns: Columns = {
            "name": self._counter_names.encode([event.name[:LONGEST_NAME] for event, _, _ in rows]),
            "series": self._counter_names.encode([series[:LONGEST_NAME] for _, series, _ in rows]),
            "time": time,
            "value": np.array([value for _, _, value in rows], np.float64),
            "process": thread_numbers([event.pid for event, _, _ in rows]),
        }
        self._pieces[Target.COUNTER].append({name: column[valid] for name, column in columns.items()})

    # The result

    def details(self, trace: Trace) -> Details:
        """Return everything that was taken. Raises UsageError if its events are not those of the trace."""
        rows = self._column(Target.HOST, "start"), self._column(Target.DEVICE, "start")
        if not all(map(np.array_equal, rows, (trace.host.start, trace.device.start))):
            raise changed(trace.source)
        return Details(operands_of(trace), self._calls(), self._device_details(), self._counters(), self._memory())

    def _column(self, target: Target, name: str) -> npt.NDArray[Any]:
        pieces = self._pieces[target]
        return pieces.column(name) if pieces else np.empty(0, np.int64)

    def _calls(self) -> Calls:
        return Calls(*self._kernels.values(self._column(Target.HOST, "kernel"), _text))

    def _device_details(self) -> LaunchGeometry:
        rows = {
            name: self._geometry[name].sizes(self._column(Target.DEVICE, name), width)
            for name, width in _GEOMETRY.items()
        }
        not_apart = np.full(len(rows["registers"]), MISSING, np.int32)
        return LaunchGeometry(**rows, static_shared_memory=not_apart, dynamic_shared_memory=not_apart)

    def _counters(self) -> Counters:
        if not self._pieces[Target.COUNTER]:
            return no_counters()
        columns = {f.name: self._column(Target.COUNTER, f.name) for f in fields(Counters) if f.name != "names"}
        return Counters(**columns, names=tuple(self._counter_names))

    def _memory(self) -> MemoryEvents:
        if not self._pieces[Target.MEMORY]:
            return no_memory_events()
        return MemoryEvents(**{f.name: self._column(Target.MEMORY, f.name) for f in fields(MemoryEvents)})


def _timed(events: list[Event], args: list[bytes]) -> tuple[Int64s, list[bytes]]:
    """Starts and args of those events that have a row in the trace, which are those with times."""
    start, _, valid = event_times(events)
    return start[valid], list(compress(args, valid))


# --- args --------------------------------------------------------------------------------------------------------


def _arguments(text: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """The requested members of an event's args, as texts; all are missing where there are no args."""
    try:
        return decoder.decode(text)
    except DECODE_ERRORS:
        return decoder.decode(b"{}")


def _members(text: bytes) -> dict[str, Any]:
    members = _decoded(text) if len(text) <= LONGEST_NAME else None
    return members if isinstance(members, dict) else {}


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _sizes(value: Any, width: int) -> list[int]:
    """Parse the expected number of sizes; all are MISSING where the text does not have them."""
    sizes = value if isinstance(value, list) else [value]
    fit = [size for size in sizes if integer(size) is not None and 0 <= size < 1 << 31]
    return fit if len(fit) == len(sizes) == width else [MISSING] * width


_GEOMETRY = {"grid": 3, "block": 3, "registers": 1, "shared_memory": 1, "occupancy": 1}
"""Columns of LaunchGeometry, and how many sizes each has."""
_MEMORY = {
    "device_type": "Device Type", "device": "Device Id", "bytes": "Bytes", "address": "Addr",
    "allocated": "Total Allocated", "reserved": "Total Reserved",
}  # fmt: skip
"""Columns of MemoryEvents, and the member of an event's args that each holds."""
