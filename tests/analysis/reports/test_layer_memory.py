"""Memory beside time in the table of layers: both columns add up, whatever has no row. By hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, attribute
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.reports import layer_memory
from perfkit.analysis.time import grouping
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.trace_table import By, View
from perfkit.schema.table import Table
from perfkit.trace.columns import MISSING
from tests.analysis.memory.lives import Piece, account_of, span
from tests.builders import TraceBuilder

MEMORY = account_of(
    Piece(100, kind=Kind.PARAMETERS, scope="layers.0.mlp"),
    Piece(9, kind=Kind.CONSTANTS),
    Piece(5, kind=Kind.PARAMETERS, scope="elsewhere"),
    Piece(40, 0, 2, Kind.ACTIVATIONS, "layers.0.mlp.act", Phase.FORWARD, step=0),
    Piece(30, 1, 2, Kind.ACTIVATIONS, "layers.1", Phase.FORWARD, step=0),
    spans=(span(0, 1, Phase.FORWARD), span(2, 2, Phase.BACKWARD)),
)


def beside(by: By, *, fold: bool = False, memory: MemoryAccount = MEMORY) -> Table:
    """Two layers ran: layers.0.mlp and layers.1, 10 ns each."""
    builder = TraceBuilder().step(0, 0, 100)
    for path, start in (("layers.0.mlp", 10), ("layers.1", 30)):
        builder.module(path, start, start + 10).range("aten::mm", start, start + 10)
    trace = builder.build()
    partial = account_for(trace, attribute(trace)).partial
    view = View(by=by, fold=fold)
    return layer_memory.beside(grouping.group_table(partial, by, fold=fold), partial, view, memory)


@pytest.mark.parametrize("fold", [True, False])
def test_memory_is_in_the_row_of_its_layer_or_in_the_last(fold):
    """GIVEN 184 B at the peak, 14 of them in no layer with time, and 70 kept for backward THEN rows add up to both."""
    table = beside("layer", fold=fold)
    assert (table.frame["peak_bytes"].sum(), table.frame["saved_bytes"].sum()) == (184, 70)
    rows = {row["scope"]: (row["peak_bytes"], row["saved_bytes"]) for _, row in table.frame.iterrows()}
    layers = {"layers.*": (170, 70)} if fold else {"layers.0": (140, 40), "layers.1": (30, 30)}
    assert rows == {**layers, UNATTRIBUTED: (14, 0)}
    assert table.frame["scope"].iloc[-1] == UNATTRIBUTED
    assert table.pinned == 1


def test_what_one_layer_makes_and_another_keeps_is_kept_by_that():
    """GIVEN 40 B that layers.0 made and layers.1 frees in backward THEN they live in layers.0, kept by layers.1."""
    lives = MEMORY.lives
    freed_in = np.where(lives.size == 40, lives.scopes.index("layers.1"), MISSING).astype(np.int32)
    table = beside("layer", memory=replace(MEMORY, lives=replace(lives, freed_in=freed_in)))
    columns = (table.frame[name].tolist() for name in ("scope", "peak_bytes", "saved_bytes"))
    rows = {scope: (peak, kept) for scope, peak, kept in zip(*columns, strict=True)}
    assert (rows["layers.0"], rows["layers.1"]) == ((140, 0), (30, 70))


def test_rows_that_are_no_scopes_have_no_memory():
    assert "peak_bytes" not in beside("op").frame
