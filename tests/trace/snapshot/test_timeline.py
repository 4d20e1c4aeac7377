"""`export_memory_timeline` files to columns."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.trace.snapshot.timeline import CATEGORIES, MemoryTimeline, read_timeline

PREEXISTING, CREATE, INCREMENT_VERSION, DESTROY = 1, 2, 3, 4
"""Numbers of `Action` in torch/profiler/_memory_profiler.py."""
PARAMETERS, TEMPORARIES, ACTIVATIONS = (CATEGORIES.index(name) for name in ("parameters", "temporaries", "activations"))


def saved(path: Path, value: Any) -> MemoryTimeline:
    text = json.dumps(value).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return read_timeline(path)


def test_sizes_at_times(tmp_path: Path):
    """GIVEN times in us and rows that begin with a 0 THEN ns, and eight categories"""
    rows = [[0, 8, 0, 1, 0, 0, 0, 0, 0], [0, 8, 0, 1, 0, 5, 0, 0, 2]]
    found = saved(tmp_path / "m.json", [[7, 9], rows])
    assert found.time.tolist() == [7_000, 9_000]
    assert found.bytes.tolist() == [[8, 0, 1, 0, 0, 0, 0, 0], [8, 0, 1, 0, 5, 0, 0, 2]]


def test_changes(tmp_path: Path):
    """GIVEN changes, one of them from before (-1), a temporary that becomes an activation THEN sums at each time"""
    changes = [
        [-1, PREEXISTING, 100, PARAMETERS],
        [50, CREATE, 30, TEMPORARIES],
        [60, INCREMENT_VERSION, -30, TEMPORARIES],
        [60, INCREMENT_VERSION, 30, ACTIVATIONS],
        [70, DESTROY, -30, ACTIVATIONS],
    ]
    found = saved(tmp_path / "m.raw.json.gz", changes)
    assert found.time.tolist() == [50, 60, 70]
    kept = found.bytes[:, [PARAMETERS, TEMPORARIES, ACTIVATIONS]]
    assert kept.tolist() == [[100, 30, 0], [100, 0, 30], [100, 0, 0]]
    assert found.bytes.sum() == kept.sum()


def test_nothing(tmp_path: Path):
    """GIVEN both layouts without an event THEN no moments"""
    assert len(saved(tmp_path / "m.json", [[], []]).time) == 0
    assert len(saved(tmp_path / "m.raw.json.gz", []).time) == 0


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"traceEvents": []}, "not JSON of that layout"),
        ([[1], [[0, 1]]], "not 9 sizes for each"),
        ([[1, 2], [[0] * 9]], "not 9 sizes for each"),
        ([[2, 1], [[0] * 9, [0] * 9]], "times fall"),
        ([[1], [[0, -5, *[0] * 7]]], "-5 bytes"),
        ([[1, CREATE, 5, 8]], "category is none"),
        ([[1, DESTROY, -5, 0]], "-5 bytes"),
        ([[-2, CREATE, 5, 0]], "a time is negative"),
        ([[1 << 62, CREATE, 5, 0]], "too large"),
        ([[1, CREATE, 1 << 62, 0], [2, CREATE, 1 << 62, 0]], "more than 2"),
        ([[1, CREATE, 1 << 70, 0]], "not JSON of that layout"),
        ([[1, CREATE, 1.5, 0]], "not JSON of that layout"),
    ],
)
def test_what_is_no_timeline_is_refused_in_one_line(value: Any, why: str, tmp_path: Path):
    with pytest.raises(UsageError, match=why) as error:
        saved(tmp_path / "m.json", value)
    assert "\n" not in str(error.value)
    assert "m.json is no memory timeline" in str(error.value)
