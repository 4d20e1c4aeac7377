from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perfkit.commands.inputs import traces
from perfkit.schema.progress import Progress


def test_whoever_waits_for_a_trace_is_told_how_far_it_is(tmp_path: Path) -> None:
    """GIVEN somebody who looks WHEN a trace is read THEN its name is told, and its bytes until all are read"""
    told: list[str | tuple[int, int | None]] = []

    @contextmanager
    def reading(name: str) -> Iterator[Progress]:
        told.append(name)
        yield lambda done, total: told.append((done, total))

    path = tmp_path / "small.json"
    event = {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 2, "dur": 50}
    path.write_text(json.dumps({"traceEvents": [event]}))
    assert traces.load(path, reading=reading).facts.events == 1
    size = path.stat().st_size
    assert (told[0], told[-1]) == ("small.json", (size, size))
