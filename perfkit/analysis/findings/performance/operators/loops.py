"""Python loops over the elements of a tensor."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case, names_of
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.schema.finding import Finding, Rule

INDEXING_LOOP = Rule(
    "indexing-loop", "performance", "the same few operators again and again on one element or slice each: a Python loop"
)
_REPEATS = 10
"""Of a pattern in a row (torch's own pattern matcher has the same)."""
_LONGEST = 16
"""Operators in a pattern."""
_INDEXING = ("select", "slice", "narrow", "index", "index_select", "gather")
_LEAST = 0.02
"""Share of the step at stake from which the finding is made."""


def indexing_loop(case: Case) -> Finding | None:
    """Stretches of outermost operators of one period, ten times or more, with a select, slice or index among them.

    At stake: the stretch from its first operator to its last, less one pass through the pattern.
    """
    table = case.units
    if len(table) < 2 * _REPEATS or not table.named(*_INDEXING).any():
        return None
    indexes = table.named(*_INDEXING) & (case.unit_phase != Phase.OPTIMIZER)
    period = _periods(table.name, table.thread, indexes)
    if not (period > 0).any():
        return None
    begins = np.flatnonzero((period > 0) & (np.append(0, period[:-1]) != period))
    ends = np.array([_end(period, begin) for begin in begins.tolist()])
    inside = case.steps_at(table.start[begins]) != NONE
    begins, ends = begins[inside], ends[inside]
    if not len(begins):
        return None
    rows = _units(case, begins, ends)
    passes = (ends - begins) / period[begins]
    kept = 1 - 1 / passes
    if case.on_device:
        time = case.time(case.rows_of(rows)) * float(np.average(kept))
    else:
        time = float(((table.end[ends - 1] - table.start[begins]) * kept).sum())
    if not case.is_worth(time, _LEAST):
        return None
    first = int(begins[np.argmax(passes)])
    pattern = range(first, first + int(period[first]))
    text = (
        f"a Python loop runs {names_of(case, pattern)} up to {int(passes.max()):,} times in a row, on one element or"
        f" slice each: {case.each(time)}"
    )
    advice = "one operation on the whole tensor (indexing by a tensor, broadcasting, bmm, torch.vmap)"
    return Finding(INDEXING_LOOP, text, case.cost(time), kernel_rows(case, case.rows_of(rows)), advice, "derived")


def _periods(name: Ints, thread: Ints, indexes: Bools) -> Ints:
    """Of each unit, the shortest period of the repeating stretch that it is in; 0 for none.

    A stretch of period p has the same name p later, (repeats - 1) p times in a row, and an operator that indexes in it.
    """
    period = np.zeros(len(name), dtype=np.int64)
    counts = np.append(0, np.cumsum(indexes))
    for length in range(1, _LONGEST + 1):
        same = (name[length:] == name[:-length]) & (thread[length:] == thread[:-length])
        if not same.any():
            continue
        edge = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        begins, ends = edge[::2], edge[1::2]
        long = ends - begins >= (_REPEATS - 1) * length
        for begin, end in zip(begins[long].tolist(), (ends[long] + length).tolist(), strict=True):
            if counts[begin + length] > counts[begin] and not period[begin:end].any():
                period[begin:end] = length
    return period


def _end(period: Ints, begin: int) -> int:
    changed = np.flatnonzero(period[begin:] != period[begin])
    return begin + int(changed[0]) if len(changed) else len(period)


def _units(case: Case, begins: Ints, ends: Ints) -> Bools:
    change = np.zeros(len(case.units) + 1, dtype=np.int64)
    np.add.at(change, begins, 1)
    np.add.at(change, ends, -1)
    return np.cumsum(change)[:-1] > 0
