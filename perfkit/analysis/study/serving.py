"""Partial -> kinds of work by the modules that they serve: a table of a trace that a study alone reads."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analysis.kernels import kinds
from perfkit.analysis.study.kernels import SERVING as NAME
from perfkit.analysis.time.cells import CELLS, categories, scopes_of
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Column, Table

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def serving_table(partial: Partial) -> Table:
    """One row for each kind of work and scope; layers that differ in their number alone are one."""
    cells = partial.of(CELLS)
    number, texts = scopes_of(partial, cells)
    scopes = [_NUMBER.sub("*", str(text)) for text in texts[number]]
    kind = np.array(kinds.ALL, dtype=object)[categories(partial, cells)]
    sums = cells.assign(category=kind, scope=scopes).groupby(["category", "scope"])["total_ns"].sum().reset_index()
    frame = sums[sums["total_ns"] > 0].sort_values(["total_ns", "category", "scope"], ascending=[False, True, True])
    columns = (Column("category"), Column("scope"), Column("total_ns", "ns", "time", "sum", summed=True))
    return Table(NAME, "Kinds of work by module", columns, frame.reset_index(drop=True))


SERVING = TraceTable(
    NAME, "a kind of work and a module", "`category`, `scope`, `total_ns`", lambda partial, _: serving_table(partial),
    adds_up_steps=True,
)  # fmt: skip
