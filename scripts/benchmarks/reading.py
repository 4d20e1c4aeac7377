"""The reader, the attribution and the tables: speed relative to a lower bound, memory, and growth with size."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from scripts.benchmarks import generated
from scripts.benchmarks.measuring import (
    Child,
    Row,
    corpus_file,
    interleaved,
    median,
    megabytes,
    run_python,
    seconds,
)

CHILD = Path(__file__).with_name("trace_child.py")
ATTRIBUTION_LIMIT_S = 4.0
GROWTH_LIMIT = 4.6
SECOND_LOOK = 5
LARGE_REPEATS = 3
"""Maximum number of repeats with the large trace, because each takes tens of seconds."""


def _runs(works: Sequence[str], path: Path, repeats: int) -> dict[str, list[Child]]:
    return interleaved({work: partial(run_python, CHILD, work, path) for work in works}, repeats)


def _times(runs: list[Child], *parts: str) -> list[float]:
    """For each run, the total CPU seconds of some parts of the work."""
    return [sum(_number(run.answer(), part) for part in parts) for run in runs]


def _time(runs: list[Child], *parts: str) -> float:
    return median(_times(runs, *parts))


def _number(answer: dict[str, Any], key: str) -> float:
    return float(answer[key])


def _peak(runs: list[Child]) -> float:
    return median([run.peak_bytes for run in runs])


def reader(repeats: int) -> Iterator[Row]:
    """A real training trace of 45,420 events, gzip-compressed."""
    path = corpus_file("v100_training")
    runs = _runs(("bound", "load", "kernels", "report"), path, repeats)
    yield from _rows("v100_training", runs)


def scale(repeats: int) -> Iterator[Row]:
    """A generated training trace of 2 million events (700 MB), and one of a quarter of that."""
    quarter, quarter_made = generated.trace(generated.QUARTER)
    large, large_made = generated.trace(generated.LARGE)
    repeats = min(repeats, LARGE_REPEATS)
    works = ("bound", "load", "kernels", "report")
    cases = {
        f"{size} {work}": partial(run_python, CHILD, work, path)
        for work in works  # both of a pair run in direct succession, so that a busy machine slows them alike
        for size, path in (("quarter", quarter), ("large", large))
    }
    runs = interleaved(cases, repeats)
    by_work = {work: runs[f"large {work}"] for work in works}
    yield from _rows("2M events", by_work, attribution_limit=ATTRIBUTION_LIMIT_S)
    yield _second_look(runs["large load"], _cached(large, repeats))
    events_ratio = large_made.events / quarter_made.events
    for what, work, parts in (
        ("reading", "load", ("load_s",)),
        ("attribution", "kernels", ("attribute_s",)),
        ("whole report", "report", ("load_s", "report_s")),
    ):
        small, big = _times(runs[f"quarter {work}"], *parts), _times(runs[f"large {work}"], *parts)
        growth = median([b / a for a, b in zip(small, big, strict=True)]) * 4 / events_ratio
        yield Row(
            f"{what}, 4x the events",
            seconds(median(big)),
            f"a quarter of them, {seconds(median(small))}",
            growth,
            f"<= {GROWTH_LIMIT}",
            growth <= GROWTH_LIMIT,
        )


def _cached(path: Path, repeats: int) -> list[Child]:
    """Runs that read the file twice, each with a cache that is empty at first and deleted afterwards."""
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            runs.append(run_python(CHILD, "cached", path, environment={"PERFKIT_CACHE_DIR": scratch}))
    return runs


def _second_look(plain: list[Child], cached: list[Child]) -> Row:
    first, second = _time(plain, "load_s"), _time(cached, "second_s")
    return Row(
        "reading again, from the cache",
        seconds(second),
        f"reading without it, {seconds(first)} (filling it, {seconds(_time(cached, 'first_s'))})",
        first / second,
        f">= {SECOND_LOOK}x",
        first / second >= SECOND_LOOK,
    )


def _rows(name: str, runs: dict[str, list[Child]], attribution_limit: float | None = None) -> Iterator[Row]:
    size = _number(runs["bound"][0].answer(), "bytes")
    events = _number(runs["kernels"][0].answer(), "events")
    least, load = _time(runs["bound"], "unpack_s", "scan_s"), _time(runs["load"], "load_s")
    yield Row(
        f"reader, {name}",
        f"{megabytes(size / load)}/s, {seconds(load)}",
        f"unpacking and JSON scanning alone, {megabytes(size / least)}/s",
        load / least,
    )
    attribution, table = _time(runs["kernels"], "attribute_s"), _time(runs["kernels"], "table_s")
    yield Row(
        f"attribution, {name}",
        f"{seconds(attribution)} ({seconds(attribution / events * 1e6)} per million events)",
        f"reading, {seconds(load)}",
        attribution / load,
        f"< {attribution_limit:g} s" if attribution_limit else "",
        attribution < attribution_limit if attribution_limit else None,
    )
    yield Row(f"kernel table alone, {name}", seconds(table), f"reading, {seconds(load)}", table / load)
    whole = _time(runs["report"], "load_s", "report_s")
    yield Row(f"every table of analyze, {name}", seconds(whole), f"reading, {seconds(load)}", whole / load)
    for what, work in (("reading", "load"), ("every table", "report")):
        peak = _peak(runs[work])
        yield Row(f"peak memory, {what}, {name}", megabytes(peak), f"the text, {megabytes(size)}", peak / size)
