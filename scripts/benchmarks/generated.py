"""Generated traces for the benchmarks of large traces: made when needed, and kept in the cache folder."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from scripts.benchmarks.make_trace import Made, write_trace
from scripts.benchmarks.measuring import cache_folder

LARGE = 2_000_000
QUARTER = LARGE // 4
VERSION = 2
"""Increase this number when make_trace.py changes what it writes."""


def trace(events: int) -> tuple[Path, Made]:
    """An uncompressed training trace of at least `events` complete events, and what it holds."""
    path = cache_folder() / f"training-{events}-v{VERSION}.json"
    facts = path.with_suffix(".facts")
    if not (path.is_file() and facts.is_file()):
        print(f"making {path} ({events:,} events)", flush=True)
        began = time.perf_counter()
        made = write_trace(path, events)
        facts.write_text(json.dumps(dataclasses.asdict(made)))
        print(f"made in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e6:.0f} MB", flush=True)
    return path, Made(**json.loads(facts.read_text()))
