"""The mix of work in each phase: which share of it each category has. Forward is what inference runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.kernels import kinds
from perfkit.analysis.time.breakdown import with_share
from perfkit.analysis.time.cells import CELLS, categories
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Column, Table


def mix_table(partial: Partial) -> Table:
    """One row a category, with its share of each phase that has any time, and of all."""
    cells = partial.of(CELLS)
    cells = cells.assign(category=categories(partial, cells))
    sums = cells.groupby(["category", "phase"])["total_ns"].sum().reset_index()
    phases = [phase for phase in Phase if sums["total_ns"][sums["phase"] == phase].any()]
    frame = pd.DataFrame({"number": np.unique(sums["category"])})
    for phase in phases:
        times = sums[sums["phase"] == phase].set_index("category")["total_ns"].reindex(frame["number"], fill_value=0)
        frame[f"{phase.label}_share"] = (times / times.sum()).to_numpy()
    frame["total_ns"] = sums.groupby("category")["total_ns"].sum().to_numpy()
    frame["category"] = np.array(kinds.ALL, dtype=object)[frame["number"].to_numpy(dtype=np.int64)]
    frame = with_share(frame).sort_values(
        ["total_ns", "category"], ascending=[False, True], kind="stable", ignore_index=True
    )
    said = {Phase.FORWARD: "what inference runs"}
    shares = (Column(f"{p.label}_share", "1", "share", p.label, summed=True, note=said.get(p, "")) for p in phases)
    columns = (
        Column("category"),
        *shares,
        Column("share", "1", "share", "all", summed=True, note="the whole step"),
        Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
    )
    notes = ("each column: shares of the time of one phase",)
    return Table("categories_by_phase", "Categories by phase", columns, frame, notes)


MIX = TraceTable(
    "categories_by_phase",
    "a kind of work, with its share of each phase that has any",
    "`category`, for each phase that has any "
    + ", ".join(f"`{phase.label}_share`" for phase in Phase)
    + ", `share`, `total_ns`",
    lambda partial, _: mix_table(partial),
    lambda _: "scripts",
    adds_up_steps=True,
)
