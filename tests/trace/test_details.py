"""A second look at a trace's file, for what the first left out: of which file, and when it is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.trace.cache import Cache
from perfkit.trace.columns import Trace
from perfkit.trace.detail_columns import Details
from perfkit.trace.details import read_details
from perfkit.trace.load import load
from tests.nsys_export import NsysExport
from tests.trace.trace_damage import device_event, host_event

TEXT = json.dumps(
    [host_event(0, args={"Input Dims": [[3, 4]]}), device_event(1, args={"grid": [5, 1, 1], "block": [64, 1, 1]})]
).encode()
CHANGED = "has changed since it was read: analyze it again when no program writes to it"


def check(found: Details) -> None:
    assert found.operands.all_shapes == (((3, 4),),)
    assert found.geometry.grid.tolist() == [[5, 1, 1]]


def written(path: Path, text: bytes = TEXT) -> Path:
    path.write_bytes(text)
    return path


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_of_a_file(tmp_path: Path, name: str) -> None:
    check(read_details(load(written(tmp_path / name, gzip.compress(TEXT) if name.endswith("gz") else TEXT))))


def test_of_a_folder_and_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a folder with a trace, named from inside WHEN asked from another place THEN its file is found"""
    written(tmp_path / "a.pt.trace.json")
    monkeypatch.chdir(tmp_path)
    trace = load(".")
    monkeypatch.chdir("/")
    check(read_details(trace))


def test_of_a_file_cut_in_the_middle(tmp_path: Path) -> None:
    trace = load(written(tmp_path / "t.json", TEXT[:-20]))
    assert trace.facts.truncated_at is not None
    assert read_details(trace).operands.all_shapes == (((3, 4),),)


def test_of_a_trace_that_came_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a copy of a file that was read before WHEN asked THEN the copy is looked at"""
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path / "cache"))
    path = written(tmp_path / "t.json")
    of_any_size = Cache(smallest_bytes=0)
    load(path, cache=of_any_size)
    copy = written(tmp_path / "copy.json")
    path.unlink()
    monkeypatch.setattr("perfkit.trace.load.read_chrome_json", None)
    check(read_details(load(copy, cache=of_any_size)))


def test_progress_counts_bytes(tmp_path: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    read_details(load(written(tmp_path / "t.json")), lambda *at: calls.append(at))
    assert calls == [(len(TEXT), len(TEXT))]


def test_standard_input_cannot_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(TEXT)))
    with pytest.raises(UsageError, match=r"^standard input can be read only once, .*: save it as a file"):
        read_details(load("-"))


def test_a_pipe_cannot_be_read_twice(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=written, args=(pipe,))
    writer.start()
    trace = load(pipe)
    writer.join()
    with pytest.raises(UsageError, match="pipe can be read only once"):
        read_details(trace)


@pytest.mark.parametrize("text", [TEXT + b" ", TEXT.replace(b"64", b"32")])
def test_a_file_that_changed_is_refused(tmp_path: Path, text: bytes) -> None:
    """GIVEN a file that has grown, or was written anew with the same size WHEN asked THEN refused, in one line"""
    path = written(tmp_path / "t.json")
    trace = load(path)
    written(path, text)
    os.utime(path, ns=(1, 1))
    with pytest.raises(UsageError, match=f"^{path} {CHANGED}$"):
        read_details(trace)


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json")
    trace = load(path)
    with pytest.raises(UsageError, match=CHANGED):
        read_details(trace, lambda *_: os.utime(path, ns=(1, 1)))


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    path = written(tmp_path / "t.json")
    trace = load(path)
    path.unlink()
    with pytest.raises(UsageError, match=f"^{path} cannot be read a second time: No such file or directory$"):
        read_details(trace)


# --- nsys ---------------------------------------------------------------------------------------------------------


def exported(path: Path) -> Path:
    return NsysExport().range("r", 0, 20).kernel("k", 1, 9, 1, gridX=5, gridY=1, gridZ=1).write(path)


def check_nsys(trace: Trace) -> None:
    found = read_details(trace)
    assert found.geometry.grid.tolist() == [[5, 1, 1]]
    assert len(found.operands) == len(found.calls) == len(trace.host) == 1
    can = trace.recording.capabilities
    assert (can.operands, can.counters, can.memory_events) == (False, False, False)


def test_of_an_export(tmp_path: Path) -> None:
    check_nsys(load(exported(tmp_path / "x.sqlite")))


def test_of_a_report_by_the_export_beside_it(tmp_path: Path) -> None:
    report = written(tmp_path / "x.nsys-rep", b"NVIDIA Tegra Profiler Report")
    exported(tmp_path / "x.sqlite")
    check_nsys(load(report))


def test_of_a_report_that_is_exported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a report alone and an nsys that exports it WHEN asked THEN what that writes is looked at"""
    report = written(tmp_path / "x.nsys-rep", b"NVIDIA Tegra Profiler Report")
    script = written(tmp_path / "nsys", b"#!/bin/sh\nwhile [ $1 != -o ]; do shift; done\ncp ${0%nsys}made $2\n")
    script.chmod(0o755)
    exported(tmp_path / "made")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    check_nsys(load(report))


def test_of_an_export_that_changed(tmp_path: Path) -> None:
    path = exported(tmp_path / "x.sqlite")
    trace = load(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(UsageError, match=CHANGED):
        read_details(trace)
