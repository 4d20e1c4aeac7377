"""The same recording as each version of nsys would export it: tables and columns as they are in real exports.

Columns of 3.0.0 (nsys 2022.4.2), 3.7.2 (2023.4.4) and 3.24.0 (2025.5.2) are those that `nsys export --lazy=false`
creates; those of 3.1.2 (2023.1.2) and 3.25.0 (2026.2.1) are in files of the corpus.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.trace.columns import Trace
from perfkit.trace.load import load
from perfkit.trace.recording import Device
from tests.nsys_export import global_tid

PLACE = "start end deviceId contextId streamId correlationId globalPid"
GREEN = PLACE.replace("contextId", "contextId greenContextId")
KERNEL = (
    "demangledName shortName mangledName launchType cacheConfig registersPerThread gridX gridY gridZ blockX blockY"
    " blockZ staticSharedMemory dynamicSharedMemory localMemoryPerThread localMemoryTotal gridId sharedMemoryExecuted"
    " graphNodeId sharedMemoryLimitConfig"
)
CLUSTER = (
    " qmdBulkReleaseDone qmdPreexitDone qmdLastCtaDone graphId clusterX clusterY clusterZ clusterSchedulingPolicy"
    " maxPotentialClusterSize maxActiveClusters"
)
COPY = (
    "bytes copyKind deprecatedSrcId srcKind dstKind srcDeviceId srcContextId dstDeviceId dstContextId migrationCause"
    " graphNodeId virtualAddress"
)
SET = "value bytes graphNodeId memKind"
CALL = "start end eventClass globalTid correlationId nameId returnValue callchainId"
NVTX = (
    "start end eventType rangeId category color text globalTid endGlobalTid textId domainId uint64Value int64Value"
    " doubleValue uint32Value int32Value floatValue jsonTextId jsonText"
)
GPU = "vmId id name busLocation totalMemory smCount computeMajor computeMinor"

OLD = {"KERNEL": f"{PLACE} {KERNEL}", "MEMCPY": f"{PLACE} {COPY}", "MEMSET": f"{PLACE} {SET}", "RUNTIME": CALL}
MIDDLE = {"KERNEL": f"{GREEN} {KERNEL}", "MEMCPY": f"{GREEN} {COPY}", "MEMSET": f"{GREEN} {SET}", "RUNTIME": CALL}
NEW = MIDDLE | {"KERNEL": f"{GREEN} {KERNEL}{CLUSTER}", "MEMCPY": f"{GREEN} {COPY} copyCount"}
NEWEST = NEW | {
    "KERNEL": f"{NEW['KERNEL']} sharedMemoryRequestedPercentage tensorSizeMinusOneElements",
}
DEVICES = {"TARGET_INFO_GPU": GPU}
IDS = {"TARGET_INFO_CUDA_DEVICE": "gpuId cudaId pid"}
CUPTI = "CUPTI_ACTIVITY_KIND_"

SCHEMAS: dict[str, dict[str, str]] = {
    "3.0.0": {"NVTX_EVENTS": NVTX, "EXPORT_META_DATA": "name value"} | OLD | DEVICES,
    "3.1.2": {"NVTX_EVENTS": NVTX, "EXPORT_META_DATA": "name value"} | OLD | DEVICES,
    "3.7.2": {"NVTX_EVENTS": NVTX, "META_DATA_EXPORT": "name value"} | MIDDLE | DEVICES,
    "3.24.0": {"NVTX_EVENTS": f"{NVTX} binaryData", "META_DATA_EXPORT": "name value"} | NEW | DEVICES | IDS,
    "3.25.0": {"NVTX_EVENTS": f"{NVTX} binaryData", "META_DATA_EXPORT": "name value"} | NEWEST | DEVICES | IDS,
}

TID, PID = global_tid(100, 101), global_tid(100, 0)
STRINGS = {1: "forward", 2: "cudaLaunchKernel_v7000", 3: "cudaMemcpyAsync_v3020", 4: "gemm", 5: "cudaMemsetAsync_v3020"}
ON = {"deviceId": 0, "contextId": 1, "streamId": 7, "globalPid": PID, "greenContextId": None}
ROWS: dict[str, list[dict[str, Any]]] = {
    "NVTX_EVENTS": [{"start": 0, "end": 90, "eventType": 59, "textId": 1, "globalTid": TID, "domainId": 0}],
    "RUNTIME": [
        {"start": start, "end": start + 2, "globalTid": TID, "correlationId": number, "nameId": name, "returnValue": 0}
        for start, number, name in ((10, 1, 2), (20, 2, 3), (30, 3, 5))
    ],
    "KERNEL": [{"start": 40, "end": 50, "correlationId": 1, "demangledName": 4, "shortName": 4, "gridX": 1, **ON}],
    "MEMCPY": [{"start": 50, "end": 53, "correlationId": 2, "bytes": 64, "copyKind": 1, "srcKind": 1, "dstKind": 2,
                **ON}],
    "MEMSET": [{"start": 60, "end": 61, "correlationId": 3, "bytes": 8, "memKind": 2, "value": 0, **ON}],
    "TARGET_INFO_GPU": [{"vmId": 1, "id": 0, "name": "A", "totalMemory": 9, "smCount": 2, "computeMajor": 8,
                         "computeMinor": 0}],
    "TARGET_INFO_CUDA_DEVICE": [{"gpuId": 0, "cudaId": 0, "pid": 100}],
}  # fmt: skip


def exported(path: Path, schema: str, suffix: str = "") -> Trace:
    """The recording as this schema has it; `suffix` is added to the names of CUPTI's tables."""
    tables = SCHEMAS[schema] | {"StringIds": "id value"}
    meta = next(table for table in tables if table.endswith(("META_DATA", "META_DATA_EXPORT")))
    rows = ROWS | {meta: [{"name": "EXPORT_SCHEMA_VERSION", "value": schema}]}
    rows["StringIds"] = [{"id": number, "value": text} for number, text in STRINGS.items()]
    with sqlite3.connect(path) as database:
        for table, columns in tables.items():
            name = f"{CUPTI}{table}{suffix}" if table in OLD else table
            database.execute(f"CREATE TABLE {name} ({', '.join(columns.split())})")
            for row in rows.get(table, []):
                values = [row.get(column) for column in columns.split()]
                database.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(values))})", values)
    database.close()
    return load(path)


def test_rows_are_in_columns_that_there_are():
    """GIVEN the rows below WHEN compared with the newest tables THEN no value has a column that no nsys writes"""
    for table, rows in ROWS.items():
        for row in rows:
            assert row.keys() <= set(SCHEMAS["3.25.0"][table].split()), table


@pytest.mark.parametrize("suffix", ["", "_V2"])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_every_schema_gives_the_same_trace(tmp_path: Path, schema: str, suffix: str) -> None:
    """GIVEN one range, three calls, a kernel, a copy and a memset THEN each schema has them, with links and names"""
    trace = exported(tmp_path / "report.sqlite", schema, suffix)
    assert trace.recording.versions.schema == schema
    assert trace.host_names().tolist() == ["forward", "cudaLaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync"]
    assert trace.device_names().tolist() == ["gemm", "Memcpy HtoD (Pinned -> Device)", "Memset (Device)"]
    device = trace.device
    assert (device.end - device.start).tolist() == [10, 3, 1]
    assert trace.host.correlation.tolist() == [-1, 1, 2, 3]
    assert device.correlation.tolist() == [1, 2, 3]
    assert device.process.tolist() == [100] * 3
    assert device.bytes.tolist() == [-1, 64, 8]
    assert np.unique(device.stream).tolist() == [7]
    assert trace.recording.devices == (Device(0, "A", 9, 2, 8, 0),)
