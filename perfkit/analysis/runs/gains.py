"""What another precision or compiling brings: how many times as fast, how much memory, and what compiling took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import pandas as pd

from perfkit.analysis.runs.comparison import Comparison, Row
from perfkit.analysis.runs.processes import Pair, Process
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.table import Column, Table

ASKED = ("precision", "compile", "compile_mode")
"""Flags whose comparison is about what they bring."""
_SAME = 0.005
"""Peaks that differ by less are called equal."""
_COLD = 1.5
"""One process that compiles for so many times the median found nothing in the compiler's cache."""

GAINS = Rule("gains", "comparison", "how many times as fast another precision or compiling is, its memory, its cost")


def tables(compared: Comparison) -> Iterator[Table]:
    """A row for each pair of configurations that differ in precision or in what is compiled; else no table."""
    if not _asked(compared):
        return
    fields = list(compared.match.pairs[0].config)
    rows = [row.config | _cells(pair, row) for pair, row in zip(compared.match.pairs, compared.steps, strict=True)]
    columns = (
        *(Column(field, "", "text", field.replace("_", " ")) for field in fields),
        Column("speed_up", "", "rate", "A/B (speed-up)"),
        Column("peak_a_bytes", "B", "bytes", "peak A", scale="bytes"),
        Column("peak_b_bytes", "B", "bytes", "peak B", scale="bytes"),
        Column("memory_ratio", "", "rate", "peak B/A"),
        Column("compile_a_s", "s", "time", "compiling A", scale="time"),
        Column("compile_b_s", "s", "time", "compiling B", scale="time"),
    )
    notes = (
        "peak: the largest of the processes', in tensors where they were counted; compiling: median of the first"
        " warm-up steps beyond a measured one, in no other number",
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    yield Table("gains", "What it brings", columns, frame, notes, pinned=len(frame))


def findings(compared: Comparison) -> Iterator[Finding]:
    """The sentence, where one pair is compared."""
    if not _asked(compared) or len(compared.steps) != 1:
        return
    [pair], [row] = compared.match.pairs, compared.steps
    cells = _cells(pair, row)
    said = []
    if row.a_s and row.b_s:
        unsure = {"inconclusive": ", which the spread of the processes does not tell from 1"}.get(row.verdict, "")
        said.append(f"B is {units.significant(row.a_s / row.b_s, 3)} times as fast as A{unsure}")
    a, b, ratio = (cells[name] for name in ("peak_a_bytes", "peak_b_bytes", "memory_ratio"))
    if ratio is not None:
        alike = abs(ratio - 1) < _SAME
        text = "takes the same peak memory" if alike else f"takes {units.significant(ratio, 3)} times A's peak memory"
        said.append(f"it {text} ({units.size(b or 0)} against {units.size(a or 0)})")
    for name, processes in (("A", pair.a), ("B", pair.b)):
        if times := _compiling(processes):
            usual, longest = float(median(times)), max(times)
            cold = f" (at most {units.duration(longest)}, most likely where the cache of graphs had none of it)"
            said.append(
                f"compiling took {units.duration(usual)} in {name}{cold if longest > _COLD * usual else ''}, which no"
                " time of a step has"
            )
    if said:
        yield Finding(GAINS, "; ".join(said))


def _asked(compared: Comparison) -> bool:
    return any(name in compared.match.changed for name in ASKED)


def _cells(pair: Pair, row: Row) -> dict[str, float | None]:
    a, b = _peak(pair.a), _peak(pair.b)
    return {
        "speed_up": row.a_s / row.b_s if row.b_s else None,
        "peak_a_bytes": a,
        "peak_b_bytes": b,
        "memory_ratio": b / a if a and b else None,
        "compile_a_s": median(times) if (times := _compiling(pair.a)) else None,
        "compile_b_s": median(times) if (times := _compiling(pair.b)) else None,
    }


def _peak(processes: Sequence[Process]) -> int | None:
    return max((process.peak_bytes for process in processes if process.peak_bytes is not None), default=None)


def _compiling(processes: Sequence[Process]) -> list[float]:
    return [process.compile_s for process in processes if process.compile_s is not None]
