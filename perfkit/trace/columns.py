"""Trace: what any profiler recorded, as numpy columns. Times are int64 nanoseconds, names are dictionary-encoded."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from perfkit.trace.recording import Recording

Int64s: TypeAlias = npt.NDArray[np.int64]
Int32s: TypeAlias = npt.NDArray[np.int32]
Bytes: TypeAlias = npt.NDArray[np.uint8]

MISSING = -1
"""In any id column: the file does not say."""
ACROSS_THREADS = "across threads"
"""Name of a lane that is no thread: its ranges end on another thread than they began on, and need not nest."""

MAX_NS = 1 << 61
"""Times beyond it (73 years) are of no use; below, no difference of two leaves int64."""

LONGEST_NAME = 2**16
"""Characters of a name that are kept (CUTLASS' reach 10,000), so that whatever looks at each of them need not last."""

NO_TIME = " without a usable time"
"""Behind a category in ReadFacts.ignored: events without a start or a duration, or one that is none (`plausible`)."""

BEGIN_END = "begin and end events (ph B, E)"
"""In ReadFacts.ignored: intervals in two halves, which PyTorch does not write."""


class HostKind(IntEnum):
    """What a host range is."""

    OP = 0
    """A dispatched operator or a fast record_function (Kineto: cpu_op)."""
    ANNOTATION = 1
    """A user's range (Kineto: user_annotation; nsys: NVTX)."""
    PYTHON = 2
    """A Python frame (Kineto: python_function)."""
    RUNTIME = 3
    """A CUDA or HIP runtime or driver call: what launches device work."""


class DeviceKind(IntEnum):
    """What a device event is."""

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
    """The operator a RUNTIME call ran in, by the file's own word (a cross-check); the id itself on an OP."""
    sequence: Int64s
    """Autograd's sequence number (thread-local); MISSING where there is none."""
    forward_thread: Int64s
    """On a backward node's op: torch's counter of the thread that ran forward (1, 2, ...); 0 on forward ops."""
    order: Int64s
    """Tie-breaker among ranges with equal ends: the recorder's own index, else the position in the file."""

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
    stream: Int64s
    start: Int64s
    """ns."""
    end: Int64s
    """ns; never before start (the reader clamps and counts)."""
    correlation: Int64s
    """The launching call's correlation; unique only within a process."""
    external_id: Int64s
    process: Int64s
    """Host process that owns the correlation ids; MISSING where the file has one process only (Kineto)."""
    bytes: Int64s
    """Copied or set; MISSING for kernels and where unknown."""
    graph_node: Int64s
    """Node id inside a CUDA graph; MISSING for ordinary launches."""
    annotation: Int32s
    """Index into Trace.names of the scope that the capture of a CUDA graph noted for the node (torch.cuda's graph
    annotations); MISSING where there is none."""

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True, slots=True)
class AutogradFlows:
    """The recorder's own arrows from a forward op to its backward node (Kineto: fwdbwd), one row an end."""

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


@dataclass(frozen=True, slots=True)
class Thread:
    """One host thread."""

    pid: int
    tid: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ReadFacts:
    """What reading the file showed about the file itself; `analysis.integrity` adds what the columns show."""

    events: int = 0
    """Complete events in the file, of every category."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Events that no column holds, by category; NO_TIME behind it: such as one should, but of no use."""
    repairs: dict[str, int] = field(default_factory=dict)
    """What had to be mended to read it: kind of mending -> times."""
    remarks: tuple[str, ...] = ()
    """What else happened while it was read: the file changed, its cache entry was damaged."""
    truncated_at: int | None = None
    """Byte offset (decompressed) after which nothing could be read; None for a whole file."""
    resolution_ns: int = 1
    """1, or 1000 where every time in the file is a whole microsecond."""
    negative_durations: int = 0
    """Events that ended before they started, clamped to zero length."""
    overhead_ns: int = 0
    """What the pauses that the profiler made and recorded last in all."""
    base_time_ns: int | None = None
    """Unix time of the file's time zero, where given."""


class Content(Enum):
    """Which events of a file a trace has."""

    ALL = "all"
    KERNELS = "kernels"
    """Enough for their names and times: the least work and memory."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The file that a trace was read from, for what is read of it only when it is asked for (`trace.details`)."""

    path: Path
    size: int
    modified_ns: int
    """With the size: whether it is still the same."""
    content: Content = Content.ALL
    """What was read of it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One profiler recording."""

    source: str
    """Where it was read from, for messages."""
    names: tuple[str, ...]
    threads: tuple[Thread, ...]
    host: HostRanges
    device: DeviceEvents
    flows: AutogradFlows
    recording: Recording
    """What the file says of itself."""
    facts: ReadFacts = ReadFacts()
    origin: Origin | None = None
    """None where it cannot be read a second time: standard input, a pipe."""

    def __post_init__(self) -> None:
        if any(len(name) > LONGEST_NAME for name in self.names):
            object.__setattr__(self, "names", tuple(map(_bounded, self.names)))

    def host_names(self, rows: npt.NDArray[Any] | slice = slice(None)) -> npt.NDArray[np.object_]:
        """Names of host ranges as text."""
        return np.asarray(self.names, dtype=object)[self.host.name[rows]]

    def device_names(self, rows: npt.NDArray[Any] | slice = slice(None)) -> npt.NDArray[np.object_]:
        """Names of device events as text."""
        return np.asarray(self.names, dtype=object)[self.device.name[rows]]


def _bounded(name: str) -> str:
    """The name itself, or its beginning, its length and a hash: two that differ far behind stay two."""
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    end = f"... ({len(name):,} characters, hash {digest})"
    return name[: LONGEST_NAME - len(end)] + end


_DTYPES: dict[str, Any] = {
    "name": np.int32, "kind": np.uint8, "thread": np.int32, "device": np.int32, "annotation": np.int32,
    "is_start": np.bool_,
}  # fmt: skip  # every other column is int64


def column_dtype(column: str) -> Any:
    """The numpy dtype of a column of HostRanges, DeviceEvents or AutogradFlows."""
    return _DTYPES.get(column, np.int64)


_Columns: TypeAlias = HostRanges | DeviceEvents | AutogradFlows


def empty(kind: type[HostRanges] | type[DeviceEvents] | type[AutogradFlows]) -> Any:
    """A column set with no rows."""
    return kind(*(np.empty(0, dtype=column_dtype(f.name)) for f in dataclasses.fields(kind)))
