"""Reading kernels alone: what is left out is left out, and the kernels are those of the whole trace."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

import pytest

from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import MISSING, Content, DeviceKind
from perfkit.trace.load import load
from tests.nsys_export import NsysExport
from tests.trace.trace_damage import device_event, host_event, small_trace


def test_of_a_kineto_trace(tmp_path: Path) -> None:
    # GIVEN
    path = tmp_path / "a.pt.trace.json"
    path.write_bytes(small_trace())
    whole = load(path)
    assert len(whole.host)
    kernels = whole.device.kind == DeviceKind.KERNEL

    # WHEN
    alone = load(path, content=Content.KERNELS)

    # THEN
    assert (len(alone.host), len(alone.flows)) == (0, 0)
    assert alone.device_names().tolist() == whole.device_names(kernels).tolist()
    assert alone.device.start.tolist() == whole.device.start[kernels].tolist()
    assert alone.device.end.tolist() == whole.device.end[kernels].tolist()
    assert alone.facts == whole.facts


def test_of_kernels_names_and_times_are_read() -> None:
    """GIVEN kernels that say more, one of it odd WHEN read alone THEN the other columns say nothing, as from nsys"""
    said: dict[str, object] = {"External id": 7, "device": 1, "stream": 20, "correlation": 99, "graph node id": 5}
    events = [device_event(0, args=said), device_event(1, pid={"of": "tomorrow"}, args=[said]), host_event(2)]
    alone = read_chrome_json([listed(events)], "x", content=Content.KERNELS)
    names = {"name", "kind", "start", "end"}
    assert alone.device_names().tolist() == ["void k<0>(int)", "void k<1>(int)"]
    assert alone.device.start.tolist() == [2_000_000, 2_001_000]
    assert (alone.device.end - alone.device.start).tolist() == [1_500, 1_500]
    for field in dataclasses.fields(alone.device):
        assert field.name in names or (getattr(alone.device, field.name) == MISSING).all(), field.name
    assert (alone.devices, alone.threads) == ((), ())


@pytest.mark.parametrize("without", [[], ["demangledName"], ["shortName", "deviceId"]])
def test_of_an_nsys_export(tmp_path: Path, without: list[str]) -> None:
    # GIVEN an export, some of whose columns are not there
    path = NsysExport().range("work", 0, 90).launched("gemm", 5, 10, 30, 1).write(tmp_path / "a.sqlite")
    with sqlite3.connect(path) as database:
        for column in without:
            database.execute(f"ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN {column}")
    database.close()

    # WHEN
    alone = load(path, content=Content.KERNELS)

    # THEN
    assert len(alone.host) == 0
    assert alone.device_names().tolist() == ["gemm"]
    assert (alone.device.start.tolist(), alone.device.end.tolist()) == ([10], [30])


def listed(events: list[dict[str, object]]) -> bytes:
    return json.dumps({"traceEvents": events}).encode()


def test_kernels_among_pieces_that_have_none() -> None:
    """GIVEN pieces of the text with kernels and without, in turn WHEN read alone THEN kernels and facts are the whole's

    The pieces without are decoded to phases and categories only.
    """
    events = [(device_event if n // 50 % 2 else host_event)(n) for n in range(400)]
    whole, alone = (read_chrome_json([listed(events)], "x", chunk=1_000, content=content) for content in Content)
    assert alone.device.start.tolist() == whole.device.start.tolist()
    assert alone.device_names().tolist() == whole.device_names().tolist()
    assert alone.facts == whole.facts
    assert alone.facts.events == 400


@pytest.mark.parametrize(
    "category", ["kernel", "Kernel", "KERNEL", r"\u006bernel", "concurrent_kernel", "mtia_ccp_events", "\u212aernel"]
)
def test_a_kernel_among_others_is_found_however_its_category_is_spelled(category: str) -> None:
    """GIVEN one kernel behind a piece without any WHEN read alone THEN it is there"""
    events = [host_event(0, args={"padding": "x" * 2_000}), device_event(1, cat="spelled"), host_event(2)]
    text = listed(events).replace(b"spelled", category.encode())
    trace = read_chrome_json([text], "x", chunk=1_000, content=Content.KERNELS)
    assert trace.device.start.tolist() == [2_001_000]
    assert trace.facts.events == 3


@pytest.mark.parametrize("damage", [b"aten::\xff", b"aten::\\x", b'aten::"x', b"aten::\x01"])
def test_damage_among_others_is_said(damage: bytes) -> None:
    """GIVEN a damaged name of an operator WHEN kernels are read alone THEN the repair is counted as in the whole"""
    text = listed([*map(host_event, range(30)), device_event(1)]).replace(b"aten::op_3", damage, 1)
    whole, alone = (read_chrome_json([text], "x", chunk=1_000, content=content) for content in Content)
    assert whole.facts.repairs
    assert alone.facts == whole.facts
    assert alone.device.start.tolist() == whole.device.start.tolist() == [2_001_000]


@pytest.mark.parametrize("changes", [{"cat": 5}, {"cat": None}, {"ph": 7}, {"cat": "of tomorrow", "ph": "i"}])
def test_events_that_are_odd_are_counted_as_in_the_whole(changes: dict[str, object]) -> None:
    """GIVEN an event whose category or phase is odd WHEN kernels are read alone THEN the facts are the whole's"""
    events = [*map(host_event, range(30)), host_event(30, **changes), device_event(1)]
    whole, alone = (read_chrome_json([listed(events)], "x", chunk=1_000, content=content) for content in Content)
    assert alone.facts.ignored == whole.facts.ignored
    assert alone.facts.events == whole.facts.events
    assert alone.device.start.tolist() == [2_001_000]


def test_many_chunks_stay_in_order() -> None:
    # GIVEN
    count = 2_560
    events = [
        {
            "ph": "X",
            "cat": "kernel",
            "name": f"k{i % 7}",
            "pid": 0,
            "tid": 7,
            "ts": i,
            "dur": 0.5,
            "args": {"stream": i},
        }
        for i in range(count)
    ]
    text = json.dumps({"traceEvents": events}).encode()

    # WHEN
    trace = read_chrome_json((text[at : at + 700] for at in range(0, len(text), 700)), "t", chunk=1024)

    # THEN
    assert len(text) / 1024 > 200
    assert trace.device.stream.tolist() == list(range(count))
    assert trace.device.start.tolist() == [1000 * i for i in range(count)]
