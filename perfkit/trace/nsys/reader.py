"""Convert Nsight Systems' sqlite exports (2022.4 to 2026.2) to a Trace.

Nsight's own documentation calls the schema unstable: a table exists only if something was captured for it, and
columns change between versions. So the reader asks for every column by name and has a default for it. Threads and
processes are packed into one number, `globalTid`: process in bits 24 to 47, thread in bits 0 to 23.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perfkit.errors import UsageError
from perfkit.schema.progress import Progress
from perfkit.trace.byte_stream import printable
from perfkit.trace.columns import (
    ACROSS_THREADS,
    LONGEST_NAME,
    MISSING,
    AutogradFlows,
    Content,
    DeviceEvents,
    DeviceKind,
    HostKind,
    HostRanges,
    Int32s,
    Int64s,
    ReadFacts,
    Thread,
    Trace,
    column_dtype,
    empty,
)
from perfkit.trace.nsys.nvtx import ACROSS, NvtxRanges, read_nvtx
from perfkit.trace.nsys.tables import UNUSABLE, Export, IntColumns, decoded, distinct, joined, opened
from perfkit.trace.plausible import check_sums, sums
from perfkit.trace.recording import Device, OwnNotes, Recording, Tool, Versions, WholeGraphs

KERNELS, _COPIES, _SETS = (f"CUPTI_ACTIVITY_KIND_{what}" for what in ("KERNEL", "MEMCPY", "MEMSET"))
_RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
_WHOLE_GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
_KNOWN_TABLES = {"StringIds", "META_DATA_EXPORT", "EXPORT_META_DATA", "NVTX_EVENTS", KERNELS, _RUNTIME}

TIMES = {"start": UNUSABLE, "end": UNUSABLE}
_DEVICE = TIMES | {
    "deviceId": MISSING, "contextId": MISSING, "streamId": MISSING, "correlationId": MISSING, "globalPid": 0,
    "graphNodeId": 0,
}  # fmt: skip
_CALLS = TIMES | {"globalTid": 0, "correlationId": MISSING, "nameId": MISSING, "returnValue": 0}
_DEVICE_TABLES = {
    DeviceKind.KERNEL: (KERNELS, _DEVICE | {"demangledName": MISSING, "shortName": MISSING}),
    DeviceKind.MEMCPY: (
        _COPIES,
        _DEVICE | {"bytes": MISSING, "copyKind": 0, "srcKind": MISSING, "dstKind": MISSING},
    ),
    DeviceKind.MEMSET: (_SETS, _DEVICE | {"bytes": MISSING, "memKind": MISSING}),
}
_VERSION_SUFFIX = re.compile(r"_v\d{4,}$")
"""nsys adds the CUDA version that introduced a call to its name (cudaLaunchKernel_v7000); Kineto does not."""

_COPY_NAMES = {1: "HtoD", 2: "DtoH", 3: "HtoA", 4: "AtoH", 5: "AtoA", 6: "AtoD", 7: "DtoA", 8: "DtoD", 9: "HtoH",
               10: "PtoP", 11: "HtoD (unified)", 12: "DtoH (unified)", 13: "DtoD (unified)"}  # fmt: skip
_MEMORY_NAMES = ("Pageable", "Pinned", "Device", "Array", "Managed", "Device Static", "Managed Static")


class _Names:
    """All names of a trace, numbered in order of first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, names: Iterable[str]) -> Int32s:
        return np.array([self._numbers.setdefault(name, len(self._numbers)) for name in names], dtype=np.int32)

    def all(self) -> tuple[str, ...]:
        return tuple(self._numbers)


@dataclass(frozen=True, slots=True)
class _Read:
    """The content of the tables."""

    export: Export
    names: _Names
    nvtx: NvtxRanges
    calls: IntColumns
    device: dict[DeviceKind, IntColumns]

    @property
    def last(self) -> int:
        """The last time in the file."""
        columns = [self.nvtx.start, self.nvtx.end]
        columns += [part[time] for part in (self.calls, *self.device.values()) for time in TIMES]
        return max((int(column.max()) for column in columns if len(column)), default=0)


def read_nsys(path: Path, source: str, progress: Progress | None = None, *, content: Content = Content.ALL) -> Trace:
    """Read an export. `source` names it in messages. Raises UsageError if it is not an export or holds nothing.

    Content.KERNELS leaves out everything but kernels, and also where they ran and who launched them: less work and
    memory where only their names and times are needed.
    """
    with opened(path, source, progress) as export:
        if not any(map(export.has, _KNOWN_TABLES)):
            raise UsageError(
                f"{source} is an sqlite file but not an Nsight Systems export: pass a file that `nsys export` wrote"
            )
        trace = _kernels_alone(export) if content is Content.KERNELS else _trace(export)
    check_sums(source, sums(trace))
    return trace


def _kernels_alone(export: Export) -> Trace:
    """Read names and times of kernels; their devices and streams are not read."""
    name = "demangledName" if export.has(KERNELS, "demangledName") else "shortName"
    kernels = export.events(KERNELS, TIMES | {name: MISSING})[1]
    names = _Names()
    first, place = distinct(kernels[name])
    start, end, count = kernels["start"], kernels["end"], len(place)
    constant = {
        field.name: np.broadcast_to(np.array(MISSING, dtype=column_dtype(field.name)), count)
        for field in dataclasses.fields(DeviceEvents)
        if field.name not in ("name", "kind", "start", "end")
    }
    events = DeviceEvents(
        name=names.numbers(export.strings(kernels[name][first]))[place],
        kind=np.broadcast_to(np.uint8(DeviceKind.KERNEL), count),
        start=start,
        end=np.maximum(start, end),
        **constant,
    )
    return Trace(
        source=export.source,
        names=names.all(),
        threads=(),
        host=empty(HostRanges),
        device=events,
        flows=empty(AutogradFlows),
        recording=_recording(export),
        facts=ReadFacts(events=count, ignored=export.ignored, negative_durations=int((end < start).sum())),
    )


def _trace(export: Export) -> Trace:
    names = _Names()
    read = _Read(
        export=export,
        names=names,
        nvtx=read_nvtx(export),
        calls=export.events(_RUNTIME, _CALLS)[1],
        device={kind: export.events(table, columns)[1] for kind, (table, columns) in _DEVICE_TABLES.items()},
    )
    threads, host, host_negative = _host(read)
    device, device_negative = _device(read)
    if not len(host) and not len(device):
        raise UsageError(f"{export.source} holds neither NVTX ranges nor CUDA work{_why_none(export)}")
    whole_graphs = export.events(_WHOLE_GRAPHS, TIMES)[1]
    still_open = int((read.nvtx.end == MISSING).sum())
    return Trace(
        source=export.source,
        names=names.all(),
        threads=threads,
        host=host,
        device=device,
        flows=empty(AutogradFlows),
        recording=dataclasses.replace(
            _recording(export),
            own=OwnNotes() if read.nvtx.has_own else None,
            whole_graphs=_whole_graphs(export.source, whole_graphs),
        ),
        facts=ReadFacts(
            events=read.nvtx.events + len(read.calls["start"]) + len(device) + len(whole_graphs["start"]),
            ignored=read.nvtx.ignored | export.ignored,
            repairs={"ranges still open at the end of the file": still_open} if still_open else {},
            negative_durations=host_negative + device_negative,
            base_time_ns=_base_time(export),
        ),
    )


def _why_none(export: Export) -> str:
    if lost := ", ".join(f"{count:,} {what}" for what, count in export.ignored.items()):
        return f" but {lost}: export it again"
    return ": record it with `nsys profile --trace=cuda,nvtx`"


# --- host ------------------------------------------------------------------------------------------------------


def _host(read: _Read) -> tuple[tuple[Thread, ...], HostRanges, int]:
    """Read threads, NVTX ranges and CUDA calls, and count how many of them ended before they started."""
    nvtx, calls = read.nvtx, read.calls
    counts = len(nvtx.start), len(calls["start"])
    start = np.concatenate((nvtx.start, calls["start"]))
    end = np.concatenate((np.where(nvtx.end == MISSING, read.last, nvtx.end), calls["end"]))
    tid = np.concatenate((nvtx.global_tid, calls["globalTid"]))
    first, thread = distinct(tid)
    nothing = np.full(counts[1], MISSING, dtype=np.int64)
    sequence = np.concatenate((nvtx.sequence, nothing))
    host = HostRanges(
        name=np.concatenate((read.names.numbers(nvtx.names)[nvtx.name], _call_names(read))).astype(np.int32),
        kind=np.concatenate((nvtx.kind, np.full(counts[1], HostKind.RUNTIME))).astype(np.uint8),
        thread=thread.astype(np.int32),
        start=start,
        end=np.maximum(start, end),
        correlation=np.concatenate((np.full(counts[0], MISSING), _call_correlations(read))),
        external_id=np.concatenate((nvtx.operation, nothing)),
        sequence=sequence,
        forward_thread=np.where(sequence == MISSING, MISSING, 0),  # emit_nvtx does not say: analysis.nvtx_nodes
        order=np.arange(sum(counts)),
        frame=np.full(sum(counts), MISSING, np.int32),
        arguments=np.full(sum(counts), MISSING, np.int32),
    )
    return _threads(read.export, tid[first]), host, int((end < start).sum())


def _call_names(read: _Read) -> Int32s:
    ids = read.calls["nameId"]
    first, place = distinct(ids)
    names = [_VERSION_SUFFIX.sub("", name) for name in read.export.strings(ids[first])]
    return read.names.numbers(names)[place]


def _correlations(events: IntColumns) -> Int64s:
    """Convert CUDA's correlations, which count from 1, so that 0 means none."""
    return np.where(events["correlationId"] == 0, MISSING, events["correlationId"])


def _call_correlations(read: _Read) -> Int64s:
    """Those of the calls. One that returned an error and has no event launched nothing, so that none is missing."""
    correlation, failed = _correlations(read.calls), read.calls["returnValue"] != 0
    if not failed.any():
        return correlation
    launched = np.isin(correlation, np.concatenate([part["correlationId"] for part in read.device.values()]))
    return np.where(failed & ~launched, MISSING, correlation)


def _threads(export: Export, tids: Int64s) -> tuple[Thread, ...]:
    names: dict[int, str] = {}
    if export.has("ThreadNames", "globalTid", "nameId"):
        named = export.integers("ThreadNames", {"globalTid": UNUSABLE, "nameId": MISSING})
        here = np.isin(named["globalTid"], tids)
        names = dict(zip(named["globalTid"][here].tolist(), export.strings(named["nameId"][here]), strict=True))
    return tuple(
        Thread((tid >> 24) & 0xFFFFFF, tid & 0xFFFFFF, ACROSS_THREADS if tid & ACROSS else names.get(tid, ""))
        for tid in tids.tolist()
    )


# --- device ----------------------------------------------------------------------------------------------------


def _device(read: _Read) -> tuple[DeviceEvents, int]:
    """Read kernels, copies and memsets, and count how many of them ended before they started."""
    parts = read.device
    columns = {column: joined([part[column] for part in parts.values()]) for column in _DEVICE}
    process = _processes(columns["globalPid"], read.calls["globalTid"])
    device = _physical_devices(read.export, process, columns["deviceId"])
    events = DeviceEvents(
        name=joined([_kernel_names(read), _copy_names(read), _set_names(read)]),
        kind=np.repeat(np.array(list(parts), dtype=np.uint8), [len(part["start"]) for part in parts.values()]),
        device=np.where((device >= 0) & (device < 1 << 31), device, MISSING).astype(np.int32),
        stream=_streams(device, process, columns),
        start=columns["start"],
        end=np.maximum(columns["start"], columns["end"]),
        correlation=_correlations(columns),
        external_id=np.full(len(process), MISSING, dtype=np.int64),
        process=process,
        bytes=joined([part.get("bytes", np.broadcast_to(MISSING, len(part["start"]))) for part in parts.values()]),
        graph_node=np.where(columns["graphNodeId"] == 0, MISSING, columns["graphNodeId"]),
        annotation=np.full(len(process), MISSING, dtype=np.int32),
    )
    return events, int((columns["end"] < columns["start"]).sum())


def _processes(global_pid: Int64s, callers: Int64s) -> Int64s:
    """Return the process of each event. If an event has none, it is the process that called CUDA, if only one did."""
    process: Int64s = (global_pid >> 24) & 0xFFFFFF
    only = np.unique((callers >> 24) & 0xFFFFFF)
    return np.where(global_pid == 0, only[0], process) if len(only) == 1 else process


def _kernel_names(read: _Read) -> Int32s:
    kernels = read.device[DeviceKind.KERNEL]
    ids = np.where(kernels["demangledName"] == MISSING, kernels["shortName"], kernels["demangledName"])
    first, place = distinct(ids)
    return read.names.numbers(read.export.strings(ids[first]))[place]


def _copy_names(read: _Read) -> Int32s:
    """Format names as Kineto does: Memcpy HtoD (Pageable -> Device)."""
    copies = read.device[DeviceKind.MEMCPY]
    kinds = [copies[column] for column in ("copyKind", "srcKind", "dstKind")]
    first, place = distinct(*kinds)
    names = [
        f"Memcpy {_COPY_NAMES.get(kind, 'unknown')} ({_memory(source)} -> {_memory(target)})"
        for kind, source, target in zip(*(column[first].tolist() for column in kinds), strict=True)
    ]
    return read.names.numbers(names)[place]


def _set_names(read: _Read) -> Int32s:
    kinds = read.device[DeviceKind.MEMSET]["memKind"]
    first, place = distinct(kinds)
    return read.names.numbers(f"Memset ({_memory(kind)})" for kind in kinds[first].tolist())[place]


def _memory(kind: int) -> str:
    return _MEMORY_NAMES[kind] if 0 <= kind < len(_MEMORY_NAMES) else "Unknown"


def _physical_devices(export: Export, process: Int64s, device: Int64s) -> Int64s:
    """Map each process's device numbers, which count the devices it can see, by the file's own table if it has one."""
    table = export.integers("TARGET_INFO_CUDA_DEVICE", {"pid": MISSING, "cudaId": MISSING, "gpuId": MISSING})
    known = {(pid, cuda): gpu for pid, cuda, gpu in zip(*(c.tolist() for c in table.values()), strict=True)}
    first, place = distinct(process, device)
    pairs = zip(process[first].tolist(), device[first].tolist(), strict=True)
    numbers = [known.get((pid, cuda), MISSING) for pid, cuda in pairs]
    physical = np.array(numbers, dtype=np.int64)[place]
    return np.where(physical == MISSING, device, physical)


def _streams(device: Int64s, process: Int64s, events: IntColumns) -> Int64s:
    """Streams are numbered within a context; the high bits tell those of a device's further contexts apart."""
    owner, place = distinct(device, process, events["contextId"])
    owned = device[owner]
    rank = np.arange(len(owner)) - np.searchsorted(owned, owned)  # 0 for a device's first owner
    return events["streamId"] + (rank[place] << 32)


def _devices(export: Export) -> tuple[Device, ...]:
    if not export.has("TARGET_INFO_GPU", "id", "name"):
        return ()
    more = ("smCount", "computeMajor", "computeMinor", "clockRate", "memoryBandwidth")
    wanted = {"id": UNUSABLE, "totalMemory": 0, **dict.fromkeys(more, MISSING)}
    text, numbers = export.read("TARGET_INFO_GPU", wanted, ("name",))
    rows = zip(*(column.tolist() for column in numbers.values()), strict=True)
    return tuple(
        Device(number, name[:LONGEST_NAME], memory or None, *(None if value == MISSING else value for value in rest))
        for name, (number, memory, *rest) in zip(decoded(text["name"]), rows, strict=True)
        if number != UNUSABLE
    )


# --- the file about itself -------------------------------------------------------------------------------------


def _recording(export: Export) -> Recording:
    """Read versions and devices. The capture's environment variables are not read: they may hold passwords."""
    said = export.pairs("META_DATA_EXPORT") or export.pairs("EXPORT_META_DATA")
    tool, schema = (printable(said.get(f"EXPORT_{what}_VERSION", "")) for what in ("PRODUCT", "SCHEMA"))
    return Recording(Tool.NSYS, Versions(tool=tool, schema=schema), _devices(export))


def _whole_graphs(source: str, launches: IntColumns) -> WholeGraphs | None:
    if not len(launches["start"]):
        return None
    time = np.maximum(launches["end"] - launches["start"], 0)
    check_sums(source, {"durations of graphs (ns)": float(time.sum(dtype=np.float64))})
    return WholeGraphs(len(time), int(time.sum()))


def _base_time(export: Export) -> int | None:
    times = export.integers("TARGET_INFO_SESSION_START_TIME", {"utcEpochNs": 0})["utcEpochNs"]
    return int(times[0]) or None if len(times) else None
