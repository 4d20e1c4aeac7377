"""Predicted memory beside measured memory, by kind, and why the two differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pandas as pd

from perfkit.analysis.memory.lifetimes import LABELS, Kind
from perfkit.schema.memory import estimate as memory
from perfkit.schema.memory.estimate import MemoryEstimate
from perfkit.schema.table import Column, Table

_OWN_KIND = {
    memory.PARAMETERS: Kind.PARAMETERS,
    memory.GRADIENTS: Kind.GRADIENTS,
    memory.OPTIMIZER: Kind.OPTIMIZER,
    memory.CONSTANTS: Kind.CONSTANTS,
    memory.WORKING: Kind.TEMPORARIES,
}
"""Parts that are of a kind of their own; the others are activations."""
_EQUAL = 0.001
"""Differences below this share of the whole peak need no reason."""
_ALIKE = 0.1
"""A difference that is within this of what is expected has that for its reason."""


def by_kind(estimate: MemoryEstimate) -> dict[Kind, int]:
    """Bytes at the predicted peak of each kind, as a recording tells them apart."""
    found = _kinds(estimate, estimate.parts)
    if estimate.beside is not None and estimate.beside.workspaces:
        found[Kind.WORKSPACES] = estimate.beside.workspaces
    return found


def table(estimate: MemoryEstimate, measured: Mapping[Kind, int]) -> Table:
    """A row a kind: bytes predicted and measured at the peak, the difference (measured - predicted), and its reason.

    Both columns add up to their peaks: of a recording, requested bytes with cuBLAS's workspaces.
    """
    predicted = by_kind(estimate)
    whole = sum(measured.values())
    rows = [
        {
            "kind": LABELS[kind],
            "predicted_bytes": predicted.get(kind, 0),
            "measured_bytes": measured.get(kind, 0),
            "difference_bytes": measured.get(kind, 0) - predicted.get(kind, 0),
            "why": _reason(kind, estimate, predicted, measured, whole),
        }
        for kind in Kind
        if predicted.get(kind) or measured.get(kind)
    ]
    columns = (
        Column("kind"),
        Column("predicted_bytes", "B", "bytes", "predicted", summed=True, scale="bytes"),
        Column("measured_bytes", "B", "bytes", "measured", summed=True, scale="bytes"),
        Column("difference_bytes", "B", "bytes", "difference", summed=True, scale="bytes"),
        Column("why"),
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    notes = (f"reasons are given for differences above {_EQUAL:.1%} of the peak",)
    return Table("predicted", "Predicted and measured memory at the peak", columns, frame, notes, pinned=len(frame))


def _reason(
    kind: Kind, estimate: MemoryEstimate, predicted: Mapping[Kind, int], measured: Mapping[Kind, int], whole: int
) -> str:
    """Why a kind differs; empty where it does not."""
    difference = measured.get(kind, 0) - predicted.get(kind, 0)
    rounding = {} if estimate.beside is None else _kinds(estimate, estimate.beside.rounding)
    if abs(difference) <= _EQUAL * whole:
        return ""
    if kind is Kind.UNKNOWN:
        return "the recording does not tell what it is: other rows lack it"
    if kind is Kind.OPTIMIZER and not measured.get(kind):
        return "a first step: the optimizer makes its state at its end"
    if kind is Kind.WORKSPACES:
        return "cuBLAS's workspaces: their size depends on the GPU, their number on threads and streams"
    if difference > 0 and _near(difference, rounding.get(kind, 0)):
        return "rounding: blocks of the allocator, not what was asked for"
    pair = {Kind.ACTIVATIONS: Kind.TEMPORARIES, Kind.TEMPORARIES: Kind.ACTIVATIONS}.get(kind)
    if pair is not None:
        other = measured.get(pair, 0) - predicted.get(pair, 0)
        if abs(difference + other) <= _EQUAL * whole:
            return f"counted as {LABELS[pair]} in the other column"
        if _near(-difference, measured.get(Kind.UNKNOWN, 0)):
            return f"in the row {LABELS[Kind.UNKNOWN]!r}"
    if kind is Kind.GRADIENTS:
        return "the peak is at another moment of backward, which makes gradients as it goes"
    return "not modelled"


def _kinds(estimate: MemoryEstimate, parts: Mapping[str, int]) -> dict[Kind, int]:
    """Bytes of parts by kind.

    What is made and freed in one phase is temporary: without a backward pass all that forward makes is.
    """
    made = Kind.TEMPORARIES if estimate.phase == "forward" else Kind.ACTIVATIONS
    found: Counter[Kind] = Counter()
    for part, size in parts.items():
        found[_OWN_KIND.get(part, made)] += size
    return dict(found)


def _near(one: int, other: int) -> bool:
    return other > 0 and abs(one - other) <= _ALIKE * other
