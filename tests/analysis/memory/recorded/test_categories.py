"""Timelines of torch.profiler as a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfkit.analysis.memory.recorded import categories
from perfkit.errors import UsageError
from perfkit.trace.snapshot.timeline import CATEGORIES, MemoryTimeline


def _timeline(rows: list[dict[str, int]]) -> MemoryTimeline:
    size = [[row.get(name, 0) for name in CATEGORIES] for row in rows]
    time = np.arange(len(rows), dtype=np.int64) * 1_000_000 + 7
    return MemoryTimeline(Path("m.json"), time, np.array(size, np.int64).reshape(-1, len(CATEGORIES)))


def test_the_peak_is_the_largest_sum_and_its_kinds_add_up():
    # GIVEN
    rows = [
        {"parameters": 100},
        {"parameters": 100, "activations": 900, "unknown": 50},
        {"parameters": 100, "gradients": 500},
    ]

    # WHEN
    found = categories.report(_timeline(rows), "m.json")

    # THEN
    [table] = found.tables
    assert found.summary == {"peak_bytes": 1050, "peak_ns": 1_000_000, "moments": 3}
    assert table.frame["bytes"].tolist() == [900, 100, 50, 0]
    assert dict(zip(table.frame["kind"], table.frame["most_bytes"], strict=True))["gradients"] == 500
    said = "1.000 ms after the first of 2.000 ms: 900 B activations, 100 B parameters, 50 B unknown"
    assert said in found.findings[0].what


def test_a_timeline_without_a_moment_is_refused():
    with pytest.raises(UsageError, match=r"m.json is a memory timeline without a moment: record"):
        categories.report(_timeline([]), "m.json")
