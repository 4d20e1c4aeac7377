"""Trace: a recording of any profiler as numpy columns. Times are int64 nanoseconds, names are dictionary-encoded."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from perfkit.trace.recording import Recording

Int64s: TypeAlias = npt.NDArray[np.int64]
Int32s: TypeAlias = npt.NDArray[np.int32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

MISSING = -1
"""In any id column: the file has no value."""
ACROSS_THREADS = "across threads"
"""Name of a lane that is not a thread: its ranges end on another thread than they began on, and need not nest."""

MAX_NS = 1 << 61
"""Larger times (over 73 years) are unusable; the difference of two smaller ones fits into int64."""

LONGEST_NAME = 2**16
"""Characters of a name that are kept (CUTLASS names reach 10,000), which bounds the work of reading each of them."""

NO_TIME = " without a usable time"
"""Suffix of a category in ReadFacts.ignored: events whose start or duration is missing or unusable (`plausible`)."""

BEGIN_END = "begin and end events (ph B, E)"
"""In ReadFacts.ignored: intervals recorded as a begin and an end event, which PyTorch does not write."""

NO_CATEGORY = "events without a category"
"""In ReadFacts.ignored and ReadFacts.unknown: events with a duration (ph X) that name no category."""


class HostKind(IntEnum):
    """The kind of a host range."""

    OP = 0
    """A dispatched operator or a fast record_function (Kineto: cpu_op)."""
    ANNOTATION = 1
    """A user's range (Kineto: user_annotation; nsys: NVTX)."""
    PYTHON = 2
    """A Python frame (Kineto: python_function)."""
    RUNTIME = 3
    """A CUDA or HIP runtime or driver call, which launches device work."""
    LIBRARY = 4
    """A range that a library such as NCCL wrote round its own call (nsys: in an NVTX domain of its own)."""


class DeviceKind(IntEnum):
    """The kind of a device event."""

    KERNEL = 0
    MEMCPY = 1
    MEMSET = 2


@dataclass(frozen=True, slots=True)
class HostRanges:
    """Intervals on host threads, one row each, in the order of the file."""

    name: Int32s
    """Index into Trace.names."""
    kind: Bytes
    """HostKind."""
    thread: Int32s
    """Index into Trace.threads."""
    start: Int64s
    """ns."""
    end: Int64s
    """ns; never before start (the reader clamps and counts)."""
    correlation: Int64s
    """Links a RUNTIME call to its device events; MISSING elsewhere."""
    external_id: Int64s
    """The operator that a RUNTIME call ran in, according to the file (a cross-check); on an OP, its own id."""
    sequence: Int64s
    """Autograd's sequence number (thread-local); MISSING where there is none."""
    forward_thread: Int64s
    """On a backward node's op: torch's number of the thread that ran forward (1, 2, ...); 0 on forward ops."""
    order: Int64s
    """Tie-breaker among ranges with equal ends: the recorder's own index, else the position in the file."""
    frame: Int32s
    """Index into Trace.names of the user's innermost Python frame, where a file of 2021 gives an operator its
    `Call stack`; MISSING elsewhere. Later files have ranges of kind PYTHON instead."""
    arguments: Int32s
    """Index into Trace.arguments; MISSING where the file says nothing of them (record_shapes was off)."""

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True)
class DeviceEvents:
    """Work on devices: kernels, copies, memsets; one row each, in the order of the file."""

    name: Int32s
    """Index into Trace.names."""
    kind: Bytes
    """DeviceKind."""
    device: Int32s
    """The device's number, unique in the trace: in a merged file not always its process's own (Trace.devices)."""
    stream: Int64s
    start: Int64s
    """ns."""
    end: Int64s
    """ns; never before start (the reader clamps and counts)."""
    correlation: Int64s
    """The launching call's correlation; unique only within a process."""
    external_id: Int64s
    process: Int64s
    """Host process that owns the correlation ids; MISSING where the file has one process only (Kineto), or does not
    tell."""
    bytes: Int64s
    """Bytes copied or set; MISSING for kernels and where unknown."""
    graph_node: Int64s
    """Node id inside a CUDA graph; MISSING for ordinary launches."""
    annotation: Int32s
    """Index into Trace.names of the node's scope, as noted at capture (torch.cuda's graph annotations), or MISSING."""

    def __len__(self) -> int:
        return len(self.start)


class TraceDevice(msgspec.Struct, frozen=True):
    """A device whose label is not its number."""

    number: int
    """As in DeviceEvents.device."""
    label: str
    """For people and scripts; no other device of the trace has it."""
    index: int
    """The number that its process has for it, as in Recording.devices; MISSING where the file does not say."""


@dataclass(frozen=True, slots=True)
class AutogradFlows:
    """The recorder's own arrows from a forward op to its backward node (Kineto: fwdbwd), one row per end."""

    flow: Int64s
    """Id shared by the two ends."""
    is_start: npt.NDArray[np.bool_]
    """True at the forward op, False at the backward node."""
    thread: Int32s
    """Index into Trace.threads."""
    time: Int64s
    """ns; the start of the op the arrow is bound to."""

    def __len__(self) -> int:
        return len(self.flow)


class Arguments(msgspec.Struct, frozen=True):
    """What a file says of the arguments of an operator's call, as JSON texts; empty where it says nothing.

    Calls repeat, so there are few different ones. `trace.operands` reads the texts.
    """

    shapes: str
    dtypes: str
    strides: str
    values: str
    collective: str = ""
    """Of a collective: its name, elements given and received by this rank, number of ranks, type, and of its process
    group the name and the ranks; a list."""


class Thread(msgspec.Struct, frozen=True):
    """One host thread."""

    pid: int
    tid: int
    name: str = ""


class ReadFacts(msgspec.Struct, frozen=True):
    """What the reader learned about the file itself; `analysis.integrity` adds what the columns show."""

    events: int = 0
    """Complete events in the file, of every category."""
    ignored: dict[str, int] = msgspec.field(default_factory=dict)
    """Events that are in no column, by category; with NO_TIME after it: events that lack a usable time."""
    repairs: dict[str, int] = msgspec.field(default_factory=dict)
    """Repairs that were needed to read the file: kind of repair -> times."""
    remarks: tuple[str, ...] = ()
    """Other incidents during reading: the file changed, its cache entry was damaged."""
    truncated_at: int | None = None
    """Byte offset (decompressed) after which nothing could be read; None for a whole file."""
    resolution_ns: int = 1
    """1, or 1000 where every time in the file is a whole microsecond."""
    negative_durations: int = 0
    """Events that ended before they started, clamped to zero length."""
    overhead_ns: int = 0
    """Total duration of the pauses that the profiler made and recorded."""
    base_time_ns: int | None = None
    """Unix time of the file's time zero, where given."""
    unknown: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    """Events with a duration whose category does not say what they are: category -> count and ns. Those that are in no
    column are in `ignored` too; the others are kernels for want of a better word."""


class Content(Enum):
    """Which events of a file a trace contains."""

    ALL = "all"
    KERNELS = "kernels"
    """Kernels only, enough for their names and times: the least work and memory."""


class Origin(msgspec.Struct, frozen=True):
    """The file that a trace was read from; `trace.details` reads more of it on request."""

    path: Path
    size: int
    modified_ns: int
    """Shows, together with the size, whether the file is unchanged."""
    content: Content = Content.ALL
    """Which content was read from it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One profiler recording."""

    source: str
    """The file's name, for messages."""
    names: tuple[str, ...]
    threads: tuple[Thread, ...]
    host: HostRanges
    device: DeviceEvents
    flows: AutogradFlows
    recording: Recording
    """What the file says about itself."""
    facts: ReadFacts = field(default_factory=ReadFacts)
    origin: Origin | None = None
    """None for a file that cannot be read a second time: standard input, a pipe."""
    devices: tuple[TraceDevice, ...] = ()
    """The devices of a file merged from processes that number theirs alike; empty in others."""
    arguments: tuple[Arguments, ...] = ()
    """The different ones that operators were called with; empty in a file without shapes."""

    def __post_init__(self) -> None:
        if any(len(name) > LONGEST_NAME for name in self.names):
            object.__setattr__(self, "names", tuple(map(_bounded, self.names)))

    def device_label(self, number: int) -> str:
        """What a device is called; no other of the trace has the same label."""
        labels = (device.label for device in self.devices if device.number == number)
        return next(labels, "unknown" if number == MISSING else str(number))

    def host_names(self, rows: npt.NDArray[Any] | slice = slice(None)) -> npt.NDArray[np.object_]:
        """Names of host ranges as text."""
        return np.asarray(self.names, dtype=object)[self.host.name[rows]]

    def device_names(self, rows: npt.NDArray[Any] | slice = slice(None)) -> npt.NDArray[np.object_]:
        """Names of device events as text."""
        return np.asarray(self.names, dtype=object)[self.device.name[rows]]


def _bounded(name: str) -> str:
    """Return the name, or its beginning, length and a hash, so that names that differ only late stay different."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    end = f"... ({len(name):,} characters, hash {digest})"
    return name[: LONGEST_NAME - len(end)] + end


_DTYPES: dict[str, Any] = {
    "name": np.int32, "kind": np.uint8, "thread": np.int32, "device": np.int32, "annotation": np.int32,
    "frame": np.int32, "arguments": np.int32, "is_start": np.bool_,
}  # fmt: skip  # every other column is int64


def column_dtype(column: str) -> Any:
    """The numpy dtype of a column of HostRanges, DeviceEvents or AutogradFlows."""
    return _DTYPES.get(column, np.int64)


_Columns: TypeAlias = HostRanges | DeviceEvents | AutogradFlows


def empty(kind: type[HostRanges] | type[DeviceEvents] | type[AutogradFlows]) -> Any:
    """A column set with no rows."""
    return kind(*(np.empty(0, dtype=column_dtype(f.name)) for f in dataclasses.fields(kind)))
