"""scripts/bench: run benchmarks by name and print one table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from scripts.benchmarks import harness, many, nsys, reading, rivals, snapshots, startup
from scripts.benchmarks.measuring import BenchError, Row

Benchmark = Callable[[int], Iterator[Row]]

BENCHMARKS: dict[str, Benchmark] = {
    "harness": harness.steps,
    "ranges": harness.ranges,
    "startup": startup.startup,
    "reader": reading.reader,
    "scale": reading.scale,
    "many": many.many,
    "hta": rivals.hta,
    "nsys": nsys.kernels,
    "snapshots": snapshots.snapshots,
}
BY_NAME_ONLY = ("many", "hta", "nsys", "snapshots")
"""Benchmarks that run only when named, because they need other tools or large files, and take minutes."""
REPEATS = 5

_HEADINGS = ("", "measured", "ratio", "to", "bound", "")


def main(argv: Sequence[str] | None = None, benchmarks: Mapping[str, Benchmark] = BENCHMARKS) -> int:
    """Run the benchmarks and print the table; return 1 if a bound is broken or a benchmark could not run."""
    chosen = _parser().parse_args(argv)
    names = chosen.names or [name for name in benchmarks if name not in BY_NAME_ONLY]
    if names == ["all"]:
        names = list(benchmarks)
    unknown = [name for name in names if name not in benchmarks]
    if unknown:
        print(f"bench: {', '.join(unknown)}: choose from {', '.join(benchmarks)}, all", file=sys.stderr)
        return 2
    machine = f"Python {platform.python_version()}, {_cpus()} CPUs"
    print(f"{machine}; medians of {chosen.repeats} interleaved repeats", flush=True)
    rows: list[Row] = []
    failed = False
    for name in names:
        began = time.perf_counter()
        try:
            rows += benchmarks[name](chosen.repeats)
        except BenchError as error:
            failed = True
            rows.append(Row(name, f"not run: {error}"))
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    print(_table(rows))
    if os.getloadavg()[0] > _cpus():
        print(f"\nThe machine is busy (load {os.getloadavg()[0]:.1f} on {_cpus()} CPUs): wall times are too long.")
    return 1 if failed or any(row.kept is False for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<10}{(run.__doc__ or '').splitlines()[0]}" for name, run in BENCHMARKS.items()]
    default = f"Default: all but {', '.join(BY_NAME_ONLY)}."
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="\n".join(["Measure perfkit itself.", "", *lines, "", default]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; `all` means every one")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="repeats per measurement (default: %(default)s)")
    return parser


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _table(rows: Sequence[Row]) -> str:
    cells = [_HEADINGS, *map(_cells, rows)]
    full = [line for line in cells if len(line) == len(_HEADINGS)]
    widths = [max(len(line[column]) for line in full) for column in range(len(_HEADINGS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=False)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])


def _cells(row: Row) -> tuple[str, ...]:
    if row.ratio is None:
        return (row.quantity, row.measured)
    verdict = {True: "ok", False: "BROKEN", None: ""}[row.kept]
    return (row.quantity, row.measured, f"{row.ratio:.4g}", row.against, row.limit, verdict)
