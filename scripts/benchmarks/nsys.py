"""The kernel table of an Nsight Systems export of 2 million kernels: perfkit against `nsys stats` itself."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from scripts.benchmarks.measuring import (
    BenchError,
    Child,
    Row,
    cache_folder,
    corpus_folder,
    interleaved,
    median,
    megabytes,
    run_child,
    run_python,
    seconds,
)

KERNELS = 2_000_000
FASTER = 2.5
MOST_BYTES = 1e9
_KERNEL, _RUNTIME = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME"


def kernels(repeats: int) -> Iterator[Row]:
    """The kernel summary of 2 million kernels in an sqlite export, whole process, against `nsys stats`."""
    nsys = shutil.which("nsys")
    if nsys is None:
        raise BenchError("nsys is not installed: scripts/install-nsys")
    path = _export()
    report = _report_name(nsys)
    repeats = min(repeats, 3)
    arguments = ("-m", "perfkit", "analyze", path, "--table", "kernel_summary", "--format", "csv")
    runs = interleaved(
        {
            "perfkit": partial(run_python, *arguments),
            "nsys": partial(run_child, [nsys, "stats", "-q", "-r", report, "-f", "csv", path]),
        },
        repeats,
    )
    own, theirs = runs["perfkit"], runs["nsys"]
    for what, cost in (("wall time", _wall), ("CPU", _cpu)):
        ratio = cost(theirs) / cost(own)
        held = what == "wall time"
        yield Row(
            f"{what}, kernel summary of 2M kernels (sqlite)",
            seconds(cost(own)), f"nsys stats, {seconds(cost(theirs))}",
            ratio, f">= {FASTER}x" if held else "", ratio >= FASTER if held else None,
        )  # fmt: skip
    peak = median([child.peak_bytes for child in own])
    yield Row("peak memory, the same", megabytes(peak), "1 GB", peak / MOST_BYTES, "< 1", peak < MOST_BYTES)
    mine, other = _total(own[0], "total_ns"), _total(theirs[0], "Total Time (ns)")
    totals = (f"{mine:,} ns", f"nsys stats, {other:,} ns")
    yield Row("kernel time found, the same", *totals, mine / other, "= 1", mine == other)


def _wall(children: list[Child]) -> float:
    return median([child.wall_s for child in children])


def _cpu(children: list[Child]) -> float:
    return median([child.cpu_s for child in children])


def _total(child: Child, column: str) -> int:
    lines = child.output.decode().splitlines()
    start = next(index for index, line in enumerate(lines) if column in line)
    return sum(int(row[column]) for row in csv.DictReader(lines[start:]) if (row[column] or "").isdecimal())


def _report_name(nsys: str) -> str:
    version = run_child([nsys, "--version"]).output.decode("utf-8", "replace")
    return "gpukernsum" if "version 2022" in version else "cuda_gpu_kern_sum"


def _export() -> Path:
    """A real export of the corpus with its kernels and calls repeated; each copy is later and has new correlations."""
    source = corpus_folder() / "nsys" / "h100_2gpu_1s.sqlite"
    path = cache_folder() / f"kernels-{KERNELS}-v1.sqlite"
    if path.is_file():
        return path
    if not source.is_file():
        raise BenchError(f"{source} does not exist: set PERFKIT_TRACE_CORPUS to the folder of traces")
    print(f"making {path}", flush=True)
    began = time.perf_counter()
    draft = path.with_suffix(".part")
    shutil.copyfile(source, draft)
    draft.chmod(0o644)
    with sqlite3.connect(draft) as database:
        _multiply(database)
    database.close()
    draft.replace(path)
    print(f"made in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 1e6:.0f} MB", flush=True)
    return path


def _multiply(database: sqlite3.Connection) -> None:
    def scalar(query: str) -> int:
        return int(database.execute(query).fetchone()[0])

    span = scalar(f"SELECT max(end) - min(start) FROM {_KERNEL}") + 1_000_000
    ids = max(scalar(f"SELECT max(correlationId) FROM {table}") for table in (_KERNEL, _RUNTIME)) + 1
    times = KERNELS // scalar(f"SELECT count(*) FROM {_KERNEL}") + 1
    database.execute("CREATE TEMP TABLE turns AS WITH RECURSIVE n(i) AS "
                     f"(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times - 1}) SELECT i FROM n")  # fmt: skip
    shifted = {
        "start": f"start + i * {span}",
        "end": f"end + i * {span}",
        "correlationId": f"correlationId + i * {ids}",
    }
    for table in (_KERNEL, _RUNTIME):
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        chosen = ", ".join(shifted.get(column, f'"{column}"') for column in columns)
        database.execute(f"CREATE TEMP TABLE first AS SELECT * FROM {table}")
        database.execute(f"INSERT INTO {table} SELECT {chosen} FROM turns, temp.first")
        database.execute("DROP TABLE temp.first")
