"""Host ranges by name: wall time, and the time of what was launched in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase, steps_at
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, nearest, self_times, strictly_above
from perfkit.analysis.attribution.scopes import ScopeSource
from perfkit.analysis.time.account import Account, is_range, own_steps
from perfkit.analysis.time.folding import folded
from perfkit.analysis.time.partial import Facts, Fold, Partial, Rows, columns_of
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Audience, Column, Table

_WALL = "from start to end, inner ranges included, so the rows do not add up"
_DEVICE = "durations of what was launched in the range on its thread, inner ranges included"
_COLUMNS = (
    Column("thread"),
    Column("name"),
    Column("x", "", "count", "x"),
    Column("count", "", "count"),
    Column("total_ns", "ns", "time", "wall", scale="time", note=_WALL),
    Column("self_ns", "ns", "time", "self", scale="time", note="without the ranges inside"),
    Column("device_ns", "ns", "time", "device", scale="time", note=_DEVICE),
    Column("mean_ns", "ns", "time", "mean", scale="each", spare=True),
    Column("min_ns", "ns", "time", "min", scale="each", spare=True),
    Column("max_ns", "ns", "time", "max", scale="each", spare=True),
)
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
        "self_ns": self_times(host.forest.parent, host.start, host.end, host.is_step)[rows],
        "device_ns": _launched_in(account)[rows],
        "min_ns": wall,
        "max_ns": wall,
    }


def _launched_in(account: Account) -> Ints:
    """The durations of all device events launched in each range, and in ranges inside it; 0 for what is no range."""
    events, parent = account.trace.device, account.attribution.host.forest.parent
    total = np.zeros(len(parent), dtype=np.int64)
    inner = nearest(parent, is_range(account.attribution, account.trace))
    above = strictly_above(parent, inner)
    row = at(inner, account.attribution.events.leaf, absent=NONE)
    duration = events.end - events.start
    while len(row := row[(here := row != NONE)]):
        duration = duration[here]
        np.add.at(total, row, duration)
        row = above[row]
    return total


def _rows_in_steps(account: Account) -> Rows:
    is_shown = is_range(account.attribution, account.trace) & _in_account(account)
    return _rows(account, np.flatnonzero(is_shown))


def _rows_everywhere(account: Account) -> Rows:
    """What the file has, whatever part of it is accounted for."""
    frame = IN_STEPS.added(_rows(account, np.flatnonzero(is_range(account.attribution, account.trace))))
    return {"source": np.full(len(frame), account.trace.source, dtype=object), **columns_of(frame)}


_KEYS = ("thread", "name", "phase")
IN_STEPS = Fold(
    "in steps",
    _rows_in_steps,
    keys=_KEYS,
    measures={
        "count": "sum",
        "total_ns": "sum",
        "self_ns": "sum",
        "device_ns": "sum",
        "min_ns": "min",
        "max_ns": "max",
    },
)
"""Host ranges that start in what is accounted for, by thread (main or other), name and phase."""
EVERYWHERE = Fold(
    "everywhere", _rows_everywhere, keys=("source", *_KEYS), measures=dict.fromkeys(IN_STEPS.measures, "max")
)
"""The same of all host ranges of a file."""


def range_table(partial: Partial, phase: Phase | None = None, *, everywhere: bool = False, fold: bool = False) -> Table:
    """One row a name, longest first, the main thread's before those of the others.

    perfkit's own ranges go by their names in NVTX, its steps in one row. Only ranges that start in what is accounted
    for; everywhere: those outside it too, such as warm-up. `phase`: ranges of this phase only. `fold`: one row for
    names that differ only in their numbers.
    """
    facts = partial.facts
    rows = partial.of(EVERYWHERE if everywhere else IN_STEPS)
    rows = rows if phase is None else rows[rows["phase"] == phase]
    frame = rows.groupby(["thread", "name"]).agg(IN_STEPS.measures).reset_index()
    frame = _folded(frame, _modules(facts)) if fold else frame.assign(x=1)
    frame["mean_ns"] = frame["total_ns"] / frame["count"]
    frame = frame.sort_values(["thread", "total_ns", "name"], ascending=[True, False, True], ignore_index=True)
    columns = tuple(column for column in _COLUMNS if facts.on_device or column.name != "device_ns")
    if not (frame["x"] > 1).any():
        columns = tuple(replace(c, audience="scripts") if c.name == "x" else c for c in columns)
    return Table("ranges", "Host ranges, wall time", columns, frame, _notes(facts, phase, everywhere=everywhere))


def _modules(facts: Facts) -> set[str]:
    """Names of modules, where perfkit's ranges name them."""
    return set(facts.paths) - facts.separators.keys() if facts.scope_source is ScopeSource.PERFKIT else set()


def _folded(frame: pd.DataFrame, kept: set[str]) -> pd.DataFrame:
    """Rows of names that differ only in their numbers as one, the main thread's apart from those of the others.

    Modules, and perfkit's ranges for them (`update::blocks.0`), stay apart.
    """
    stars = pd.Series(frame["name"].to_numpy(), frame.index, dtype=object)
    of_users = frame["name"].map(lambda name: name.rpartition("::")[2] not in kept).astype(bool)
    for _, names in frame[of_users].groupby("thread")["name"]:
        stars[names.index] = names.map(folded(sorted(names)))
    grouped = frame.assign(name=stars, x=1).groupby(["thread", "name"])
    return grouped.agg({"x": "sum", **IN_STEPS.measures}).reset_index()


def _notes(facts: Facts, phase: Phase | None, *, everywhere: bool) -> tuple[str, ...]:
    if everywhere or not facts.steps or facts.is_whole:
        return ("ranges inside and outside the steps",)
    total = "steps' wall time" if phase is None else f"time of {phase.label} in the table of phases"
    return (_WHERE,) if facts.on_device else (_SUM.format(total), _WHERE)


def _audience(facts: Facts) -> Audience | None:
    return "everyone" if facts.has_ranges_only else "scripts" if facts.has_ranges else None


RANGES = TraceTable(
    "ranges",
    "a host range's name (with ranges by a user, perfkit or NVTX only)",
    "`thread`, `name`, `x`, `count`, `total_ns`, `self_ns`, `device_ns`, `mean_ns`, `min_ns`, `max_ns`",
    lambda partial, view: range_table(
        partial,
        partial.facts.only,
        everywhere=view.selection.steps == "all",
        fold=view.fold,
    ),
    _audience,
    divides=False,
)


def _shown(account: Account, index: int, text: str) -> str:
    own = account.attribution.host.own_names.get(index)
    if own is None:
        return text
    return f"{own.kind}::*" if own.kind in ("step", "warmup") else own.nvtx_text


def _in_account(account: Account) -> Bools:
    """Host rows that start in what is accounted for."""
    host, trace, attribution = account.attribution.host, account.trace, account.attribution
    if account.is_whole and not account.steps_only:
        return np.ones(len(host.name), dtype=bool)
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)[host.thread]
    known = np.ones(len(process), dtype=bool)
    if not account.is_whole:  # where all are of one process, ranges of others count by time
        chosen = tuple(attribution.steps[index] for index in account.steps)
        return steps_at(trace, host.start, known, process, chosen) != NONE
    step = steps_at(trace, host.start, known, process, attribution.steps)
    if account.steps:
        return np.isin(step, account.steps)
    return ~np.isin(step, own_steps(trace, attribution))  # the part of a whole that lies outside the steps
