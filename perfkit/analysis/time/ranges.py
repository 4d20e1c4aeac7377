"""Host ranges by name and wall time, for recordings without device work and without operators."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import Phase, steps_at
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, self_times
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.partial import Fold, Partial, Rows, columns_of
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Column, Table

_COLUMNS = (
    Column("thread"),
    Column("name"),
    Column("count", "", "count"),
    Column("total_ns", "ns", "time", "wall", scale="time"),
    Column("self_ns", "ns", "time", "self", scale="time"),
    Column("mean_ns", "ns", "time", "mean", scale="each", spare=True),
    Column("min_ns", "ns", "time", "min", scale="each", spare=True),
    Column("max_ns", "ns", "time", "max", scale="each", spare=True),
)
_WALL = "wall: from start to end, inner ranges included, so the rows do not add up; self: without the ranges inside"
_SUM = "self times of the main thread add up to the {}; other threads run at the same time"
_WHERE = "only ranges that start inside these steps"


def _rows(account: Account, rows: Ints) -> Rows:
    """Host ranges, `rows` of them, with their names as they are shown."""
    host, attribution = account.attribution.host, account.attribution
    names = np.array([_shown(account, index, text) for index, text in enumerate(host.names)], dtype=object)
    wall = (host.end - host.start)[rows]
    return {
        "thread": np.where(host.thread[rows] == attribution.main_thread, "main", "other").astype(object),
        "name": names[host.name[rows]],
        "phase": attribution.ranges.phase[rows],
        "count": np.ones(len(rows), dtype=np.int64),
        "total_ns": wall,
        "self_ns": self_times(host.forest.parent, host.start, host.end)[rows],
        "min_ns": wall,
        "max_ns": wall,
    }


def _rows_in_steps(account: Account) -> Rows:
    return _rows(account, np.flatnonzero(~account.attribution.host.is_runtime & _in_steps(account)))


def _rows_everywhere(account: Account) -> Rows:
    """What the file has, whatever part of it is accounted for."""
    frame = IN_STEPS.added(_rows(account, np.flatnonzero(~account.attribution.host.is_runtime)))
    return {"source": np.full(len(frame), account.trace.source, dtype=object), **columns_of(frame)}


_KEYS = ("thread", "name", "phase")
IN_STEPS = Fold(
    "in steps",
    _rows_in_steps,
    keys=_KEYS,
    measures={"count": "sum", "total_ns": "sum", "self_ns": "sum", "min_ns": "min", "max_ns": "max"},
)
"""Host ranges that start in the steps accounted for, by thread (main or other), name and phase."""
EVERYWHERE = Fold(
    "everywhere", _rows_everywhere, keys=("source", *_KEYS), measures=dict.fromkeys(IN_STEPS.measures, "max")
)
"""The same of all host ranges of a file."""


def range_table(partial: Partial, phase: Phase | None = None, *, everywhere: bool = False) -> Table:
    """One row a name, longest first, the main thread's before those of the others.

    perfkit's own ranges go by their names in NVTX, its steps in one row. Only ranges that start in the steps accounted
    for; everywhere: those outside them too, such as warm-up. `phase`: ranges of this phase only.
    """
    rows = partial.of(EVERYWHERE if everywhere else IN_STEPS)
    rows = rows if phase is None else rows[rows["phase"] == phase]
    frame = rows.groupby(["thread", "name"]).agg(IN_STEPS.measures).reset_index()
    frame["mean_ns"] = frame["total_ns"] / frame["count"]
    frame = frame.sort_values(["thread", "total_ns", "name"], ascending=[True, False, True], ignore_index=True)
    if everywhere or not partial.facts.steps:
        notes = (_WALL, "ranges inside and outside the steps")
    else:
        total = "steps' wall time" if phase is None else f"time of {phase.label} in the table of phases"
        notes = (f"{_WALL}; {_SUM.format(total)}", _WHERE)
    return Table("ranges", "Host ranges, wall time", _COLUMNS, frame, notes)


RANGES = TraceTable(
    "ranges",
    "a host range's name (nsys, without device work only)",
    "`name`, `count`, `total_ns`, `self_ns`, `mean_ns`, `min_ns`, `max_ns`",
    lambda partial, view: range_table(partial, partial.facts.only, everywhere=view.selection.steps == "all"),
    lambda facts: "everyone" if facts.has_ranges_only else None,
)


def _shown(account: Account, index: int, text: str) -> str:
    own = account.attribution.host.own_names.get(index)
    if own is None:
        return text
    return f"{own.kind}::*" if own.kind in ("step", "warmup") else own.nvtx_text


def _in_steps(account: Account) -> Bools:
    host = account.attribution.host
    if not account.steps:  # everything, or nothing where only what lies outside the steps is accounted for
        return np.full(len(host.name), not account.steps_only)
    steps = tuple(account.attribution.steps[index] for index in account.steps)  # of one process: others count by time
    process, known = np.zeros(len(host.name), dtype=np.int64), np.ones(len(host.name), dtype=bool)
    return steps_at(account.trace, host.start, known, process, steps) != NONE
