"""Rows of a sweep -> its tables: what was measured, what failed and why, and what warm-up did."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from perfkit.analysis.sweeps import checkpoints
from perfkit.analysis.sweeps import points as sweep_points
from perfkit.errors import UsageError, did_you_mean
from perfkit.schema import sweep
from perfkit.schema.config import FIELDS, RunConfig, of_the_transformer, title_of
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.parts.workloads import SIZES, ModelShape, Own, Transformer
from perfkit.schema.report import Report
from perfkit.schema.sweep import CONFIG_FIELDS, SweepOutcome, SweepRow
from perfkit.schema.table import Column, Table

_OUT_OF_MEMORY: tuple[SweepOutcome, ...] = ("oom", "predicted-oom")
_NAMES: tuple[tuple[SweepOutcome, str], ...] = (
    ("ok", "ok"),
    ("spilled", "spilled into system memory"),
    ("oom", "out of memory"),
    ("predicted-oom", "predicted not to fit and not run (--force runs them)"),
    ("timeout", "stopped at the time limit"),
    ("host-killed", "killed from outside"),
    ("error", "ended with an error"),
)

_ALIASES = {"size": "model_size", "context": "context_length", "batch": "batch_size", "pass": "pass_type"}
"""What headings call a column."""
_TITLES = {name: title for title, name in _ALIASES.items()}
_PLAIN = ("model_size", "context_length", "batch_size", "pass_type")
_PLAIN_OWN = ("model", "model_arg", "pass_type")
"""Shown where a sweep has one point only, of a model of the caller's own."""
_OF_ROW = ("parameters", "outcome")
"""Columns of a point that are neither of its configuration nor of its times."""

_TIMES = {
    "mean_s": "mean", "std_s": "std", "median_s": "median", "median_low_s": "median 95% low",
    "median_high_s": "median 95% high", "min_s": "min", "p90_s": "p90", "max_s": "max",
    "first_step_s": "first step",
    "forward_s": "forward", "backward_s": "backward", "optimizer_s": "optimizer", "rest_s": "rest",
}  # fmt: skip
_SPARE = ("mean_s", "std_s", "within_cv", "tokens_per_s")
_COLUMNS: dict[str, Column] = {
    **{name: Column(name, title=name.replace("_", " ")) for name in sweep.COLUMNS},
    **{
        name: Column(name, "", "count", _TITLES.get(name, name.replace("_", " ")))
        for name in ("sweep_version", "repeat", "d_model", "d_ff", "num_layers", "num_heads", "vocab_size",
                     "batch_size", "context_length", "seed", "num_threads", "warmup_steps", "measure_steps")
    },
    **{name: Column(name, title=_TITLES[name]) for name in ("model_size", "pass_type")},
    **{name: Column(name, "s", "time", title, scale="time") for name, title in _TIMES.items()},
    **{name: Column(name, "B", "bytes", name.removesuffix("_bytes").replace("_", " "))
       for name in ("peak_memory_bytes", "reserved_bytes", "predicted_bytes", "requested_bytes", "available_bytes")},
    "tensor_bytes": Column("tensor_bytes", "B", "bytes", "in tensors"),
    "parameters": Column("parameters", "params", "params"),
    "steps": Column("steps", "", "count", "n"),
    "cv": Column("cv", "1", "share", "CV%"),
    "tokens_per_s": Column("tokens_per_s", "/s", "rate", "tokens/s"),
    "process_s": Column("process_s", "s", "time", "process"),
    "phase": Column("phase", whole=True),
    "message": Column("message", whole=True),
    "try_first": Column("try_first", title="try", whole=True),
    "try_second": Column("try_second", title="or", whole=True),
}  # fmt: skip
_RESULT = ("steps", "mean_s", "std_s", "cv", "median_s", "median_low_s", "median_high_s", "tokens_per_s",
           "peak_memory_bytes", "outcome")  # fmt: skip
_OF_POINT = (
    Column("processes", "", "count", "processes"),
    Column("median_s", "s", "time", "median", scale="time"),
    Column("low_s", "s", "time", "95% low", scale="time"),
    Column("high_s", "s", "time", "95% high", scale="time"),
    Column("between_cv", "1", "share", "CV% between"),
    Column("within_cv", "1", "share", "CV% within"),
    Column("tokens_per_s", "/s", "rate", "tokens/s"),
    Column("peak_memory_bytes", "B", "bytes", "peak memory"),
    Column("failed", "", "count"),
)
_OF_MEMORY = (Column("predicted_bytes", "B", "bytes", "predicted"), Column("tensor_bytes", "B", "bytes", "in tensors"))
"""Shown where a sweep varies how much is recomputed: what is resident on a CPU does not follow it."""
_WARMUP = ("warmup_steps", "steps", "first_step_s", "mean_s", "std_s", "cv", "median_s", "median_low_s",
           "median_high_s")  # fmt: skip


def report(rows: Sequence[SweepRow], varied: Sequence[str], columns: Sequence[str] = ()) -> Report:
    """The tables of a sweep whose grid varies the fields `varied`; `columns` chooses the columns of the results.

    Raises UsageError for a column that does not exist.
    """
    complete = dataclasses.replace(_table("sweep", "Sweep", sweep.COLUMNS, rows), audience="scripts")
    tables = [results(rows, varied, columns), *failures(rows, varied)]
    if "warmup_steps" in varied:
        tables.append(warmup_study(rows, varied))
    for_people = (dataclasses.replace(table, audience="people") for table in tables)
    findings = (*_findings(rows), *checkpoints.findings(rows))
    summary = {"results": len(rows), "outcomes": dict(Counter(row.outcome for row in rows)), "varied": list(varied)}
    return Report("sweep", summary, (*for_people, complete), findings=findings)


SWEEP_OUTCOMES = Rule("sweep-outcomes", "sweep", "how many results there are, by their outcome")
SHARED_PROCESS = Rule("shared-process", "sweep", "results share a process")


def _findings(rows: Sequence[SweepRow]) -> Iterator[Finding]:
    counts = Counter(row.outcome for row in rows)
    named = ", ".join(f"{counts[outcome]} {name}" for outcome, name in _NAMES if counts[outcome])
    text = f"{len(rows)} result{'s' if len(rows) > 1 else ''}: {named}" if rows else "no results yet"
    yield Finding(SWEEP_OUTCOMES, text)
    shared = sum(row.isolation == "shared" for row in rows)
    if shared:
        text = f"{shared} of them share a process: what one point leaves in it can affect the next"
        yield Finding(SHARED_PROCESS, text)


def varied(rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """The fields that a results file varies; values left open, or that follow from the size, do not count."""
    values_of = {name: {row.config.value(name) for row in rows} - {None, "auto"} for name in names_of(rows)}
    names = [name for name, values in values_of.items() if len(values) > 1]
    models = [row.config.workload for row in rows if isinstance(row.config.workload, Transformer)]
    if all(model.model_size is not None and model.shape == SIZES[model.model_size] for model in models):
        names = [name for name in names if name not in ModelShape.__dataclass_fields__]
    return tuple(names)


def names_of(rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """Fields of the rows' configurations, with the arguments of own models, in one order."""
    of_each = dict.fromkeys(name for row in rows for name in row.config.names)
    place = {name: number for number, name in enumerate(CONFIG_FIELDS)}
    return tuple(sorted(of_each, key=lambda name: place[name.partition(".")[0]]))


def check_columns(columns: Sequence[str], repeats: int, configs: Iterable[RunConfig] = ()) -> None:
    """Raise UsageError for a name that the table of results will not have, of these configurations."""
    own = _arguments(configs)
    known = (*own, *_known(repeats > 1))
    for name in columns:
        if _ALIASES.get(name, name) not in (*known, *own.values()):
            meant = did_you_mean(name, (*known, *_ALIASES))
            raise UsageError(f"--columns {name}: there is no such column{meant}; choose from {', '.join(known)}")


def results(rows: Sequence[SweepRow], varied: Sequence[str], columns: Sequence[str] = ()) -> Table:
    """What was measured: one row a run, or one row a point where points were repeated."""
    repeats = max((row.repeat for row in rows), default=1)
    check_columns(columns, repeats, (row.config for row in rows))
    names = _ALIASES | _arguments(row.config for row in rows)
    chosen = tuple(dict.fromkeys(names.get(name, name) for name in columns))
    if repeats > 1:
        return _points_table(rows, varied, chosen)
    measured = [row for row in rows if row.outcome in sweep_points.MEASURED_OUTCOMES]
    more = [column.name for column in _of_memory(measured, varied)]
    result = (name for name in _RESULT[:-1] if name != "tokens_per_s" or any(row.tokens_per_s for row in measured))
    usual = (*_labels(varied, rows), *result, *more, _RESULT[-1])
    table = _table("results", "Step time", chosen or usual, _sorted(measured))
    return table if chosen else dataclasses.replace(table, columns=_with_spare(table.columns))


def failures(rows: Sequence[SweepRow], varied: Sequence[str]) -> list[Table]:
    """Points without a result, and what would help; a kind of failure that did not occur has no table."""
    tables = []
    skipped = {row.key: row for row in rows if row.outcome == "predicted-oom"}  # every repeat of it is the same
    failed = _sorted([*(row for row in rows if row.outcome == "oom"), *skipped.values()])
    if failed:
        columns = (*_labels(varied, rows), "outcome", "phase", "requested_bytes", "available_bytes", "predicted_bytes",
                   "try_first", "try_second")  # fmt: skip
        tables.append(_table("failed_memory", "Failed (out of memory)", _filled(columns, failed), failed))
    other = _sorted([r for r in rows if r.outcome not in (*_OUT_OF_MEMORY, *sweep_points.MEASURED_OUTCOMES)])
    if other:
        columns = (*_labels(varied, rows), "repeat", "outcome", "predicted_bytes", "message")
        tables.append(_table("failed", "Failed", _filled(columns, other), other))
    return tables


def warmup_study(rows: Sequence[SweepRow], varied: Sequence[str]) -> Table:
    """How the number of warm-up steps affects the steps measured after them."""
    others = [name for name in _labels(varied, rows) if name != "warmup_steps"]
    measured = [row for row in rows if row.outcome in sweep_points.MEASURED_OUTCOMES]
    repeat = ["repeat"] if any(row.repeat > 1 for row in rows) else []
    table = _table("warmup_study", "Warm-up study", (*others, *repeat, *_WARMUP), _sorted(measured))
    note = "the first measured one; where it is far above the median, it still belonged to the warm-up"
    columns = (dataclasses.replace(c, note=note) if c.name == "first_step_s" else c for c in table.columns)
    return dataclasses.replace(table, columns=tuple(columns))


_OF_REPEATS = {
    "median_s": "the geometric mean of the repeats' medians, without an interval: repeats in one process do not show"
    " how far processes differ",
    "between_cv": "of those medians",
    "within_cv": "of the steps of one repeat",
}
_INTERVAL = "interval of the median (Student's t over processes)"
_OF_PROCESSES = {
    "median_s": "the geometric mean of the processes' medians",
    "low_s": _INTERVAL,
    "high_s": _INTERVAL,
    "between_cv": "of those medians",
    "within_cv": "of the steps of one process",
}


def _points_table(rows: Sequence[SweepRow], varied: Sequence[str], chosen: tuple[str, ...]) -> Table:
    points = sweep_points.points_of(_sorted(rows))
    shared = any(row.isolation == "shared" for row in rows)
    said = _OF_REPEATS if shared else _OF_PROCESSES
    of_point = [dataclasses.replace(column, note=said.get(column.name, "")) for column in _OF_POINT]
    own = {column.name: column for column in (*of_point, *_OF_MEMORY)}
    usual = (column.name for column in (*of_point, *_of_memory(rows, varied)))
    is_timed = any(row.tokens_per_s for row in rows)
    names = chosen or (*_labels(varied, rows), *(name for name in usual if name != "tokens_per_s" or is_timed))
    frame = pd.DataFrame(
        [
            {name: getattr(point, name) if name in (*own, *_OF_ROW) else point.config.value(name) for name in names}
            for point in points if point.processes
        ],
        columns=list(names),
    )  # fmt: skip
    if shared:
        own["processes"] = dataclasses.replace(own["processes"], title="repeats")
    shown = _columns(names, rows, _COLUMNS | own)
    return Table("results", "Step time", shown if chosen else _with_spare(shown), frame)


def _of_memory(rows: Sequence[SweepRow], varied: Sequence[str]) -> list[Column]:
    """The columns of predicted and counted peaks, where they are to be shown and hold anything."""
    filled = _filled([column.name for column in _OF_MEMORY], rows) if checkpoints.varied(varied) else ()
    return [column for column in _OF_MEMORY if column.name in filled]


def _with_spare(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Default columns, of which a narrow terminal may leave some out."""
    return tuple(dataclasses.replace(column, spare=column.name in _SPARE) for column in columns)


def _known(repeated: bool) -> tuple[str, ...]:
    own = (column.name for column in (*_OF_POINT, *_OF_MEMORY))
    return (*CONFIG_FIELDS, *_OF_ROW, *own) if repeated else sweep.COLUMNS


def _arguments(configs: Iterable[RunConfig]) -> dict[str, str]:
    """Arguments of own models, by what people call them: `{"hidden": "model_arg.hidden"}`.

    Where that is the name of something else too, by all of it: `{"model arg seed": "model_arg.seed"}`.
    """
    names = dict.fromkeys(name for config in configs for name in config.names if "." in name)
    counts = Counter(title_of(name) for name in (*names, *FIELDS) if name not in FIELDS or not of_the_transformer(name))
    full = {name: name.replace("_", " ").replace(".", " ") for name in names}
    return {title_of(name) if counts[title_of(name)] == 1 else full[name]: name for name in names}


def _columns(
    names: Sequence[str], rows: Sequence[SweepRow], known: Mapping[str, Column] = _COLUMNS
) -> tuple[Column, ...]:
    titles = {name: title for title, name in _arguments(row.config for row in rows).items()}
    columns = []
    for name in names:
        values = {row.config.value(name) for row in rows} if name in titles else set()
        is_count = all(type(value) is int for value in values)
        argument = Column(name, "", "count" if is_count else "text", titles.get(name, title_of(name)))
        columns.append(argument if "." in name else known[name])
    return tuple(columns)


def _labels(varied: Sequence[str], rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """The columns that tell the points apart."""
    is_own = any(isinstance(row.config.workload, Own) for row in rows)
    names = tuple(varied) or (_PLAIN_OWN if is_own else _PLAIN)
    return tuple(part for name in names for part in ((name, "parameters") if name == "model_size" else (name,)))


def _filled(columns: Sequence[str], rows: Sequence[SweepRow]) -> tuple[str, ...]:
    """The columns that hold anything."""
    flat = [_flat(row, columns) for row in rows]
    return tuple(name for name in columns if any(line[name] is not None for line in flat))


def _flat(row: SweepRow, columns: Sequence[str]) -> dict[str, Any]:
    """The row by column, with the arguments of own models among these columns; a text where its column is one."""
    own = {name: row.config.value(name) for name in columns if "." in name}
    return dict.fromkeys(columns) | sweep.flat(row) | own


def _sorted(rows: Sequence[SweepRow]) -> list[SweepRow]:
    """In the order of the grid's sizes and counts, not of the campaign: by parameters, then by each field."""
    names = [name for name in names_of(rows) if name != "model_size"]

    def place(row: SweepRow) -> tuple[Any, ...]:
        fields = (row.config.value(name) for name in names)
        return (row.parameters or 0, *((str(type(v)), v) if v is not None else ("", 0) for v in fields), row.repeat)

    return sorted(rows, key=place)


def _table(name: str, title: str, columns: Sequence[str], rows: Sequence[SweepRow]) -> Table:
    frame = pd.DataFrame([_flat(row, columns) for row in rows], columns=list(columns))
    return Table(name, title, _columns(columns, rows), frame)
