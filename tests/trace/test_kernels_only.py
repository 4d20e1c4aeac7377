"""Reading kernels alone: what is left out is left out, and the kernels are those of the whole trace."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

import pytest

from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.chrome.routing import _JOINED_CHUNKS
from perfkit.trace.columns import Content, DeviceKind
from perfkit.trace.load import load
from tests.nsys_export import NsysExport
from tests.trace.trace_damage import small_trace


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


def test_nothing_that_a_kernel_says_is_left_out() -> None:
    """GIVEN kernels that say all that a column holds WHEN read alone THEN each column is as in the whole trace"""
    said: dict[str, object] = {"External id": 7, "external id": 8, "device": 1, "stream": 20, "correlation": 99}
    graph = {"graph node id": 5, "name": "block 2"}
    args = [
        said,
        said | graph,
        {"external id": 6, "bytes": 64} | graph | {"module_fqn": "layers.1"},
        {"str": "a"} | graph,
    ]
    events = [
        {"ph": "X", "cat": "kernel", "name": f"k{row}", "pid": 0, "tid": 3, "ts": row, "dur": 0.5, "args": each}
        for row, each in enumerate(args)
    ]
    text = json.dumps({"traceEvents": events}).encode()
    whole, alone = (read_chrome_json([text], "x", content=content).device for content in Content)
    columns = [field.name for field in dataclasses.fields(whole)]
    assert {"stream", "correlation", "external_id", "bytes", "graph_node", "annotation"} <= set(columns)
    for column in columns:
        assert getattr(alone, column).tolist() == getattr(whole, column).tolist(), column
    assert whole.annotation.max() >= 2


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


def test_chunks_that_are_joined_on_the_way_stay_in_order() -> None:
    # GIVEN more chunks than are kept apart
    count = 40 * _JOINED_CHUNKS
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
    assert len(text) / 1024 > 2 * _JOINED_CHUNKS
    assert trace.device.stream.tolist() == list(range(count))
    assert trace.device.start.tolist() == [1000 * i for i in range(count)]
