"""A trace that several processes read is the one that a single process reads."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from perfkit.trace import load as loading
from perfkit.trace.chrome import reader, workers
from perfkit.trace.chrome.columns import ColumnBuilder
from perfkit.trace.chrome.document import Document
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.chrome.window import Window
from perfkit.trace.chrome.workers import DoubtfulError, SharedColumns, Sizes
from perfkit.trace.columns import AutogradFlows, DeviceEvents, HostRanges, Trace

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forks")

CHUNK = 2_000
SIZES = Sizes(start=3_000, small=200, task=5_000)
"""Some chunks are read before the workers start, and each gets several tasks."""


def event(number: int, **changes: Any) -> dict[str, Any]:
    """An event of one of several kinds; names, threads and arguments come up one after the other."""
    host = {
        "ph": "X", "cat": "cpu_op", "name": f"aten::op{number // 7 % 40}", "pid": 1, "tid": 2 + number % 3,
        "ts": number * 1.5, "dur": 1.25,
        "args": {"External id": number, "Input Dims": [[number // 11 % 30, 4]], "Sequence number": number},
    }  # fmt: skip
    device = {
        "ph": "X", "cat": "kernel", "name": f"kernel{number // 5 % 25}", "pid": number % 2, "tid": 7, "ts": number,
        "dur": 2, "args": {"device": number % 2, "stream": 7, "correlation": number},
    }  # fmt: skip
    rarer = (
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": 2, "args": {"name": f"called {number}"}},
        {"ph": "s", "cat": "fwdbwd", "name": "f", "id": number, "pid": 1, "tid": 2, "ts": number},
        {"ph": "X", "cat": f"unknown {number // 50}", "name": "x", "pid": 1, "tid": 2, "ts": number, "dur": 3},
        {"ph": "X", "cat": "cpu_op", "name": "without a time", "pid": 1, "tid": 2, "ts": "soon", "dur": 1},
        {"ph": "X", "cat": "cpu_op", "name": "backwards", "pid": 1, "tid": "main", "ts": number, "dur": -1},
        {"ph": "X", "cat": "overhead", "name": "o", "pid": 1, "tid": 2, "ts": number, "dur": 4},
    )
    chosen = rarer[number // 13 % 6] if number % 13 == 0 else device if number % 3 == 0 else host
    return {**chosen, **changes}


def text(count: int = 900) -> bytes:
    """A trace of about 130 kB."""
    return json.dumps({"schemaVersion": 1, "traceEvents": [event(n) for n in range(count)], "traceName": "t"}).encode()


def pieces(content: bytes) -> list[bytes]:
    return [content[at : at + 300] for at in range(0, len(content), 300)]


def read(content: bytes, columns: ColumnBuilder) -> ColumnBuilder:
    Document(Window(pieces(content), CHUNK), "t.json", columns).read()
    columns.finish()
    return columns


def facts(columns: ColumnBuilder) -> dict[str, Any]:
    """All that a trace takes from the columns; arrays as bytes."""
    tables = {}
    for table in (HostRanges, DeviceEvents, AutogradFlows):
        taken = columns.take(table)
        arrays = {f.name: getattr(taken, f.name) for f in dataclasses.fields(table)}
        tables[table.__name__] = {name: (array.dtype.str, array.tobytes()) for name, array in arrays.items()}
    return {
        **tables, "names": columns.names(), "threads": columns.threads(), "arguments": columns.arguments(),
        "ignored": columns.ignored, "events": columns.events, "unknown": columns.unknown,
        "devices": columns.identified(), "resolution": columns.resolution_ns, "overhead": columns.overhead_ns,
        "negative": columns.negative_durations,
    }  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_workers_leave_what_one_process_leaves(processes: int):
    """GIVEN events of every kind WHEN workers read most of them THEN all columns, codes and counts are the same"""
    alone = facts(read(text(), ColumnBuilder()))
    with closing(SharedColumns(processes, sizes=SIZES)) as columns:
        shared = facts(read(text(), columns))
        assert sum(map(len, columns._workers[0].maps.values()))
    assert shared == alone


def test_columns_that_do_not_fit_into_shared_memory_are_sent():
    """GIVEN less memory than the columns of any task need THEN the columns are the same"""
    small = msgspec.structs.replace(SIZES, columns=500)
    with closing(SharedColumns(2, sizes=small)) as columns:
        shared = facts(read(text(), columns))
    assert shared == facts(read(text(), ColumnBuilder()))


def test_a_text_that_does_not_decode_is_left_to_one_process():
    """GIVEN a damaged event in the middle THEN DoubtfulError; in one process it is left out and counted"""
    damaged = text().replace(b'"aten::op12"', b'"aten::op12', 1)
    with closing(SharedColumns(2, sizes=SIZES)) as columns, pytest.raises(DoubtfulError):
        read(damaged, columns)


def test_a_worker_that_is_killed_costs_no_event():
    """GIVEN a worker that is killed THEN DoubtfulError, after which one process reads the file"""
    with closing(SharedColumns(2, sizes=SIZES)) as columns:
        columns.add(columns.decode(b'{"ph":"X"}' + b" " * 3_000))
        columns.add(columns.decode(b'{"ph":"X"}' + b" " * 3_000))
        os.kill(columns._workers[0]._pid, signal.SIGKILL)
        with pytest.raises(DoubtfulError):
            read(text(), columns)


@pytest.mark.parametrize(("size", "started"), [(0, False), (2_999, False), (3_000, True)])
def test_workers_of_a_large_file_start_at_once(size: int, started: bool):
    """GIVEN a file at least as large as what is read before workers start THEN they have its first text already"""
    with closing(SharedColumns(1, size=size, sizes=SIZES)) as columns:
        columns.decode(b'{"ph":"X"}' + b" " * 300)
        assert bool(columns._workers) is started


@pytest.mark.parametrize("change", ["none", "a damaged name", "a time of four decimals", "both"])
def test_a_file_is_read_alike(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """GIVEN a file, whole or damaged WHEN load uses workers THEN the trace is the one without them, repairs included"""
    content = text()
    if change in ("a damaged name", "both"):
        content = content.replace(b'"aten::op12"', b'"aten::op12', 1)
    if change in ("a time of four decimals", "both"):
        content = content.replace(b'"dur": 1.25', b'"dur": 1.2505', 300).replace(b'"dur": 1.2505', b'"dur": 1.25', 299)
    path = tmp_path / "t.json"
    path.write_bytes(content)
    alone = read_chrome_json([content], str(path))
    used = []

    def small(data: Iterable[bytes]) -> Iterator[bytes]:
        for piece in data:
            yield from pieces(piece)

    def shared(count: int, **options: Any) -> SharedColumns:
        used.append(count)
        return SharedColumns(count, sizes=SIZES, **options)

    monkeypatch.setattr(reader, "Window", lambda data, _chunk: Window(small(data), CHUNK))
    monkeypatch.setattr(reader, "SharedColumns", shared)
    monkeypatch.setattr(workers, "number", lambda: 2)
    loaded = dataclasses.replace(loading.load(path, use_cache=False), origin=alone.origin)
    assert as_bytes(loaded) == as_bytes(alone)
    assert used == [2] * (2 if change == "a time of four decimals" else 1)


def as_bytes(trace: Trace) -> Any:
    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.dtype.str, value.tobytes()
        if dataclasses.is_dataclass(value):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return value

    return plain(trace)


def test_reading_without_workers_needs_none():
    """GIVEN no workers THEN the same function reads in this process"""
    trace = read_chrome_json([text()], "t.json", repairs=Counter())
    assert len(trace.host) > 300
