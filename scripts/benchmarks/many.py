"""Many traces by Dask's workers: memory at 8 and at 64 traces against one, and what a trace costs a core."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.benchmarks import generated
from scripts.benchmarks.measuring import Child, Row, megabytes, run_python, seconds

EVENTS = 100_000
"""Of a trace, 35 MB of JSON."""
WORKERS = 2
FEW, MANY = 8, 64


def many(repeats: int) -> Iterator[Row]:
    """8 and 64 traces of 100,000 events by two workers: peak memory, and time for each trace."""
    path, _ = generated.trace(EVENTS)
    need = max(_analyzed(path, WORKERS, WORKERS).peak_bytes for _ in range(repeats))
    few, several = (_analyzed(path, count, WORKERS) for count in (FEW, MANY))
    for count, run in ((FEW, few), (MANY, several)):
        yield Row(
            f"peak memory of the largest process, {count} traces",
            megabytes(run.peak_bytes),
            f"one trace for each worker, {megabytes(need)}",
            run.peak_bytes / need,
            "<= 1.3",
            run.peak_bytes <= 1.3 * need,
        )
    size = path.stat().st_size
    cpu = (several.cpu_s - few.cpu_s) / (MANY - FEW)  # what a trace more costs: without start-up, of whatever process
    yield Row("CPU of a trace", seconds(cpu), f"its text, {megabytes(size)}", size / 1e6 / cpu, "", None)
    wall = (several.wall_s - few.wall_s) / (MANY - FEW)
    yield Row(f"time of a trace, {WORKERS} workers", seconds(wall), f"its CPU, {seconds(cpu)}", cpu / wall, "", None)


def _analyzed(path: Path, count: int, workers: int) -> Child:
    """The command on so many names of one file; the peak is that of the largest process."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for place in range(count):
            os.link(path, Path(folder) / f"host{place // 8}_{place}.{1747000000000 + place}.pt.trace.json")
        return run_python("-m", "perfkit", "analyze", folder, "--workers", str(workers))
