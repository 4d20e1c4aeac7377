"""Sums that no recording has: refused, for int64 would show the rest of them as true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.trace.columns import NO_TIME, Content
from perfkit.trace.load import load
from tests.nsys_export import NsysExport

TEN_YEARS = 315_360_000 * 10**9  # in ns
MOST = 1 << 62
PLACE = {"deviceId": 0, "contextId": 1, "streamId": 7}


def chrome(path: Path, cat: str, count: int, duration: int, byte_count: int = 1) -> Path:
    """So many events of one category and duration in ns, behind a kernel of 5 us."""
    small = {"ph": "X", "cat": "kernel", "name": "small", "pid": 0, "tid": 7, "ts": 0, "dur": 5, "args": {}}
    large = small | {"cat": cat, "name": "large", "dur": f"{duration}e-3", "args": {"bytes": byte_count}}
    path.write_text(json.dumps({"traceEvents": [small, *[large] * count]}))
    return path


def nsys(path: Path, cat: str, count: int, duration: int, byte_count: int = 1) -> Path:
    """The same as an export of nsys."""
    rows = NsysExport().kernel("small", 0, 5_000, 1)
    for _ in range(count):
        if cat == "kernel":
            rows.kernel("large", 0, duration, 2)
        elif cat == "gpu_memcpy":
            rows.add("CUPTI_ACTIVITY_KIND_MEMCPY", start=0, end=duration, bytes=byte_count, copyKind=1, **PLACE)
        elif cat == "cuda_runtime":
            rows.call("large", 0, duration, 2)
        else:
            rows.add("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", start=0, end=duration)
    return rows.write(path)


Write = Callable[[Path, str, int, int, int], Path]
CASES = [(chrome, cat) for cat in ("kernel", "gpu_memcpy", "cuda_runtime", "overhead")]
CASES += [(nsys, cat) for cat in ("kernel", "gpu_memcpy", "cuda_runtime", "whole graph")]


@pytest.mark.parametrize(("write", "cat"), CASES)
def test_durations_that_int64_cannot_add_up(tmp_path: Path, write: Write, cat: str) -> None:
    """GIVEN 14 events of ten years, and a 15th WHEN read THEN the first add up to less than 2^62 ns, and the 15 are
    refused in one line"""
    assert 14 * TEN_YEARS + 5_000 < MOST < 15 * TEN_YEARS
    load(write(tmp_path / "most", cat, 14, TEN_YEARS, 1))
    with pytest.raises(UsageError, match=r"is damaged: its durations.* sum to 4\.7e\+18; record or export it again"):
        load(write(tmp_path / "more", cat, 15, TEN_YEARS, 1))


@pytest.mark.parametrize("write", [chrome, nsys])
def test_bytes_that_int64_cannot_add_up(tmp_path: Path, write: Write) -> None:
    assert load(write(tmp_path / "most", "gpu_memcpy", 4, 1, 1 << 60)).device.bytes.tolist() == [-1, *[1 << 60] * 4]
    with pytest.raises(UsageError, match=r"its bytes copied and set sum to 5\.8e\+18"):
        load(write(tmp_path / "more", "gpu_memcpy", 5, 1, 1 << 60))


@pytest.mark.parametrize(("write", "label"), [(chrome, "kernel"), (nsys, "CUPTI_ACTIVITY_KIND_KERNEL")])
@pytest.mark.parametrize("content", list(Content))
def test_what_lasts_longer_than_ten_years(tmp_path: Path, write: Write, label: str, content: Content) -> None:
    """GIVEN 16 kernels of 2^60 ns, whose sum in int64 is 0, and one of 5 us WHEN read THEN only that is in a column,
    and the others are counted"""
    trace = load(write(tmp_path / "x", "kernel", 16, 1 << 60, 1), content=content)
    assert trace.device.end.tolist() == [5_000]
    assert trace.facts.ignored == {label + NO_TIME: 16}
    kept = load(write(tmp_path / "y", "kernel", 1, TEN_YEARS, 1), content=content)
    left = load(write(tmp_path / "z", "kernel", 1, TEN_YEARS + 1, 1), content=content)
    assert (kept.device.end.tolist(), left.device.end.tolist()) == ([5_000, TEN_YEARS], [5_000])
