"""Work in a training step that trains nothing: evaluation, statistics for logs, copies of the weights."""

from __future__ import annotations

import re

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, nearest
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case, names_of
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.regex import Regex
from perfkit.schema.finding import Finding, Rule
from perfkit.trace.columns import HostKind

WORK_BESIDE_TRAINING = Rule(
    "work-beside-training",
    "performance",
    "what runs behind a step's backward and trains nothing: evaluation, statistics for logs, copies of the weights",
)
_LEAST = 0.02
"""Share of the step at stake from which the finding is made."""
_OF_GRADIENTS = Regex(r"(linalg_)?(vector_)?norm|_foreach_\w+|isfinite|isinf|isnan|_amp_\w+|\w*[^_]_|clamp\w*|mul|div")
"""What clips, scales or checks gradients, and all that writes in place: it may serve the update."""
_OF_AVERAGES = Regex(r"_foreach_\w+_|(lerp|mul|add|sub|addcmul|addcdiv)_")
"""What keeps a moving average of the weights, behind the optimizer."""
_LOADS = Regex(r"DataLoader|data_?load|next_batch|get_batch|fetch", re.IGNORECASE)


class _Tail(msgspec.Struct, frozen=True):
    """Units of one step behind its last backward, of the main thread, in order of time."""

    between: Ints
    """Before the optimizer."""
    after: Ints


def work_beside_training(case: Case) -> Finding | None:
    """Operators behind the last backward of a step, the optimizer's aside, if none of them makes a backward node.

    In front of the optimizer, what clips or scales gradients or writes in place is part of the update, and so is what
    runs beside it; behind it, what averages weights. The last step does not count: what follows its backward may be the
    forward of a step that was not recorded.

    At stake: on a device their time; on a host also the Python between them and, as far as it is no longer than they
    are, that behind the last of a step, which lets go of what they made.
    """
    tails = _tails(case)
    if not tails:
        return None
    found = np.zeros(len(case.units), dtype=bool)
    for tail in tails:
        if not _named(case, tail.between, _OF_GRADIENTS).any():
            found[tail.between] = True
        found[tail.after[~_named(case, tail.after, _OF_AVERAGES)]] = True
    time = (
        case.time(case.rows_of(found, backward=False)) if case.on_device else case.stretch(found) + _python(case, found)
    )
    time = round(time * case.step_count / len(tails))
    if not case.is_worth(time, _LEAST):
        return None
    rows = np.flatnonzero(found)
    costliest = rows[np.argsort(-case.unit_time[rows], kind="stable")]
    text = (
        f"behind backward each step also runs {names_of(case, costliest)}, which train nothing (evaluation, statistics"
        f" for logs, copies of weights): {case.each(time)}"
    )
    advice = "doing it every hundred steps, on less data, or in another process"
    cost, evidence = case.cost(time), kernel_rows(case, case.rows_of(found, backward=False))
    return Finding(WORK_BESIDE_TRAINING, text, cost, evidence, advice, "derived")


def _tails(case: Case) -> list[_Tail]:
    """What follows the last backward, for each step that trains and is not the last of them."""
    table, phase = case.units, case.unit_phase
    step = case.steps_at(table.start)
    backward = np.isin(phase, (Phase.BACKWARD, Phase.RECOMPUTE)) & (step != NONE)
    trained = np.unique(step[backward])[:-1]
    makes = np.zeros(len(table), dtype=bool)
    makers = case.made_by[case.made_by != NONE]
    makes[makers] = True
    main = table.thread == case.account.attribution.main_thread
    loads = nearest(case.host.forest.parent, case.ranges(_LOADS.search))[table.row] != NONE
    candidate = main & case.works & ~loads & np.isin(phase, (Phase.FORWARD, Phase.OTHER))
    tails = []
    for number in trained.tolist():
        inside = step == number
        ends = int(table.end[inside & backward].max())
        rows = np.flatnonzero(inside & candidate & (table.start >= ends))
        if makes[rows].any():
            continue
        updates = table.start[inside & (phase == Phase.OPTIMIZER) & case.works & (table.start >= ends)]
        first = int(updates.min()) if len(updates) else ends
        tails.append(_Tail(rows[table.start[rows] < first], rows[table.start[rows] >= first]))
    return tails


def _python(case: Case, found: Bools) -> int:
    """ns from the last of these units in each step to the next unit that works, or range; else to the step's end."""
    table, host, ends = case.units, case.host, case.bounds[1]
    rows = np.flatnonzero(found)
    step = case.steps_at(table.start[rows])
    begins = (host.kind == HostKind.ANNOTATION) & ~host.is_step
    begins[table.row[case.works]] = True
    begins = np.sort(host.start[begins & (host.thread == case.account.attribution.main_thread)])
    time = 0
    for number in np.unique(step).tolist():
        mine = rows[step == number]
        last = int(table.end[mine].max())
        place = int(np.searchsorted(begins, last))
        until = min(int(ends[number]), int(begins[place]) if place < len(begins) else int(ends[number]))
        time += min(until - last, int((table.end[mine] - table.start[mine]).sum()))
    return time


def _named(case: Case, rows: Ints, pattern: Regex[str]) -> Bools:
    """Units whose whole name, without namespace, is of a pattern."""
    names = case.units.names
    return np.array([pattern.fullmatch(names[name]) is not None for name in case.units.name[rows].tolist()], dtype=bool)
