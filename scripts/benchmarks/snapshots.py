"""`perfkit memory` of large snapshots as whole processes: time, and peak memory, beside the C unpickler alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from scripts.benchmarks.measuring import Row, cache_folder, interleaved, median, megabytes, run_python, seconds

LIMITS = {1_000_000: (15, 1.5e9), 5_000_000: (60, 4e9)}
"""Events: seconds of processor time, and bytes of memory, within which they are to be read and tabulated."""
VERSION = 1
"""Increase this number when make_snapshot.py changes what it writes."""
_LARGE_REPEATS = 3
_UNPICKLED = (
    "import gc, os, pickle, sys; gc.disable(); kept = pickle.load(open(sys.argv[1], 'rb')); "
    "sys.stdout.flush(); os._exit(0)"
)


def snapshots(repeats: int) -> Iterator[Row]:
    """Snapshots of 1 and 5 million events, each with a list of 30 frames of its own: read, and shown as a table."""
    for events, (most_seconds, most_bytes) in LIMITS.items():
        path = _made(events)
        works = {
            "bound": partial(run_python, "-c", _UNPICKLED, path),
            "shown": partial(run_python, "-m", "perfkit", "memory", path, "--format", "json"),
        }
        runs = interleaved(works, min(repeats, _LARGE_REPEATS))
        least, shown = (median([run.cpu_s for run in runs[work]]) for work in works)
        held, peak = (median([run.peak_bytes for run in runs[work]]) for work in works)
        name = f"perfkit memory, {events:,} events"
        yield Row(
            name,
            seconds(shown),
            f"the C unpickler alone, {seconds(least)}",
            shown / least,
            f"< {most_seconds} s",
            shown < most_seconds,
        )
        yield Row(
            f"peak memory, {name}",
            megabytes(peak),
            f"its objects, {megabytes(held)}",
            peak / held,
            f"< {megabytes(most_bytes)}",
            peak < most_bytes,
        )


def _made(events: int) -> Path:
    """A generated snapshot, kept in the cache folder. A process of its own makes it: this one must stay small."""
    path = cache_folder() / f"snapshot-{events}-v{VERSION}.pickle"
    if not path.is_file():
        print(f"making {path} ({events:,} events)", flush=True)
        parts = path.with_suffix(f".{os.getpid()}")
        run_python("-m", "scripts.benchmarks.make_snapshot", "--events", str(events), parts)
        parts.rename(path)
    return path
