"""Operations and bytes of each operator of a trace, and which operator each piece of time belongs to.

Each piece of work counts once, in the innermost operator that it can be counted in (`formula.Level`). Forward and
backward each count by what was recorded for them: a backward pass is never twice its forward.
"""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import Attribution
from perfkit.analysis.attribution.host_view import HostView, present
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, nearest, pair_keys, strictly_above
from perfkit.analysis.costs.flops.call import Call
from perfkit.analysis.costs.flops.formula import Counted, Formula, Level
from perfkit.analysis.costs.flops.operators import counted, formula_of, is_in_place
from perfkit.analysis.kernels import kinds
from perfkit.trace.columns import MISSING, HostKind
from perfkit.trace.detail_columns import Operands

_SPARSE = ("aten::_sparse_", "aten::sparse_")
"""Products inside these have sparse tensors, whose shapes say nothing of how many elements there are."""
_ACCUMULATE = "torch::autograd::AccumulateGrad"
PRODUCTS = (kinds.MATMUL, kinds.ATTENTION, kinds.CONVOLUTION)
"""What FLOPs per step count, and utilisation with them: the work that accelerators have units for."""


class Work(msgspec.Struct, frozen=True):
    """One row a host range, in the forest's order."""

    flops: Ints
    """Operations; 0 on rows that are not counted."""
    masked: Ints
    """Those among them that a causal mask hides, which fused kernels leave out."""
    repeated: Ints
    """Those among them that repeat what the forward operator did."""
    bytes: Ints
    """The least that has to be moved; MISSING where the trace does not tell it, and on rows that are not counted."""
    kind: Ints
    """What is counted, as an index into kinds.ALL; NONE where nothing is."""
    owner: Ints
    """The nearest enclosing range, or the row itself, that is counted: whose work it does; NONE for none."""

    @property
    def is_counted(self) -> Bools:
        """Rows that are counted."""
        return self.kind != NONE


def work_of(operands: Operands, attribution: Attribution) -> Work:
    """Count the work of every operator that has a formula and the arguments for it."""
    host = attribution.host
    rows, formula, formulas = _candidates(host, operands)
    key, found = _distinct(host, operands, rows, formula, formulas)
    known = np.array([count is not None for count in found], dtype=bool)[key] if len(key) else np.zeros(0, dtype=bool)
    rows, key, formula = rows[known], key[known], formula[known]
    level = np.array([how.level for how in formulas], dtype=np.int64)[formula]
    sparse = nearest(host.forest.parent, host.matching(lambda name: name.startswith(_SPARSE)))[rows] != NONE
    own = (level > _levels_inside(host, rows, level)) & ~(sparse & (level == Level.PRODUCT))
    rows, key, formula = rows[own], key[own], formula[own]
    flops, masked, repeated, moved, kind = (
        _placed(len(host.name), rows, values, absent)
        for values, absent in (
            (np.array([count.flops if count else 0 for count in found], dtype=np.int64)[key], 0),
            (np.array([count.masked if count else 0 for count in found], dtype=np.int64)[key], 0),
            (np.array([count.repeated if count else 0 for count in found], dtype=np.int64)[key], 0),
            (np.array([_bytes(count) for count in found], dtype=np.int64)[key], MISSING),
            (np.array([kinds.ALL.index(how.kind) for how in formulas], dtype=np.int64)[formula], NONE),
        )
    )
    return Work(flops, masked, repeated, moved, kind, nearest(host.forest.parent, kind != NONE))


def _bytes(count: Counted | None) -> int:
    return MISSING if count is None or count.bytes is None else count.bytes


def _placed(length: int, rows: Ints, values: Ints, absent: int) -> Ints:
    column = np.full(length, absent, dtype=np.int64)
    column[rows] = values
    return column


def _candidates(host: HostView, operands: Operands) -> tuple[Ints, Ints, list[Formula]]:
    """Rows of operators that have a formula and shapes, the number of each one's formula, and the formulas."""
    formulas: list[Formula] = []
    number = np.full(len(host.names), NONE, dtype=np.int64)
    for index in present(host.name[host.kind == HostKind.OP]):
        if (formula := formula_of(host.names[index])) is not None:
            number[index] = len(formulas)
            formulas.append(formula)
    has_shapes = operands.shapes[host.forest.order] != MISSING
    rows = np.flatnonzero((host.kind == HostKind.OP) & (number[host.name] != NONE) & has_shapes)
    return rows, number[host.name[rows]], formulas


def _distinct(
    host: HostView, operands: Operands, rows: Ints, formula: Ints, formulas: list[Formula]
) -> tuple[Ints, list[Counted | None]]:
    """A number for each row, the same for calls of the same arguments, and what each of these counts: calls repeat."""
    if not len(rows):
        return rows, []
    recorded = host.forest.order[rows]
    columns = [column[recorded] for column in (operands.shapes, operands.dtypes, operands.strides, operands.values)]
    key = pair_keys(host.name[rows], *columns)
    first = np.unique(key, return_index=True)[1]
    list_dtype = _gradient_type(host, operands)
    found = []
    for row in first.tolist():
        shapes, dtypes, strides, values = (int(column[row]) for column in columns)
        name = host.names[host.name[rows[row]]]
        call = Call(
            operands.all_shapes[shapes],
            operands.all_dtypes[dtypes] if dtypes != MISSING else (),
            operands.all_strides[strides] if strides != MISSING else (),
            operands.all_values[values] if values != MISSING else (),
            is_in_place(name),
            list_dtype,
        )
        found.append(counted(formulas[formula[row]], call))
    return key, found


def _gradient_type(host: HostView, operands: Operands) -> str:
    """The type of the gradients that the file accumulates; empty where they have several, or none."""
    rows = np.flatnonzero(host.matching(lambda name: name == _ACCUMULATE))
    codes = np.unique(operands.dtypes[host.forest.order[rows]])
    types = {operands.all_dtypes[code][:1] for code in codes.tolist() if code != MISSING}
    return types.pop()[0] if len(types) == 1 and () not in types else ""


def _levels_inside(host: HostView, rows: Ints, level: Ints) -> Ints:
    """The highest level of the candidates inside each candidate; NONE where there is none."""
    is_candidate = np.zeros(len(host.name), dtype=bool)
    is_candidate[rows] = True
    above = strictly_above(host.forest.parent, nearest(host.forest.parent, is_candidate))[rows]
    place = np.full(len(host.name) + 1, NONE, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    outer = place[above]
    inner = np.flatnonzero(outer != NONE)
    highest = np.full(len(rows), NONE, dtype=np.int64)
    while len(inner):  # once for each depth at which candidates stand in each other
        before = highest.copy()
        np.maximum.at(highest, outer[inner], np.maximum(level[inner], highest[inner]))
        if np.array_equal(before, highest):
            break
    return highest
