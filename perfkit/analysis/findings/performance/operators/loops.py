"""Python loops that call the same few operators again and again, where one call could do."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, nearest, strictly_above
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import CALL_NS, RECORDING_NS, Case, names_of
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.schema.finding import Finding, Rule

PYTHON_LOOP = Rule(
    "python-loop",
    "performance",
    "the same few operators again and again on one element, sample or parameter each: a Python loop",
)
_REPEATS = 10
"""Of a pattern in a row (torch's own pattern matcher has the same)."""
_LONGEST = 16
"""Operators in a pattern."""
_INDEXING = ("select", "slice", "narrow", "index", "index_select", "gather")
_RECURRENT = ("gru_cell", "lstm_cell", "rnn_tanh_cell", "rnn_relu_cell")
"""Cells, each of which needs what the one before made."""
_LEAST = 0.02
"""Share of the step at stake from which the finding is made."""


def python_loop(case: Case) -> Finding | None:
    """Stretches of outermost operators of one period, ten times or more, that are a loop and no stack of layers.

    A loop has a select, slice or index in it; or it calls one module each time anew; or it has two or more operators
    and lies outside of modules, backward and optimizer, in a recording that names modules.

    At stake, on a device: the time of its kernels with their backward, less one pass through the pattern. On a host:
    the stretch and its backward nodes, less what each operator takes beyond the 5 us of a call, which is arithmetic
    that remains, and less what recording them took.
    """
    table = case.units
    if len(table) < 2 * _REPEATS:
        return None
    period = _periods(case)
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
        stretch = (table.end[ends - 1] - table.start[begins]) * kept
        recorded = int(at(rows, case.units.of, absent=False).sum())
        time = float(stretch.sum()) - recorded * RECORDING_NS - _arithmetic(case, rows) + _backward(case, rows)
    if not case.is_worth(time, _LEAST):
        return None
    first = int(begins[np.argmax(ends - begins)])
    pattern = range(first, first + int(period[first]))
    text = (
        f"a Python loop runs {names_of(case, pattern)} up to {int(passes.max()):,} times in a row, on one element,"
        f" sample or parameter each: {case.each(time)}"
    )
    advice = (
        "one operation on the whole tensor or batch (indexing by a tensor, broadcasting, bmm, torch.vmap), on a list of"
        " tensors torch._foreach_* or nn.utils.clip_grad_norm_, for a recurrence nn.LSTM or nn.GRU"
    )
    return Finding(PYTHON_LOOP, text, case.cost(time), kernel_rows(case, case.rows_of(rows)), advice, "derived")


def _periods(case: Case) -> Ints:
    """Of each unit, the shortest period of the repeating stretch that it is in; 0 for none.

    A stretch of period p has the same name p later, (repeats - 1) p times in a row.
    """
    table = case.units
    name, thread = table.name, table.thread
    period = np.zeros(len(name), dtype=np.int64)
    indexes = np.append(0, np.cumsum(table.named(*_INDEXING) & (case.unit_phase != Phase.OPTIMIZER)))
    call = _calls(case)
    outside = (call == NONE) & np.isin(case.unit_phase, (Phase.FORWARD, Phase.OTHER)) & (call != NONE).any()
    path = case.unit_path
    recurrent = np.append(0, np.cumsum(table.named(*_RECURRENT)))
    for length in range(1, _LONGEST + 1):
        same = (name[length:] == name[:-length]) & (thread[length:] == thread[:-length])
        if not same.any():
            continue
        anew = (path[length:] == path[:-length]) & (call[length:] != call[:-length]) & (call[:-length] != NONE)
        alone = outside[length:] & outside[:-length]
        for kind, flags in enumerate((same, same & anew, same & alone)):
            for begin, end in _long_runs(flags, length):
                if period[begin:end].any() or recurrent[begin + length] > recurrent[begin]:
                    continue
                is_indexing = indexes[begin + length] > indexes[begin]
                if is_indexing or kind == 1 or (kind == 2 and _works(case, slice(begin, begin + length)) > 1):
                    period[begin:end] = length
    return period


def _calls(case: Case) -> Ints:
    """Of each unit, the call of a module that it is in, as a row of the host; NONE for none."""
    host = case.host
    frames = case.ranges(lambda name: name.startswith("nn.Module: "))
    return nearest(host.forest.parent, host.own("module") | frames)[case.units.row].astype(np.int64)


def _long_runs(flags: Bools, length: int) -> list[tuple[int, int]]:
    """Begin and end of the stretches of units of this period, with enough passes."""
    edge = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    begins, ends = edge[::2], edge[1::2]
    long = ends - begins >= (_REPEATS - 1) * length
    return list(zip(begins[long].tolist(), (ends[long] + length).tolist(), strict=True))


def _works(case: Case, units: slice) -> int:
    """How many different operators of some units work."""
    return len(np.unique(case.units.name[units][case.works[units]]))


def _end(period: Ints, begin: int) -> int:
    changed = np.flatnonzero(period[begin:] != period[begin])
    return begin + int(changed[0]) if len(changed) else len(period)


def _units(case: Case, begins: Ints, ends: Ints) -> Bools:
    change = np.zeros(len(case.units) + 1, dtype=np.int64)
    np.add.at(change, begins, 1)
    np.add.at(change, ends, -1)
    return np.cumsum(change)[:-1] > 0


def _arithmetic(case: Case, units: Bools) -> int:
    """ns that units take beyond a call."""
    length = case.units.end[units] - case.units.start[units]
    return int(np.maximum(length - CALL_NS, 0).sum())


def _backward(case: Case, units: Bools) -> int:
    """ns of the backward nodes that units made, less the arithmetic in them."""
    host, links = case.host, case.account.attribution.links
    made = (
        at(units, at(case.units.of, links.target, absent=NONE), absent=False) & links.is_node & ~links.by_accumulation
    )
    outermost = made & (strictly_above(host.forest.parent, nearest(host.forest.parent, made)) == NONE)
    inside = nearest(host.forest.parent, made) != NONE
    recorded = int(inside.sum()) * RECORDING_NS
    return int((host.end - host.start)[outermost].sum()) - recorded - _arithmetic(case, inside[case.units.row])
