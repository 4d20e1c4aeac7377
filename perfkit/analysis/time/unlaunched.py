"""Work launched before the window, by the component of the launched work that it repeats."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Phase
from perfkit.analysis.attribution.intervals import NONE, at
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.breakdown import with_share
from perfkit.analysis.time.cost import part
from perfkit.analysis.time.grouping import components
from perfkit.analysis.time.partial import Fold, Partial, Rows
from perfkit.analysis.time.summary import Scalars
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.schema.table import Column, Table

_BY_PATTERN = "by pattern"
_NOTE = (
    f"{_BY_PATTERN}, the same names in the same order have this component wherever they come again in the window;"
    " which layer it was is not known, and the time is unattributed in all other tables"
)
_COLUMNS = (
    Column("component"),
    Column("matched", note=_NOTE),
    Column("count", "", "count", summed=True),
    Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
    Column("exclusive_ns", "ns", "time", "exclusive", summed=True, scale="time"),
    Column("share", "1", "share", summed=True),
)


def _rows(account: Account) -> Rows:
    rows = np.flatnonzero(account.phase == Phase.UNLAUNCHED) if account.on_device else np.empty(0, dtype=np.int64)
    events = account.attribution.events
    return {
        "like": at(events.path, events.twin[account.row[rows]], absent=NONE).astype(np.int64),
        "device": account.device[rows],
        "count": np.ones(len(rows), dtype=np.int64),
        "total_ns": account.total[rows],
        "exclusive_ns": account.exclusive[rows],
    }


UNLAUNCHED_WORK = Fold(
    "unlaunched work",
    _rows,
    keys=("like", "device"),
    measures=dict.fromkeys(("count", "total_ns", "exclusive_ns"), "sum"),
    texts={"like": "paths", "device": "device_labels"},
    is_counted=True,
)
"""Events launched before the window, by the scope of the work that they repeat: of some layer, not of theirs."""


def unlaunched_table(partial: Partial) -> Table:
    """One row a component, longest first; what matches nothing comes last."""
    rows = partial.of(UNLAUNCHED_WORK)
    texts = np.array([*components(partial), UNATTRIBUTED], dtype=object)  # the last is for NONE
    frame = rows.assign(component=texts[rows["like"].to_numpy()])
    frame = frame.groupby("component")[["count", "total_ns", "exclusive_ns"]].sum().reset_index()
    is_rest = frame["component"] == UNATTRIBUTED
    frame["matched"] = np.where(is_rest, "", _BY_PATTERN)
    frame["rest"] = is_rest
    frame = frame.sort_values(["rest", "total_ns", "component"], ascending=[True, False, True], ignore_index=True)
    pinned = int(frame["rest"].sum())
    return Table("unlaunched", "Work launched before the window", _COLUMNS, with_share(frame), (), pinned)


UNLAUNCHED = TraceTable(
    "unlaunched",
    "a component of work launched before the window (with a device only)",
    "`component`, `matched`, `count`, `total_ns`, `exclusive_ns`, `share`",
    lambda partial, _: unlaunched_table(partial),
    lambda facts: "scripts" if facts.on_device else None,
)

MATCHED_UNLAUNCHED = Rule(
    "matched-unlaunched", "trace", "work launched before the window that repeats launched work, and so has a component"
)


def matched_unlaunched(account: Account, _: Scalars) -> Finding | None:
    """How much of the work without a launch has a component by its pattern."""
    rows = account.partial.of(UNLAUNCHED_WORK)
    matched = rows[rows["like"] != NONE]
    if not len(matched):
        return None
    time, whole = int(matched["total_ns"].sum()), int(rows["total_ns"].sum())
    counts = f"{int(matched['count'].sum()):,} of {int(rows['count'].sum()):,}"
    text = (
        f"{counts} device events launched before the window repeat work in it ({units.duration_ns(time)},"
        f" {units.percent(time / max(whole, 1))} of their time): the table unlaunched has their components"
    )
    evidence = (Evidence("unlaunched", {"matched": _BY_PATTERN}),)
    return Finding(MATCHED_UNLAUNCHED, text, part(account, time), evidence, sure="derived")
