"""A table of times that another program or a person wrote, as CSV or Markdown -> what was measured.

Headings are understood by their words: `Model Size`, `mean_ms`, `Forward (s)`, `ctx`, `status`. A column of times is of
the pass that its heading names, of the one in the row's column `pass`, or of the one that the caller says.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from perfkit.errors import UsageError, did_you_mean
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.step import Precision
from perfkit.schema.parts.workloads import SIZES, ModelShape

Edition = Literal["2025", "2026"]
"""Of the course whose names of sizes a table uses: its xl of 2026 is the 2.7B of 2025."""
Part = Literal["forward", "backward", "forward-backward", "train"]
Status = Literal["ok", "oom", "other"]

RENAMED: dict[Edition, dict[str, str]] = {"2025": {}, "2026": {"xl": "2.7B"}}
"""Names of sizes that an edition uses for others."""
_UNITS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "msec": 1e-3, "s": 1.0, "sec": 1.0, "seconds": 1.0, "min": 60.0}
_NUMBER = re.compile(r"~?\s*(?P<number>\d[\d,]*\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*(?P<unit>[a-zµ]*)", re.I)
_CELLS: Mapping[str, frozenset[str]] = {
    "size": frozenset({"size", "model", "name", "model size", "model name", "config"}),
    "context_length": frozenset({"context", "context length", "ctx", "seq", "seq len", "sequence length", "t"}),
    "batch_size": frozenset({"batch", "batch size", "bs", "b"}),
    "pass": frozenset({"pass", "pass type", "mode", "phase"}),
    "precision": frozenset({"precision", "dtype"}),
    "status": frozenset({"status", "outcome", "result", "error"}),
    "d_model": frozenset({"d model", "dmodel", "width", "hidden", "hidden size"}),
    "d_ff": frozenset({"d ff", "dff", "ffn", "intermediate size"}),
    "num_layers": frozenset({"layers", "num layers", "n layers", "depth"}),
    "num_heads": frozenset({"heads", "num heads", "n heads"}),
    "cv": frozenset({"cv", "cv percent"}),
}
_SHAPE = ("d_model", "d_ff", "num_layers", "num_heads")
_OF_TIME = {"time", "mean", "avg", "average", "median", "latency", "duration", "wall", "elapsed"}
_NO_TIME = {"std", "stdev", "dev", "cv", "min", "max", "first", "process", "rest", "low", "high", "warmup", "compile"}
_FORWARD, _BACKWARD = {"forward", "fwd", "fw", "inference"}, {"backward", "bwd", "bw"}
_OPTIMIZER, _WHOLE = {"optimizer", "opt", "adamw", "optim"}, {"train", "training", "full", "total", "step"}
_PRECISIONS = {
    "float32": "fp32",
    "float": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "mixed": "bf16",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One time, or one failure."""

    line: int
    """Of the table's rows, from 1."""
    name: str
    """As the table calls the model."""
    config: RunConfig
    """Resolved for a GPU. Its pass is the one that needs the memory: of a backward, forward and backward."""
    part: Part
    """What the time is of."""
    seconds: float | None
    """None where the table has none."""
    status: Status
    cv: float | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a table does not say."""

    part: Part = "forward-backward"
    context_length: int = 512
    batch_size: int = 4
    precision: Precision = "fp32"
    edition: Edition = "2025"


@dataclass(frozen=True, slots=True)
class _Time:
    index: int
    seconds: float | None
    """Of the heading's unit; None where the cells have to say it."""
    part: Part | None
    heading: str


def read(text: str, defaults: Defaults) -> list[Row]:
    """The rows of a table, in its order. Raises UsageError, saying what lacks, where models or times are missing."""
    lines = list(_lines(text))
    if len(lines) < 2:
        raise UsageError("no table: a line of headings and a line for each measurement are needed")
    headings, *rows = lines
    places = {
        what: place
        for what, names in _CELLS.items()
        for place in (next((i for i, heading in enumerate(headings) if _words(heading) in names), None),)
        if place is not None
    }
    times = list(_times(headings))
    if not times:
        raise UsageError(f"no column of times among {', '.join(headings)}: call one time_ms, or forward_ms")
    if "size" not in places and not all(name in places for name in _SHAPE):
        raise UsageError(f"no column of models among {', '.join(headings)}: call one size, or give {', '.join(_SHAPE)}")
    found = [
        one
        for line, cells in enumerate(rows, 1)
        for one in _row(line, {what: _cell(cells, place) for what, place in places.items()}, cells, times, defaults)
    ]
    if not found:
        raise UsageError("no row of the table has a time or a failure")
    return found


def _lines(text: str) -> Iterator[list[str]]:
    """The cells of each line; of a Markdown table between its bars."""
    lines = [line for line in text.lstrip("\ufeff").splitlines() if line.strip() and not line.startswith("#")]
    bars = [line for line in lines if line.lstrip().startswith("|")]
    if bars:
        for line in bars:
            cells = [cell.strip().strip("*`") for cell in line.strip().strip("|").split("|")]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                yield cells
        return
    most = max(",;\t", key=lines[0].count) if lines else ","
    for cells in csv.reader(lines, delimiter=most):
        yield [cell.strip() for cell in cells]


def _words(heading: str) -> str:
    """`Mean_Time (ms)` -> `mean time ms`; `CV%` -> `cv`."""
    return " ".join(re.sub(r"[^a-zµ0-9]+", " ", heading.lower()).split())


def _cell(cells: Sequence[str], place: int) -> str:
    return cells[place].strip() if place < len(cells) else ""


def _times(headings: Sequence[str]) -> Iterator[_Time]:
    """The columns of times: one of each pass."""
    all_words = [set(_words(heading).split()) for heading in headings]
    has_optimizer = any(words & _OPTIMIZER and "with" not in words for words in all_words)
    seen = set()
    for index, (heading, words) in enumerate(zip(headings, all_words, strict=True)):
        if (
            words & _NO_TIME
            or not words & (_OF_TIME | _FORWARD | _BACKWARD | _OPTIMIZER | _WHOLE)
            or _is_named(heading)
        ):
            continue
        unit = next((seconds for name, seconds in _UNITS.items() if name in words), None)
        part = _part(words, has_optimizer)
        is_optimizer_alone = bool(words & _OPTIMIZER) and part is None
        if part not in seen and not is_optimizer_alone:
            seen.add(part)
            yield _Time(index, unit, part, heading)


def _is_named(heading: str) -> bool:
    return any(_words(heading) in names for names in _CELLS.values())


def _part(words: set[str], has_optimizer: bool) -> Part | None:
    """The pass that some words name; None where they name none."""
    if words & _OPTIMIZER and words & {"with", *_BACKWARD}:
        return "train"
    if words & _BACKWARD:
        return "forward-backward" if words & _FORWARD else "backward"
    if words & _FORWARD:
        return "forward"
    if words & _WHOLE and (has_optimizer or words & {"train", "training"}):
        return "train"
    return None


def _row(
    line: int, named: Mapping[str, str], cells: Sequence[str], times: Sequence[_Time], defaults: Defaults
) -> Iterator[Row]:
    config = _config(line, named, defaults)
    said = _part(set(_words(named.get("pass", "")).split()), has_optimizer=True)
    name = named.get("size") or str(config.transformer.shape)
    cv = _NUMBER.search(named.get("cv", ""))
    row = Row(line, name, config, "forward", None, "other", float(cv["number"]) / 100 if cv else None)
    states = {column: _status(named.get("status", ""), _cell(cells, column.index)) for column in times}
    if "oom" in states.values():  # the largest pass that failed, alone
        failed = [column for column, state in states.items() if state == "oom"]
        largest = max((column.part or said or defaults.part for column in failed), key=get_args(Part).index)
        yield _of(replace(row, status="oom"), largest)
    for column, state in states.items():
        if state == "oom":
            continue
        seconds = _seconds(_cell(cells, column.index), column, line)
        if seconds is not None or state == "other":
            yield _of(replace(row, seconds=seconds, status=state), column.part or said or defaults.part)


def _of(row: Row, part: Part) -> Row:
    whole = "forward-backward" if part == "backward" else part
    return replace(row, part=part, config=row.config.changed(pass_type=whole))


def _status(said: str, cell: str) -> Status:
    both = f"{said} {cell}".lower()
    if "oom" in both or "memory" in both or "oom" in _words(both).split():
        return "oom"
    return "ok" if _words(said) in ("", "ok", "success", "done", "passed", "spilled") else "other"


def _seconds(cell: str, column: _Time, line: int) -> float | None:
    found = _NUMBER.match(cell)
    if found is None:
        return None
    unit = _UNITS.get(found["unit"].lower(), column.seconds)
    if unit is None:
        raise UsageError(f"row {line}: {cell} of {column.heading!r} has no unit: call the column {column.heading}_ms")
    seconds = float(found["number"].replace(",", "")) * unit
    return seconds if seconds > 0 and math.isfinite(seconds) else None


def _config(line: int, named: Mapping[str, str], defaults: Defaults) -> RunConfig:
    shape = _shape(line, named, defaults.edition)
    precision = _words(named.get("precision", "")) or defaults.precision
    sizes = {"d_model": shape.d_model, "d_ff": shape.d_ff, "num_layers": shape.num_layers, "num_heads": shape.num_heads}
    config = RunConfig.of(
        **sizes,
        context_length=_count(line, named, "context_length", defaults.context_length),
        batch_size=_count(line, named, "batch_size", defaults.batch_size),
        precision=_PRECISIONS.get(precision, precision),
    )
    return config.resolved("cuda")


def _shape(line: int, named: Mapping[str, str], edition: Edition) -> ModelShape:
    if all(named.get(name) for name in _SHAPE):
        return ModelShape(*(_count(line, named, name, 0) for name in _SHAPE))
    text = named.get("size", "")
    numbers = re.findall(r"\d+", text)
    if re.fullmatch(r"\D*\d+(?:\s*/\s*\d+){3}\D*", text):
        return ModelShape(*map(int, numbers))
    by_name = {name.lower(): name for name in SIZES}
    word = next((word for word in re.split(r"[\s(,]+", text.lower()) if word in by_name), None)
    if word is None:
        close = did_you_mean(text, SIZES)
        raise UsageError(f"row {line}: no known size {text!r}{close}: give {', '.join(_SHAPE)} in columns")
    name = by_name[word]
    return SIZES[RENAMED[edition].get(name, name)]


def _count(line: int, named: Mapping[str, str], what: str, default: int) -> int:
    text = named.get(what, "").replace(",", "")
    if not text:
        return default
    if not text.isdecimal() or not int(text):
        raise UsageError(f"row {line}: {what} {text!r} is no whole number above zero")
    return int(text)
