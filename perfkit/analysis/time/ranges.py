"""Host ranges by name and wall time: what there is to say of a recording without device work and without operators."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, Bools, last_at_or_before, self_times
from perfkit.analysis.time.account import Account
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
_SUM = "self times of the main thread add up to the {}, those of other threads run beside it"
_WHERE = "ranges that start in the steps counted"


def range_table(counted: Account, phase: Phase | None = None, *, everywhere: bool = False) -> Table:
    """One row a name, longest first, the main thread's before those of the others.

    perfkit's own ranges go by their names in NVTX, its steps in one row. Ranges that start in the steps counted;
    everywhere: those outside them too, so that warm-up is there. `phase`: ranges of this phase only.
    """
    seen = counted.found.view
    of_phase = phase is None or counted.found.host.phase == phase
    rows = np.flatnonzero(~seen.is_runtime & of_phase & (everywhere | _in_steps(counted)))
    names = [_shown(counted, index, text) for index, text in enumerate(seen.names)]
    frame = pd.DataFrame(
        {
            "thread": np.where(seen.thread[rows] == counted.found.main_thread, "main", "other"),
            "name": np.array(names, dtype=object)[seen.name[rows]],
            "wall": (seen.end - seen.start)[rows],
            "self": self_times(seen.forest.parent, seen.start, seen.end)[rows],
        }
    )
    grouped = frame.groupby(["thread", "name"])
    wall = grouped["wall"].agg(["size", "sum", "mean", "min", "max"])
    found = pd.DataFrame(
        {
            "thread": wall.index.get_level_values("thread").to_numpy(),
            "name": wall.index.get_level_values("name").to_numpy(),
            "count": wall["size"].to_numpy(),
            "total_ns": wall["sum"].to_numpy(),
            "self_ns": grouped["self"].sum().to_numpy(),
            "mean_ns": wall["mean"].to_numpy(),
            "min_ns": wall["min"].to_numpy(),
            "max_ns": wall["max"].to_numpy(),
        }
    ).sort_values(["thread", "total_ns", "name"], ascending=[True, False, True], ignore_index=True)
    if everywhere or not counted.steps:
        notes = (_WALL, "ranges in steps or not")
    else:
        total = "steps' wall time" if phase is None else f"time of {phase.label} in the table of phases"
        notes = (f"{_WALL}; {_SUM.format(total)}", _WHERE)
    return Table("ranges", "Host ranges, wall time", _COLUMNS, found, notes)


def _shown(counted: Account, index: int, text: str) -> str:
    own = counted.found.view.own_names.get(index)
    if own is None:
        return text
    return f"{own.kind}::*" if own.kind in ("step", "warmup") else own.nvtx_text


def _in_steps(counted: Account) -> Bools:
    seen = counted.found.view
    steps = [counted.found.steps[index] for index in counted.steps]
    if not steps:
        return np.ones(len(seen.name), dtype=bool)
    zeros = np.zeros(len(seen.name), dtype=np.int64)
    starts, ends = (np.array(times, dtype=np.int64) for times in zip(*((s.start, s.end) for s in steps), strict=True))
    step = last_at_or_before(zeros[: len(starts)], starts, zeros, seen.start)
    inside: Bools = (step != NONE) & (seen.start < ends[step])
    return inside
