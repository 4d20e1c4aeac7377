"""Hand-built Nsight Systems exports: a test states what happened when, and gets an sqlite file."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perfkit.trace.columns import DeviceKind, HostKind, Trace

PUSH_POP, START_END, MARK, DOMAIN = 59, 60, 34, 75

_TABLES = {
    "NVTX_EVENTS": "start INT NOT NULL, end INT, eventType INT NOT NULL, rangeId INT, text TEXT, globalTid INT,"
    " endGlobalTid INT, textId INT, domainId INT",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "start INT NOT NULL, end INT NOT NULL, eventClass INT, globalTid INT,"
    " correlationId INT, nameId INT NOT NULL, returnValue INT",
    "CUPTI_ACTIVITY_KIND_KERNEL": "start INT NOT NULL, end INT NOT NULL, deviceId INT NOT NULL, contextId INT NOT NULL,"
    " streamId INT NOT NULL, correlationId INT, globalPid INT, demangledName INT NOT NULL, shortName INT NOT NULL,"
    " graphNodeId INT",
    "CUPTI_ACTIVITY_KIND_MEMCPY": "start INT NOT NULL, end INT NOT NULL, deviceId INT, contextId INT, streamId INT,"
    " correlationId INT, globalPid INT, bytes INT, copyKind INT, srcKind INT, dstKind INT",
    "CUPTI_ACTIVITY_KIND_MEMSET": "start INT NOT NULL, end INT NOT NULL, deviceId INT, contextId INT, streamId INT,"
    " correlationId INT, globalPid INT, bytes INT, memKind INT",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": "start INT, end INT, deviceId INT, graphId INT, correlationId INT",
    "TARGET_INFO_CUDA_DEVICE": "gpuId INT, cudaId INT NOT NULL, pid INT NOT NULL, uuid TEXT",
    "ThreadNames": "nameId INT, priority INT, globalTid INT",
    "META_DATA_EXPORT": "name TEXT, value TEXT",
    "EXPORT_META_DATA": "name TEXT, value TEXT",
    "StringIds": "id INTEGER PRIMARY KEY, value TEXT NOT NULL",
}


def global_tid(pid: int, tid: int | None = None) -> int:
    """Process and thread id as nsys packs them; the upper bits identify the machine."""
    return (1 << 48) | (pid << 24) | (pid if tid is None else tid)


@dataclass
class NsysExport:
    """Collects rows. Only tables that get a row are made, as nsys does."""

    registered: bool = False
    """Whether the texts of ranges are stored in the string table."""
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    strings: dict[str, int] = field(default_factory=dict)

    def add(self, table: str, **row: Any) -> NsysExport:
        self.rows.setdefault(table, []).append(row)
        return self

    def string(self, text: str) -> int:
        return self.strings.setdefault(text, len(self.strings) + 7)

    def range(
        self, text: str, start: int, end: int | None, pid: int = 100, tid: int | None = None, **row: Any
    ) -> NsysExport:
        name = {"textId": self.string(text)} if self.registered else {"text": text}
        common = {"eventType": PUSH_POP, "domainId": 0, "globalTid": global_tid(pid, tid)}
        return self.add("NVTX_EVENTS", start=start, end=end, **(common | name | row))

    def domain(self, name: str, number: int, pid: int = 100) -> NsysExport:
        return self.add("NVTX_EVENTS", start=0, eventType=DOMAIN, text=name, domainId=number, globalTid=global_tid(pid))

    def call(
        self, name: str, start: int, end: int, correlation: int | None, pid: int = 100, tid: int | None = None
    ) -> NsysExport:
        return self.add(
            "CUPTI_ACTIVITY_KIND_RUNTIME", start=start, end=end, globalTid=global_tid(pid, tid),
            correlationId=correlation, nameId=self.string(name), returnValue=0,
        )  # fmt: skip

    def kernel(
        self, name: str, start: int, end: int, correlation: int | None, pid: int = 100, **row: Any
    ) -> NsysExport:
        common = {"deviceId": 0, "contextId": 1, "streamId": 7, "globalPid": global_tid(pid, 0)}
        names = {"demangledName": self.string(name), "shortName": self.string(name)}
        return self.add(
            "CUPTI_ACTIVITY_KIND_KERNEL", start=start, end=end, correlationId=correlation, **(common | names | row)
        )

    def launched(self, name: str, at: int, start: int, end: int, correlation: int, pid: int = 100) -> NsysExport:
        """Add a kernel and the call that launched it, which starts at `at` and takes 1 ns."""
        self.call("cudaLaunchKernel_v7000", at, at + 1, correlation, pid)
        return self.kernel(name, start, end, correlation, pid)

    def write(self, path: Path) -> Path:
        for text, number in self.strings.items():
            self.add("StringIds", id=number, value=text)
        with sqlite3.connect(path) as database:
            for table, rows in self.rows.items():
                columns = list(dict.fromkeys(column for row in rows for column in row))
                extra = [c for c in columns if f"{c} INT" not in _TABLES[table] and f"{c} TEXT" not in _TABLES[table]]
                database.execute(f"CREATE TABLE {table} ({', '.join([_TABLES[table], *(f'{c} ANY' for c in extra)])})")
                database.executemany(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
                    [[row.get(column) for column in columns] for row in rows],
                )
        database.close()
        return path


ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclArgs)"


def two_ranks(collective: str = ALL_REDUCE) -> NsysExport:
    """Two steps of 100 us in each of two processes: process 20 on device 1 computes for 60 us, 10 on device 0 for 30,
    and both are in a collective until both have been there for 10."""
    export = NsysExport()
    for pid, device, work in ((10, 0, 30), (20, 1, 60)):
        for step in range(2):
            at = step * 100_000
            export.range(f"step {step}", at, at + 100_000, pid)
            for number, (name, begin, end) in enumerate([("gemm", 5, 5 + work), (collective, 5 + work, 75)]):
                correlation = 1 + 2 * step + number
                export.call("cudaLaunchKernel", at + 100 * number + 50, at + 100 * number + 60, correlation, pid)
                times = at + 1000 * begin, at + 1000 * end
                export.kernel(name, *times, correlation, pid, deviceId=device, streamId=7 + number)
    return export


def as_nsys(trace: Trace) -> NsysExport:
    """The export that emit_nvtx and nsys would write: without forward threads and sequence numbers of engine ranges."""
    export, host, device = NsysExport(), trace.host, trace.device
    first = min(int(host.start.min()), int(device.start.min()))
    names, order = trace.host_names(), np.argsort(host.order, kind="stable")
    for row in order.tolist():
        times = int(host.start[row]) - first, int(host.end[row]) - first
        thread = {"pid": 5, "tid": 5 + int(host.thread[row])}
        name, kind, sequence = str(names[row]), host.kind[row], int(host.sequence[row])
        if kind == HostKind.RUNTIME:
            export.call(name, *times, int(host.correlation[row]), **thread)
        elif kind == HostKind.OP:
            numbered = sequence >= 0 and not name.startswith("autograd::engine::evaluate_function: ")
            export.range(f"{name}{f', seq = {sequence}' if numbered else ''}, op_id = {row + 1}", *times, **thread)
        else:
            export.range(name, *times, **thread)
    kinds = {"HtoD": 1, "DtoH": 2, "DtoD": 8}
    memory = {"Pageable": 0, "Pinned": 1, "Device": 2}
    for row, name in enumerate(map(str, trace.device_names())):
        common = {
            "start": int(device.start[row]) - first, "end": int(device.end[row]) - first,
            "deviceId": int(device.device[row]), "contextId": 1, "streamId": int(device.stream[row]),
            "correlationId": int(device.correlation[row]), "globalPid": global_tid(5, 0),
        }  # fmt: skip
        if device.kind[row] == DeviceKind.KERNEL:
            number = export.string(name)
            export.add("CUPTI_ACTIVITY_KIND_KERNEL", demangledName=number, shortName=number, **common)
        elif device.kind[row] == DeviceKind.MEMSET:
            export.add("CUPTI_ACTIVITY_KIND_MEMSET", memKind=2, bytes=int(device.bytes[row]), **common)
        else:
            _, kind_name, *ends = name.replace("(", "").replace(")", "").replace("->", "").split()
            codes = {"copyKind": kinds[kind_name], "srcKind": memory[ends[0]], "dstKind": memory[ends[1]]}
            export.add("CUPTI_ACTIVITY_KIND_MEMCPY", bytes=int(device.bytes[row]), **codes, **common)
    return export
