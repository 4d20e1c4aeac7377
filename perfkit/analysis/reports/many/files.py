"""Many traces of a job as one report: the sums of all, a row for each file, and which of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.costs.flops import collectives
from perfkit.analysis.findings.reading import cut_files
from perfkit.analysis.findings.trace import captured
from perfkit.analysis.reports.many import outliers as rows_apart
from perfkit.analysis.reports.many.folded import FileRow, Folded
from perfkit.analysis.reports.many.outliers import STEP, Outlier
from perfkit.analysis.time import breakdown, grouping, launches, mix, unlaunched
from perfkit.analysis.time.idle import tables as idle_tables
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import TraceTable, View
from perfkit.errors import UsageError
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import LazyTable, Report
from perfkit.schema.table import Column, Table

FILES, OUTLIERS = "files", "outliers"
_MOST_NAMED = 3


def _groups(partial: Partial, view: View) -> Table:
    """Without the spread over steps, which the sums of many files do not know."""
    table = grouping.group_table(partial, view.by, depth=view.depth, fold=view.fold)
    kept = tuple(column for column in table.columns if column.name != "step_std_ns")
    return replace(table, columns=kept, frame=table.frame.drop(columns="step_std_ns", errors="ignore"))


TABLES: tuple[TraceTable, ...] = (
    breakdown.PHASES,
    breakdown.CATEGORIES,
    mix.MIX,
    msgspec.structs.replace(grouping.GROUPS, build=_groups),
    breakdown.KERNELS,
    breakdown.LAYERS,
    breakdown.COPIES,
    idle_tables.WALL_TIMES,
    idle_tables.SYNCS,
    launches.LAUNCHES,
    unlaunched.UNLAUNCHED,
    collectives.COLLECTIVES,
)
"""Those of a trace that are sums over files, too, in the order of reading."""
NAMES = (OUTLIERS, *(table.name for table in TABLES), FILES)

MANY_FILES = Rule("many-files", "trace", "how many traces of a job were added up, and the time in them", read="first")
FILES_LEFT_OUT = Rule("files-left-out", "integrity", "files of a job that could not be read, or do not fit the others")
DIFFERENT_FILES = Rule("different-files", "performance", "files, hosts or steps of a job that differ from the others")

_FILE = (Column("name", title="file", short_for="file"), Column("file", audience="scripts"))
"""People read what tells files apart, scripts the whole path."""
_FILES = (
    *_FILE,
    Column("rank"),
    Column("host"),
    Column("bytes", "B", "bytes", "size", spare=True),
    Column("events", spare=True),
    Column("steps"),
    Column("step_ns", "ns", "time", "step", scale="step"),
    Column("total_ns", "ns", "time", "sum", scale="time"),
    Column("why", title="left out because"),
)
_OUTLIERS = (
    *_FILE,
    Column("rank"),
    Column("host"),
    Column("step"),
    Column("what"),
    Column("time_ns", "ns", "time", "per step", scale="step"),
    Column("usual_ns", "ns", "time", "median of all", scale="step"),
    Column("usual_share", "1", "share", "of it", note="time per step, as a share of the median"),
    Column("distance", title="deviations", note="from the median, in robust standard deviations: 5 and more"),
)


def report(title: str, whole: Folded, view: View) -> Report:
    """Everything of a job's files. Raises UsageError, with the first reason, where none could be read."""
    spelled = [row.spelling for row in whole.rows if not row.why]
    if not spelled:
        raise UsageError(whole.rows[0].why if whole.rows else f"{title}: no files")
    chosen = max(dict.fromkeys(spelled), key=spelled.count)
    rows = [_fitting(row, chosen) for row in whole.rows]
    partial, apart = whole.parts[chosen], rows_apart.outliers(rows)
    made = (table.of(partial, view) for table in TABLES)
    return Report(
        title,
        lambda: _summary(rows, partial, apart),
        (
            LazyTable(OUTLIERS, lambda: _outliers(rows, apart)),
            *filter(None, made),
            LazyTable(FILES, lambda: _files(rows)),
        ),
        findings=lambda: _findings(rows, partial, apart),
        main="kernels" if partial.facts.on_device else "groups",
    )


def _fitting(row: FileRow, spelling: str) -> FileRow:
    if row.why or row.spelling == spelling:
        return row
    return replace(row, why=f"its scopes are {row.spelling}, those of more files {spelling}: analyze it alone")


def _names(rows: Sequence[FileRow]) -> dict[str, str]:
    """File -> its path below the folder that all are in."""
    folders = [row.file.split("/")[:-1] for row in rows]
    differ = (depth for depth, parts in enumerate(zip(*folders, strict=False)) if len(set(parts)) > 1)
    shared = next(differ, min(map(len, folders), default=0))
    return {row.file: "/".join(row.file.split("/")[shared:]) for row in rows} | {"": ""}


def _summary(rows: Sequence[FileRow], partial: Partial, apart: Sequence[Outlier]) -> dict[str, object]:
    read = [row for row in rows if not row.why]
    return {
        "files": len(rows),
        "files_read": len(read),
        "files_left_out": len(rows) - len(read),
        "ranks": len({row.rank for row in read if row.rank is not None}),
        "hosts": len({row.host for row in read if row.host}),
        "bytes": sum(row.bytes for row in read),
        "events": sum(row.events for row in read),
        "steps": len(partial.facts.steps),
        "step_ns": _median_step(read),
        "total_ns": sum(row.total_ns for row in read),
        "outliers": len(apart),
    }


def _median_step(read: Sequence[FileRow]) -> float | None:
    steps = [row.times[STEP] for row in read if STEP in row.times]
    return float(np.median(steps)) if steps else None


def _files(rows: Sequence[FileRow]) -> Table:
    names = _names(rows)
    frame = pd.DataFrame(
        {
            "name": pd.Series([names[row.file] for row in rows], dtype=object),
            "file": pd.Series([row.file for row in rows], dtype=object),
            "rank": pd.Series([row.rank for row in rows], dtype=pd.Int64Dtype()),
            "host": pd.Series([row.host for row in rows], dtype=object),
            "bytes": [row.bytes for row in rows],
            "events": [row.events for row in rows],
            "steps": [len(row.step_walls) for row in rows],
            "step_ns": pd.Series([row.times.get(STEP) for row in rows], dtype=float),
            "total_ns": [row.total_ns for row in rows],
            "why": pd.Series([row.why or None for row in rows], dtype=object),
        }
    )
    first = frame["why"].isna().to_numpy().argsort(kind="stable")  # those left out first: they are not to be missed
    return Table(FILES, "Files", _FILES, frame.iloc[first].reset_index(drop=True))


def _outliers(rows: Sequence[FileRow], apart: Sequence[Outlier]) -> Table:
    names = _names(rows)
    frame = pd.DataFrame(
        {
            "name": pd.Series([names[one.file] or None for one in apart], dtype=object),
            "file": pd.Series([one.file or None for one in apart], dtype=object),
            "rank": pd.Series([one.rank for one in apart], dtype=pd.Int64Dtype()),
            "host": pd.Series([one.host or None for one in apart], dtype=object),
            "step": pd.Series([one.step for one in apart], dtype=pd.Int64Dtype()),
            "what": pd.Series([one.what for one in apart], dtype=object),
            "time_ns": pd.Series([one.ns for one in apart], dtype=float),
            "usual_ns": pd.Series([one.usual_ns for one in apart], dtype=float),
            "usual_share": pd.Series([one.ns / one.usual_ns if one.usual_ns else None for one in apart], dtype=float),
            "distance": pd.Series([round(one.distance, 1) for one in apart], dtype=float),
        }
    )
    notes = () if len(frame) else ("no file, host or step is five robust standard deviations from the median",)
    return Table(OUTLIERS, "What differs", _OUTLIERS, frame, notes)


def _findings(rows: Sequence[FileRow], partial: Partial, apart: Sequence[Outlier]) -> list[Finding]:
    read = [row for row in rows if not row.why]
    total, step = sum(row.total_ns for row in read), _median_step(read)
    what = "device time" if partial.facts.on_device else "time"
    said = f"{len(read):,} traces with {len(partial.facts.steps):,} steps, {units.duration_ns(total)} of {what}"
    found = [Finding(MANY_FILES, said + (f"; median step {units.duration_ns(step)}" if step else ""))]
    ranks, worlds = {row.rank for row in read}, {row.world for row in read}
    if len(worlds) == 1 and None not in ranks:  # else they are of several jobs, or of none
        found[:0] = filter(None, [captured({rank for rank in ranks if rank is not None}, *worlds)])
    left, names = [row for row in rows if row.why], _names(rows)
    if left:
        named = "; ".join(f"{names[row.file]}: {row.why.removeprefix(f'{row.file}: ')}" for row in left[:_MOST_NAMED])
        more = f"; --table {FILES} --wide has the others" if len(left) > _MOST_NAMED else ""
        found.append(Finding(FILES_LEFT_OUT, f"{len(left)} of {len(rows):,} files are left out: {named}{more}"))
    if cut := [names[row.file] for row in read if row.is_cut]:
        found.append(cut_files(cut))
    if apart:
        first = apart[0]
        at_step = "" if first.step is None else f"step {first.step}"
        place = " ".join(filter(None, (names[first.file] or first.host, at_step)))
        usual, here = units.duration_ns(first.usual_ns), units.duration_ns(first.ns)
        what = f"{first.what} {here} a step" if first.step is None else f"it takes {here}"
        text = f"{place} differs most: {what}, median {usual}"
        several = f"; {len(apart)} such times in all, in --table {OUTLIERS}" if len(apart) > 1 else ""
        found.append(Finding(DIFFERENT_FILES, text + several, where=place))
    return found
