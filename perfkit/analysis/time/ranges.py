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


def range_table(account: Account, phase: Phase | None = None, *, everywhere: bool = False) -> Table:
    """One row a name, longest first, the main thread's before those of the others.

    perfkit's own ranges go by their names in NVTX, its steps in one row. Ranges that start in the steps counted;
    everywhere: those outside them too, so that warm-up is there. `phase`: ranges of this phase only.
    """
    host = account.attribution.host
    of_phase = phase is None or account.attribution.ranges.phase == phase
    rows = np.flatnonzero(~host.is_runtime & of_phase & (everywhere | _in_steps(account)))
    names = [_shown(account, index, text) for index, text in enumerate(host.names)]
    frame = pd.DataFrame(
        {
            "thread": np.where(host.thread[rows] == account.attribution.main_thread, "main", "other"),
            "name": np.array(names, dtype=object)[host.name[rows]],
            "wall": (host.end - host.start)[rows],
            "self": self_times(host.forest.parent, host.start, host.end)[rows],
        }
    )
    grouped = frame.groupby(["thread", "name"])
    wall = grouped["wall"].agg(["size", "sum", "mean", "min", "max"])
    frame = pd.DataFrame(
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
    if everywhere or not account.steps:
        notes = (_WALL, "ranges in steps or not")
    else:
        total = "steps' wall time" if phase is None else f"time of {phase.label} in the table of phases"
        notes = (f"{_WALL}; {_SUM.format(total)}", _WHERE)
    return Table("ranges", "Host ranges, wall time", _COLUMNS, frame, notes)


def _shown(account: Account, index: int, text: str) -> str:
    own = account.attribution.host.own_names.get(index)
    if own is None:
        return text
    return f"{own.kind}::*" if own.kind in ("step", "warmup") else own.nvtx_text


def _in_steps(account: Account) -> Bools:
    host = account.attribution.host
    steps = [account.attribution.steps[index] for index in account.steps]
    if not steps:
        return np.ones(len(host.name), dtype=bool)
    zeros = np.zeros(len(host.name), dtype=np.int64)
    starts, ends = (np.array(times, dtype=np.int64) for times in zip(*((s.start, s.end) for s in steps), strict=True))
    step = last_at_or_before(zeros[: len(starts)], starts, zeros, host.start)
    return (step != NONE) & (host.start < ends[step])
