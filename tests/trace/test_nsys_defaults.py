"""What a column stands for that an export of nsys does not have, and what each of its codes means."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.errors import UsageError
from perfkit.trace.columns import MISSING, NO_TIME, Content, Trace
from perfkit.trace.load import load
from perfkit.trace.nsys.reader import read_nsys
from perfkit.trace.recording import Device, Recording, Tool, Versions, WholeGraphs
from tests.nsys_export import START_END, NsysExport, global_tid

CALLS, KERNELS, COPIES, SETS, WHOLE = (
    f"CUPTI_ACTIVITY_KIND_{what}" for what in ("RUNTIME", "KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")
)
PLACE = {"deviceId": 3, "contextId": 1, "streamId": 7, "globalPid": global_tid(100, 0)}


def full(path: Path, without: tuple[str, str] | None = None, instead: str | None = None) -> Trace:
    """One range, call, kernel, copy and memset of process 100; one column of a table is not there, or is `instead`."""
    export = NsysExport().range("range", 10, 90, tid=101, eventType=START_END, endGlobalTid=global_tid(100, 101))
    export.call("cudaLaunchKernel", 20, 30, 5).kernel("kernel", 40, 50, 5, **{**PLACE, "graphNodeId": 8})
    export.add(COPIES, start=50, end=55, correlationId=6, bytes=64, copyKind=1, srcKind=0, dstKind=2, **PLACE)
    export.add(SETS, start=60, end=65, correlationId=7, bytes=32, memKind=2, **PLACE)
    export.add(WHOLE, start=70, end=77)
    export.write(path)
    if without:
        with sqlite3.connect(path) as database:
            database.execute(f"ALTER TABLE {without[0]} DROP COLUMN {without[1]}")
            if instead:
                database.execute(f"ALTER TABLE {without[0]} ADD COLUMN {without[1]}")
                database.execute(f"UPDATE {without[0]} SET {without[1]} = {instead}")
        database.close()
    return load(path)


def rows(trace: Trace) -> dict[str, dict[str, Any]]:
    """Every column of the range, the call, the kernel, the copy and the memset."""
    host = ("start", "end", "correlation", "sequence", "external_id")
    device = ("start", "end", "device", "stream", "correlation", "process", "bytes", "graph_node")
    found = {}
    for row, name in enumerate(trace.host_names()):
        owner = trace.threads[trace.host.thread[row]]
        about = {column: int(getattr(trace.host, column)[row]) for column in host}
        found[("range", "call")[row]] = about | {"name": name, "thread": (owner.pid, owner.tid, owner.name)}
    for row, name in enumerate(trace.device_names()):
        about = {column: int(getattr(trace.device, column)[row]) for column in device}
        found[("kernel", "copy", "memset")[row]] = about | {"name": name}
    return found


OF_A_DEVICE_EVENT: list[tuple[str, dict[str, Any]]] = [
    ("deviceId", {"device": MISSING}),
    ("streamId", {"stream": MISSING}),
    ("correlationId", {"correlation": MISSING}),
    ("globalPid", {}),  # one process called CUDA
]


@pytest.mark.parametrize(
    ("table", "column", "of", "changed"),
    [
        # It lasts to the end of the file then, of nobody knows which thread.
        ("NVTX_EVENTS", "end", "range", {"end": 65, "thread": (100, 0, "across threads")}),
        ("NVTX_EVENTS", "endGlobalTid", "range", {}),
        ("NVTX_EVENTS", "domainId", "range", {}),
        ("NVTX_EVENTS", "textId", "range", {}),
        ("NVTX_EVENTS", "text", "range", {"name": ""}),
        (CALLS, "globalTid", "call", {"thread": (0, 0, "")}),
        (CALLS, "correlationId", "call", {"correlation": MISSING}),
        (CALLS, "nameId", "call", {"name": "string -1"}),
        *((KERNELS, column, "kernel", changed) for column, changed in OF_A_DEVICE_EVENT),
        (KERNELS, "graphNodeId", "kernel", {"graph_node": MISSING}),
        (KERNELS, "demangledName", "kernel", {}),
        (KERNELS, "shortName", "kernel", {}),
        *((COPIES, column, "copy", changed) for column, changed in OF_A_DEVICE_EVENT),
        (COPIES, "bytes", "copy", {"bytes": MISSING}),
        (COPIES, "copyKind", "copy", {"name": "Memcpy unknown (Pageable -> Device)"}),
        (COPIES, "srcKind", "copy", {"name": "Memcpy HtoD (Unknown -> Device)"}),
        (COPIES, "dstKind", "copy", {"name": "Memcpy HtoD (Pageable -> Unknown)"}),
        *((SETS, column, "memset", changed) for column, changed in OF_A_DEVICE_EVENT),
        (SETS, "bytes", "memset", {"bytes": MISSING}),
        (SETS, "memKind", "memset", {"name": "Memset (Unknown)"}),
    ],
)
def test_a_column_that_is_not_there(tmp_path: Path, table: str, column: str, of: str, changed: dict[str, Any]) -> None:
    """GIVEN an export without one column WHEN read THEN that is missing and the rest is as in the whole one"""
    expected = rows(full(tmp_path / "whole.sqlite"))
    expected[of] |= changed
    assert rows(full(tmp_path / "x.sqlite", (table, column))) == expected


def test_the_whole_export(tmp_path: Path) -> None:
    """GIVEN all columns THEN each is where it belongs; what the tests above compare with"""
    trace = full(tmp_path / "x.sqlite")
    common = {"device": 3, "stream": 7, "process": 100}
    assert rows(trace) == {
        "range": {"name": "range", "start": 10, "end": 90, "correlation": -1, "sequence": -1, "external_id": -1,
                  "thread": (100, 101, "")},
        "call": {"name": "cudaLaunchKernel", "start": 20, "end": 30, "correlation": 5, "sequence": -1,
                 "external_id": -1, "thread": (100, 100, "")},
        "kernel": common | {"name": "kernel", "start": 40, "end": 50, "correlation": 5, "bytes": -1, "graph_node": 8},
        "copy": common | {"name": "Memcpy HtoD (Pageable -> Device)", "start": 50, "end": 55, "correlation": 6,
                          "bytes": 64, "graph_node": -1},
        "memset": common | {"name": "Memset (Device)", "start": 60, "end": 65, "correlation": 7, "bytes": 32,
                            "graph_node": -1},
    }  # fmt: skip
    assert trace.facts.events == 6  # the graph is one, too
    assert trace.recording.whole_graphs == WholeGraphs(count=1, time_ns=7)
    for column in (trace.device.external_id, trace.device.annotation):
        assert column.tolist() == [MISSING] * 3
    assert trace.host.forward_thread.tolist() == [MISSING] * 2


NO_TIMES = {"not there": None, "null": "NULL", "text": "'40'", "blob": "x'3430'", "in between": "40.5",
            "endless": "9e999", "beyond 2^53": "9007199254740994.0"}  # fmt: skip


@pytest.mark.parametrize("value", NO_TIMES.values(), ids=NO_TIMES)
@pytest.mark.parametrize("column", ["start", "end"])
@pytest.mark.parametrize(
    ("table", "of"),
    [("NVTX_EVENTS", "range"), (CALLS, "call"), (KERNELS, "kernel"), (COPIES, "copy"), (SETS, "memset")],
)
def test_an_event_whose_time_is_none(tmp_path: Path, table: str, of: str, column: str, value: str | None) -> None:
    """GIVEN a start or an end that is no whole number, or is not there WHEN read THEN the event is counted, and in no
    column: any number in its place would be shown as true. Only a range of NVTX that has no end is still open."""
    trace = full(tmp_path / "x.sqlite", (table, column), value)
    if (table, column) == ("NVTX_EVENTS", "end") and value in (None, "NULL"):
        assert trace.facts.ignored == {}
        return
    expected = rows(full(tmp_path / "whole.sqlite"))
    del expected[of]
    # Of what is left, in the order of the columns: rows() goes by place.
    names = [str(name) for name in (*trace.host_names(), *trace.device_names())]
    assert names == [about["name"] for about in expected.values()]
    assert trace.host.start.tolist() + trace.device.start.tolist() == [about["start"] for about in expected.values()]
    assert trace.facts.ignored == {table + NO_TIME: 1}


@pytest.mark.parametrize("column", ["start", "end"])
def test_a_time_that_is_whole_with_a_point_is_one(tmp_path: Path, column: str) -> None:
    """GIVEN a time kept as a floating-point number THEN up to 2^53 ns, 104 days, it is as exact as a whole one"""
    trace = full(tmp_path / "x.sqlite", (KERNELS, column), "9007199254740992.0" if column == "end" else "40.0")
    assert trace.facts.ignored == {}
    assert (int(trace.device.start[0]), int(trace.device.end[0])) == (40, 2**53 if column == "end" else 50)


def test_an_export_of_nothing_but_events_without_a_time(tmp_path: Path) -> None:
    """GIVEN no event with a time WHEN read THEN refused, and the line says that there are some"""
    path = NsysExport().kernel("k", "a", "b", 1).write(tmp_path / "x.sqlite")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"CUDA work but 1 {KERNELS} without a usable time: export it again"):
        load(path)


@pytest.mark.parametrize("column", ["start", "end"])
def test_whole_graphs_without_a_time(tmp_path: Path, column: str) -> None:
    trace = full(tmp_path / "x.sqlite", (WHOLE, column))
    assert trace.recording.whole_graphs is None
    assert trace.facts.ignored == {WHOLE + NO_TIME: 1}


@pytest.mark.parametrize("column", ["eventType", "globalTid"])
def test_ranges_of_unknown_type_are_none_and_of_unknown_thread_are_of_thread_0(tmp_path: Path, column: str) -> None:
    NsysExport().range("a", 0, 9).kernel("k", 0, 9, 1).write(tmp_path / "x.sqlite")
    with sqlite3.connect(tmp_path / "x.sqlite") as database:
        database.execute(f"ALTER TABLE NVTX_EVENTS DROP COLUMN {column}")
    database.close()
    trace = load(tmp_path / "x.sqlite")
    assert [(thread.pid, thread.tid) for thread in trace.threads] == ([(0, 0)] if column == "globalTid" else [])
    assert trace.facts.events == (2 if column == "globalTid" else 1)


@pytest.mark.parametrize(("number", "name"), [(0, "perfkit::fc"), (1, "fc")])
def test_a_range_that_names_no_domain_is_of_domain_0(tmp_path: Path, number: int, name: str) -> None:
    export = NsysExport().domain("perfkit", number).range("fc", 0, 9, domainId=None)
    assert load(export.write(tmp_path / "x.sqlite")).host_names().tolist() == [name]


def test_texts_by_id_where_there_is_no_column_of_texts(tmp_path: Path) -> None:
    NsysExport(registered=True).range("a", 0, 9).range("b", 1, 8).write(tmp_path / "x.sqlite")
    with sqlite3.connect(tmp_path / "x.sqlite") as database:
        database.execute("ALTER TABLE NVTX_EVENTS DROP COLUMN text")
    database.close()
    assert load(tmp_path / "x.sqlite").host_names().tolist() == ["a", "b"]


def test_kernels_without_any_name(tmp_path: Path) -> None:
    for content in Content:
        path = NsysExport().kernel("k", 0, 9, 1, demangledName="?", shortName="?").write(tmp_path / content.name)
        assert load(path, content=content).device_names().tolist() == ["string -1"]


def test_the_demangled_name_is_preferred(tmp_path: Path) -> None:
    export = NsysExport()
    export.kernel("k", 0, 9, 1, demangledName=export.string("long"), shortName=export.string("short"))
    path = export.write(tmp_path / "x.sqlite")
    for content in Content:
        assert load(path, content=content).device_names().tolist() == ["long"]


def test_everything_is_read_unless_kernels_alone_are_asked_for(tmp_path: Path) -> None:
    path = NsysExport().range("a", 0, 9).kernel("k", 0, 9, 1).write(tmp_path / "x.sqlite")
    assert len(read_nsys(path, "x").host) == 1
    assert len(read_nsys(path, "x", content=Content.KERNELS).host) == 0


# --- codes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name"),
    # CUpti_ActivityMemcpyKind, as nsys documents it for ENUM_CUDA_MEMCPY_OPER
    [(-1, "unknown"), (0, "unknown"), (1, "HtoD"), (2, "DtoH"), (3, "HtoA"), (4, "AtoH"), (5, "AtoA"), (6, "AtoD"),
     (7, "DtoA"), (8, "DtoD"), (9, "HtoH"), (10, "PtoP"), (11, "HtoD (unified)"), (12, "DtoH (unified)"),
     (13, "DtoD (unified)"), (14, "unknown")],
)  # fmt: skip
def test_kinds_of_copies(tmp_path: Path, code: int, name: str) -> None:
    export = NsysExport().add(COPIES, start=0, end=1, copyKind=code, srcKind=0, dstKind=1, **PLACE)
    export.string("in every export")
    trace = load(export.write(tmp_path / "x.sqlite"))
    assert trace.device_names().tolist() == [f"Memcpy {name} (Pageable -> Pinned)"]


@pytest.mark.parametrize(
    ("code", "name"),
    # ENUM_CUDA_MEM_KIND of nsys
    [(-1, "Unknown"), (0, "Pageable"), (1, "Pinned"), (2, "Device"), (3, "Array"), (4, "Managed"),
     (5, "Device Static"), (6, "Managed Static"), (7, "Unknown")],
)  # fmt: skip
def test_kinds_of_memory(tmp_path: Path, code: int, name: str) -> None:
    export = NsysExport().add(SETS, start=0, end=1, memKind=code, **PLACE)
    export.add(COPIES, start=0, end=1, copyKind=1, srcKind=code, dstKind=2, **PLACE)
    export.string("in every export")
    trace = load(export.write(tmp_path / "x.sqlite"))
    assert trace.device_names().tolist() == [f"Memcpy HtoD ({name} -> Device)", f"Memset ({name})"]


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [("f_v7000", "f"), ("f_v10000", "f"), ("f_v999", "f_v999"), ("f_v7000_ptsz", "f_v7000_ptsz"), ("f_v2", "f_v2")],
)
def test_the_version_of_cuda_is_taken_off_a_call(tmp_path: Path, recorded: str, shown: str) -> None:
    assert load(NsysExport().call(recorded, 0, 1, 1).write(tmp_path / "x.sqlite")).host_names().tolist() == [shown]


def test_a_correlation_of_0_is_none(tmp_path: Path) -> None:
    trace = load(NsysExport().launched("k", 0, 5, 9, correlation=0).write(tmp_path / "x.sqlite"))
    assert (trace.host.correlation.tolist(), trace.device.correlation.tolist()) == ([MISSING], [MISSING])


def test_processes_and_threads_have_24_bits_each(tmp_path: Path) -> None:
    export = NsysExport().range("a", 0, 9, 0xFFFFFF, 0xABCDEF).kernel("k", 0, 9, 1, pid=0xFFFFFF)
    trace = load(export.write(tmp_path / "x.sqlite"))
    assert [(thread.pid, thread.tid) for thread in trace.threads] == [(0xFFFFFF, 0xABCDEF)]
    assert trace.device.process.tolist() == [0xFFFFFF]


@pytest.mark.parametrize(("number", "device"), [(-2, -1), (0, 0), (2**31 - 1, 2**31 - 1), (2**31, -1)])
def test_devices_whose_number_is_none(tmp_path: Path, number: int, device: int) -> None:
    trace = load(NsysExport().kernel("k", 0, 9, 1, deviceId=number).write(tmp_path / "x.sqlite"))
    assert trace.device.device.tolist() == [device]


def test_streams_of_further_contexts_are_set_apart_device_by_device(tmp_path: Path) -> None:
    """GIVEN contexts 1, 2 and 5 of device 0, and 2 of device 1 THEN the high bits count them from 0 on each device"""
    export = NsysExport()
    for device, context in ((0, 5), (0, 1), (1, 2), (0, 2)):
        export.kernel("k", 0, 9, 1, deviceId=device, contextId=context)
    streams = load(export.write(tmp_path / "x.sqlite")).device.stream
    assert [(int(s) >> 32, int(s) & 0xFFFFFFFF) for s in streams] == [(2, 7), (0, 7), (0, 7), (1, 7)]


def test_streams_without_contexts_are_as_numbered(tmp_path: Path) -> None:
    export = NsysExport().kernel("k", 0, 9, 1, contextId="?").kernel("k", 0, 9, 1, contextId="?", streamId=8)
    assert load(export.write(tmp_path / "x.sqlite")).device.stream.tolist() == [7, 8]


@pytest.mark.parametrize("content", list(Content))
def test_ends_before_starts_are_counted(tmp_path: Path, content: Content) -> None:
    export = NsysExport().kernel("back", 9, 8, 1).kernel("at once", 9, 9, 2).kernel("on", 9, 10, 3)
    export.range("back", 9, 8).range("at once", 9, 9).call("back", 9, 2, 1)
    trace = load(export.write(tmp_path / "x.sqlite"), content=content)
    assert trace.device.end.tolist() == [9, 9, 10]
    assert trace.facts.negative_durations == (1 if content is Content.KERNELS else 3)
    assert trace.facts.events == (3 if content is Content.KERNELS else 6)
    if content is Content.ALL:
        assert trace.host.end.tolist() == [9, 9, 9]


def test_kernels_alone_say_nothing_of_where_they_ran(tmp_path: Path) -> None:
    export = NsysExport().kernel("a", 0, 9, 1, graphNodeId=4).kernel("b", 1, 9, 1).kernel("a", 2, 9, 1)
    trace = load(export.write(tmp_path / "x.sqlite"), content=Content.KERNELS)
    assert trace.device_names().tolist() == ["a", "b", "a"]
    for column in ("device", "stream", "correlation", "external_id", "process", "bytes", "graph_node", "annotation"):
        assert getattr(trace.device, column).tolist() == [MISSING] * 3
    assert trace.device.device.dtype == np.int32


# --- the file about itself ----------------------------------------------------------------------------------------

GPU = {
    "id": 1, "name": "H100", "totalMemory": 80, "smCount": 132, "computeMajor": 9, "computeMinor": 0, "clockRate": 1980,
    "memoryBandwidth": 3350,
}  # fmt: skip


@pytest.mark.parametrize("content", list(Content))
@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ("", [Device(1, "H100", 80, 132, 9, 0, 1980, 3350)]),
        ("id", []),
        ("name", []),
        ("totalMemory", [Device(1, "H100", None, 132, 9, 0, 1980, 3350)]),
        ("smCount", [Device(1, "H100", 80, None, 9, 0, 1980, 3350)]),
        ("computeMajor", [Device(1, "H100", 80, 132, None, 0, 1980, 3350)]),
        ("computeMinor", [Device(1, "H100", 80, 132, 9, None, 1980, 3350)]),
        ("clockRate", [Device(1, "H100", 80, 132, 9, 0, None, 3350)]),
        ("memoryBandwidth", [Device(1, "H100", 80, 132, 9, 0, 1980, None)]),
    ],
)
def test_devices(tmp_path: Path, without: str, expected: list[Device], content: Content) -> None:
    path = NsysExport().kernel("k", 0, 9, 1).write(tmp_path / "x.sqlite")
    described = {column: value for column, value in GPU.items() if column != without}
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE TARGET_INFO_GPU ({', '.join(described)})")
        database.execute(
            f"INSERT INTO TARGET_INFO_GPU VALUES ({', '.join('?' * len(described))})", list(described.values())
        )
    database.close()
    assert list(load(path, content=content).recording.devices) == expected


def test_rows_whose_key_is_no_number_are_nobodys(tmp_path: Path) -> None:
    """GIVEN a device, a string and a thread's name whose number is a text WHEN read THEN they are not number 0's"""
    path = (
        NsysExport()
        .kernel("k", 0, 9, 1, demangledName=0, shortName=0)
        .range("r", 0, 9, globalTid=0)
        .write(tmp_path / "x.sqlite")
    )
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE StringIds")
        for made in ("TARGET_INFO_GPU(id, name)", "StringIds(id, value)", "ThreadNames(globalTid, nameId)"):
            database.execute(f"CREATE TABLE {made}")
            database.execute(f"INSERT INTO {made.partition('(')[0]} VALUES ('?', 'wrong')")
    database.close()
    trace = load(path)
    assert (trace.recording.devices, trace.device_names().tolist()) == ((), ["string 0"])
    assert [thread.name for thread in trace.threads] == [""]


@pytest.mark.parametrize("without", ["pid", "cudaId", "gpuId"])
def test_devices_are_as_the_process_numbers_them_where_the_table_does_not_say(tmp_path: Path, without: str) -> None:
    export = NsysExport().kernel("a", 0, 9, 1, pid=100)
    export.add("TARGET_INFO_CUDA_DEVICE", gpuId=4, cudaId=0, pid=100).write(tmp_path / "x.sqlite")
    with sqlite3.connect(tmp_path / "x.sqlite") as database:
        database.execute(f"ALTER TABLE TARGET_INFO_CUDA_DEVICE DROP COLUMN {without}")
    database.close()
    assert load(tmp_path / "x.sqlite").device.device.tolist() == [0]


@pytest.mark.parametrize(
    ("values", "expected"), [(None, None), ([], None), (["x"], None), ([0], None), ([1], 1), ([5, 6], 5)]
)
def test_the_time_of_time_zero(tmp_path: Path, values: list[Any] | None, expected: int | None) -> None:
    path = NsysExport().kernel("k", 0, 9, 1).write(tmp_path / "x.sqlite")
    with sqlite3.connect(path) as database:
        if values is not None:
            database.execute("CREATE TABLE TARGET_INFO_SESSION_START_TIME (utcEpochNs)")
            database.executemany("INSERT INTO TARGET_INFO_SESSION_START_TIME VALUES (?)", [(v,) for v in values])
    database.close()
    assert load(path).facts.base_time_ns == expected


@pytest.mark.parametrize(
    ("tables", "version", "schema"),
    [
        ([], "", ""),
        (["META_DATA_EXPORT"], "of META_DATA_EXPORT", "3.1"),
        (["EXPORT_META_DATA"], "of EXPORT_META_DATA", "3.1"),
        (["EXPORT_META_DATA", "META_DATA_EXPORT"], "of META_DATA_EXPORT", "3.1"),
    ],
)
def test_versions(tmp_path: Path, tables: list[str], version: str, schema: str) -> None:
    export = NsysExport().kernel("k", 0, 9, 1)
    for table in tables:
        export.add(table, name="EXPORT_PRODUCT_VERSION", value=f"of {table}")
        export.add(table, name="EXPORT_SCHEMA_VERSION", value="3.1")
    recording = load(export.write(tmp_path / "x.sqlite")).recording
    assert recording == Recording(Tool.NSYS, Versions(tool=version, schema=schema))


@pytest.mark.parametrize(("without", "name"), [("", "trainer"), ("nameId", ""), ("globalTid", "")])
def test_names_of_threads(tmp_path: Path, without: str, name: str) -> None:
    export = NsysExport().range("a", 0, 9)
    named = {"nameId": export.string("trainer"), "globalTid": global_tid(100)}
    export.add("ThreadNames", **named).add("ThreadNames", **named | {"globalTid": global_tid(7)})
    export.write(tmp_path / "x.sqlite")
    if without:
        with sqlite3.connect(tmp_path / "x.sqlite") as database:
            database.execute(f"ALTER TABLE ThreadNames DROP COLUMN {without}")
        database.close()
    assert [thread.name for thread in load(tmp_path / "x.sqlite").threads] == [name]
