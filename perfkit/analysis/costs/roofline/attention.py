"""Softmax against the matmuls inside attention, in time and in FLOPs.

Attention is what runs in scopes that are called so (`layers.3.attn`, `Qwen2Attention_13`). In a trace without such a
scope it is every softmax, every batched matmul and every fused attention.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, Bools
from perfkit.analysis.costs.roofline.roofs import devices_of, roofed
from perfkit.analysis.costs.roofline.tables import ALL, derived, times, with_shapes
from perfkit.analysis.kernels import kinds
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import TraceTable, View
from perfkit.regex import Regex
from perfkit.schema import units
from perfkit.schema.table import Column, Table

_ATTENTION = Regex(r"attn|attention", re.IGNORECASE)
_SOFTMAX = Regex(r"soft_?max[^./]*$", re.IGNORECASE)
"""A scope of its own, where softmax is written out."""
_BATCHED = ("aten::bmm", "aten::baddbmm")


_RATIOS = ("flops_by_softmax", "time_by_softmax")


class Part(IntEnum):
    """A part of attention, in the order of reading."""

    MATMULS = 0
    """Scores q k^T, and the weighted sum of v."""
    SOFTMAX = 1
    FUSED = 2
    """Both in one kernel."""
    PROJECTIONS = 3
    """Of q, k, v and the result."""
    REST = 4
    """Scaling, masks, dropout, positions, copies."""

    @property
    def label(self) -> str:
        """As written in tables."""
        return _LABELS[self]


_LABELS = {
    Part.MATMULS: "scores and weighted sum",
    Part.SOFTMAX: "softmax",
    Part.FUSED: "fused attention",
    Part.PROJECTIONS: "projections",
    Part.REST: "rest",
}


def attention_table(partial: Partial, view: View) -> Table:
    """One row for each phase and part of attention."""
    cells = roofed(partial, devices_of(partial.facts, view.mhz), "path", "phase")
    cells = cells.assign(part=_parts(cells, partial))
    is_inside = _of_paths(partial, cells, _ATTENTION)
    is_named = bool(is_inside.any())
    core = cells["part"].isin((Part.MATMULS, Part.SOFTMAX, Part.FUSED)).to_numpy()
    cells = cells[is_inside if is_named else core]
    frame = cells.groupby(["phase", "part"])[ALL].sum().reset_index()
    frame = _beside_softmax(derived(frame, partial))
    notes = tuple(filter(None, (_said(rows, Phase(int(str(phase)))) for phase, rows in frame.groupby("phase"))))
    if not is_named and len(frame):
        notes = (*notes, "no scope is called attention: these are all batched matmuls, softmaxes and fused attentions")
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    frame["part"] = [Part(value).label for value in frame["part"]]
    columns = (
        Column("phase"),
        Column("part"),
        *times(partial, shows_work=True),
        Column("time_by_softmax", "", "rate", "time / softmax"),
        Column("flops_by_softmax", "", "rate", "FLOPs / softmax"),
    )
    return Table("attention", "Attention, by part", columns, frame, notes, len(frame))


def _parts(cells: pd.DataFrame, partial: Partial) -> Any:
    names = partial.facts.names
    batched = {
        index for index in cells["name"].unique().tolist() if index != NONE and names[index].rstrip("_") in _BATCHED
    }
    kind = cells["kind"].to_numpy()
    is_matmul = kind == kinds.ALL.index(kinds.MATMUL)
    is_batched = is_matmul & cells["name"].isin(batched).to_numpy()
    is_softmax = (kind == kinds.ALL.index(kinds.SOFTMAX)) | _of_paths(partial, cells, _SOFTMAX)
    is_fused = kind == kinds.ALL.index(kinds.ATTENTION)
    choices = (Part.SOFTMAX, Part.MATMULS, Part.FUSED, Part.PROJECTIONS)
    return np.select((is_softmax, is_batched, is_fused, is_matmul), choices, default=Part.REST)


def _of_paths(partial: Partial, cells: pd.DataFrame, words: Regex[str]) -> Bools:
    """Rows whose scope's path has one of these words."""
    flags = np.array([words.search(path) is not None for path in partial.facts.paths] + [False], dtype=bool)
    found: Bools = flags[cells["path"].to_numpy()]
    return found


def _beside_softmax(frame: pd.DataFrame) -> pd.DataFrame:
    """Add time and FLOPs of each row by those of softmax in the same phase; missing where it has none."""
    for name, column in zip(_RATIOS, ("flops", "total_ns"), strict=True):
        softmax = frame[frame["part"] == Part.SOFTMAX].set_index("phase")[column]
        base = frame["phase"].map(softmax).astype(float)
        value = frame[column].astype(float)
        frame[name] = (value / base.where(base > 0)).where(value > 0)
    return frame


def _said(rows: pd.DataFrame, phase: Phase) -> str:
    """Softmax against the matmuls of one phase, as a sentence; empty where there are not both."""
    parts = {*rows["part"].tolist()}
    if Part.FUSED in parts and Part.SOFTMAX not in parts:
        return f"{phase.label}: softmax runs inside the kernels of fused attention; --attention eager shows it apart"
    matmuls = rows[(rows["part"] == Part.MATMULS) & rows["flops_by_softmax"].notna() & rows["time_by_softmax"].notna()]
    if not len(matmuls):
        return ""
    flops, time = (units.significant(float(matmuls[name].to_numpy()[0]), 3) for name in _RATIOS)
    return f"{phase.label}: scores and weighted sum do {flops} times the FLOPs of softmax in {time} times its time"


ATTENTION = TraceTable(
    "attention",
    "a phase and a part of attention: scores and weighted sum, softmax, fused, projections, rest (with shapes only)",
    "`phase`, `part`, `count`, `total_ns`, `share`, `flops`, `masked_flops`, `bytes`, `flops_per_s`, `bytes_per_s`, "
    "`flops_per_byte`, `bound`, `efficiency`, `above_ns`, `above_step_ns` (with steps only), `time_by_softmax`, "
    "`flops_by_softmax`",
    attention_table,
    with_shapes,
    adds_up_steps=True,
)
