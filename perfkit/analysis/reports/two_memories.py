"""Two recordings of memory side by side: their peaks, and what makes the difference, by kind and by scope."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from perfkit.analysis.memory.recorded import tables
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.reports import recorded_memory
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

_SAID = 3
"""Kinds that the sentence names."""
MEMORY_DIFFERENCE = Rule(
    "memory-difference", "memory", "how far two peaks are apart, and which kinds make the difference"
)


def report(a: MemoryAccount, b: MemoryAccount, title: str) -> Report:
    """B against A, each at its peak. The rows of each table add up to the two peaks and to their difference."""
    kinds = _joined(a, b, ["kind"], "kinds", "By kind")
    parts = _joined(a, b, ["kind", "scope"], "parts", "By kind and layer", fold=True)
    scopes = replace(_joined(a, b, ["kind", "scope"], "peak", "By kind and scope"), audience="scripts")
    summary = {
        "a": recorded_memory.summary(a),
        "b": recorded_memory.summary(b),
        "difference_bytes": b.at.bytes - a.at.bytes,
    }
    return Report(title, summary, (kinds, parts, scopes), findings=(_difference(a, b, kinds),), main="peak")


def _joined(a: MemoryAccount, b: MemoryAccount, keys: list[str], name: str, title: str, *, fold: bool = False) -> Table:
    """The outer join of what lives at the two peaks; the largest differences first."""
    frames = [tables.peak(account).frame for account in (a, b)]
    if fold:
        frames = [frame.assign(scope=recorded_memory.folded(frame["scope"])) for frame in frames]
    sides = [frame.groupby(keys, sort=False)["bytes"].sum() for frame in frames]
    frame = pd.concat(sides, axis="columns", keys=["a_bytes", "b_bytes"]).fillna(0).astype(np.int64).reset_index()
    frame["difference_bytes"] = frame["b_bytes"] - frame["a_bytes"]
    order = frame["difference_bytes"].abs().sort_values(ascending=False, kind="stable").index
    columns = (
        *(Column(key) for key in keys),
        Column("a_bytes", "B", "bytes", "A", summed=True, scale="bytes"),
        Column("b_bytes", "B", "bytes", "B", summed=True, scale="bytes"),
        Column("difference_bytes", "B", "bytes", "B - A", summed=True, scale="bytes"),
    )
    return Table(name, title, columns, frame.loc[order].reset_index(drop=True))


def _difference(a: MemoryAccount, b: MemoryAccount, kinds: Table) -> Finding:
    """The first sentence."""
    places = [recorded_memory.where(side.lives, side.at) for side in (a, b)]
    said = [
        units.size(side.at.bytes) + (f" in {place}" if place else "")
        for side, place in zip((a, b), places, strict=True)
    ]
    gap = b.at.bytes - a.at.bytes
    if not gap:
        text = f"A and B have the same peak, {said[1]}"
    else:
        share = f" ({units.percent(abs(gap) / a.at.bytes)})" if a.at.bytes else ""
        text = f"B's peak is {units.size(abs(gap))}{share} {'higher' if gap > 0 else 'lower'} than A's:"
        text += f" {said[1]}, against {said[0]}"
    changed = kinds.frame[kinds.frame["difference_bytes"] != 0].head(_SAID)
    parts = [
        f"{kind} {units.size(abs(change))} {'more' if change > 0 else 'less'}"
        for kind, change in changed[["kind", "difference_bytes"]].itertuples(index=False)
    ]
    text += f"; {', '.join(parts)}" if parts else ""
    evidence = tuple(Evidence("kinds", {"kind": str(kind)}) for kind in changed["kind"])
    return Finding(MEMORY_DIFFERENCE, text, evidence=evidence, where=places[1])
