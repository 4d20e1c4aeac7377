"""Memory beside time in the table of layers: what each has at the peak, and what it keeps for backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import UNATTRIBUTED
from perfkit.analysis.memory.lifetimes import Lifetimes
from perfkit.analysis.memory.recorded import saved
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.time import grouping
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import View
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import MISSING, Int32s, Int64s

_COLUMNS = (
    Column("peak_bytes", "B", "bytes", "at the peak", summed=True, scale="memory", divided=False),
    Column("saved_bytes", "B", "bytes", "for backward", summed=True, scale="memory", divided=False),
)


def beside(table: Table, partial: Partial, view: View, account: MemoryAccount) -> Table:
    """The table `groups` with two columns more, where its rows are scopes: both add up to all that is recorded.

    What lives is in the row of the layer that made it; what is kept for backward in that of the layer that keeps it, as
    in the table `saved`. What is in no row of time, or in no scope at all, is in the row of unattributed time.
    """
    groups = grouping.groups_of_scopes(partial, view.by, depth=view.depth, fold=view.fold)
    if not groups:
        return table
    lives, device = account.lives, account.at.device
    step = saved.the_step(lives, device, account.at.moment)
    frame = table.frame.copy()
    places = ((account.rows, lives.scope), (saved.kept(lives, device, step), lives.kept_by))
    for column, (rows, scope) in zip(_COLUMNS, places, strict=True):
        held = _by_group(lives, rows, scope, groups, set(frame["scope"]))
        if UNATTRIBUTED in held and UNATTRIBUTED not in set(frame["scope"]):
            frame = pd.concat([frame, _rest_row(frame)], ignore_index=True)
        frame[column.name] = frame["scope"].map(held).fillna(0).astype(np.int64)
    pinned = int(frame["rest"].sum())
    return replace(table, frame=frame, columns=(*table.columns, *_COLUMNS), pinned=pinned)


def beside_of(partial: Partial, view: View, memory: Callable[[], MemoryAccount], table: Table) -> Table:
    """The same, of memory that is read when the table is made."""
    return beside(table, partial, view, memory())


def _by_group(lives: Lifetimes, rows: Int64s, scope: Int32s, groups: dict[str, str], there: set[str]) -> dict[str, int]:
    sizes = pd.Series(lives.size[rows]).groupby(scope[rows]).sum()
    held: dict[str, int] = {}
    for code, size in sizes.items():
        group = UNATTRIBUTED if code == MISSING else _group(lives.scopes[int(str(code))], groups)
        group = group if group in there else UNATTRIBUTED
        held[group] = held.get(group, 0) + int(size)
    return held


def _group(scope: str, groups: dict[str, str]) -> str:
    """The row of a scope, or of the nearest that contains it."""
    while scope and scope not in groups:
        scope = scope.rpartition(".")[0]
    return groups.get(scope, UNATTRIBUTED)


def _rest_row(frame: pd.DataFrame) -> pd.DataFrame:
    """A row of no time."""
    numbers = frame.select_dtypes("number").columns
    row = frame.iloc[:1].copy()
    row[numbers] = row[numbers] * 0
    return row.assign(scope=UNATTRIBUTED, rest=True)
