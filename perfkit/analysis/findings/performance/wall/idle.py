"""Devices that are idle because the host is late: it launches too slowly, or it has waited."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.operators.optimizer import is_unfused
from perfkit.analysis.findings.performance.program.debugging import launch_blocking
from perfkit.analysis.findings.performance.wall.between_operators import is_of_python
from perfkit.analysis.findings.performance.wall.places import (
    idle_row,
    pieces_of,
    place_of,
    waiting_calls,
    waits_for_copy,
)
from perfkit.analysis.kernels.calls import waits_for_device
from perfkit.analysis.time.idle.doing import names_of, waiting_operator
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.analysis.time.replay.edit import Edit
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule

LAUNCH_BOUND = Rule(
    "launch-bound", "performance", "devices are idle because the host launches their work more slowly than they do it"
)
_LEAST_LATE = 0.15
"""Share of the step (TraceLens's agent has the same for idle time)."""
_MANY = 20
"""Gaps a step and device, below which the host was busy with something, and not slow at launching."""
_SHORT_NS = 1_000_000
"""A gap of 1 ms has room for hundreds of launches: the host did something else."""


def launch_bound(case: Case) -> Finding | None:
    """Launch-starved idle time in many gaps, most of it in gaps under 1 ms; long stretches of Python aside.

    At stake: the idle time of these gaps.
    """
    rows = _late(case)
    ns = case.wall.pieces.ns[rows]
    time = int(ns.sum())
    if not case.is_worth(time, _LEAST_LATE) or len(rows) < _MANY * case.share_of:
        return None
    if 2 * int(ns[ns < _SHORT_NS].sum()) < time or launch_blocking(case) is not None:
        return None
    place = place_of(case, rows)
    text = (
        f"the device is idle for {case.each(time)} ({units.percent(time / case.share_of / case.step_ns)}), since"
        f" the host has not launched what comes next: it cannot launch as fast as the device works"
        f"{place}"
    )
    fused, flag = (" a fused optimizer,", " --optimizer adamw-fused,") if is_unfused(case) else ("", "")
    advice = (
        f'fewer, larger launches: torch.compile(mode="reduce-overhead") or CUDA graphs,{fused} a larger batch'
        f" (perfkit run: --compile model,{flag} --batch-size)"
    )
    return Finding(LAUNCH_BOUND, text, case.cost(time), (idle_row(Cause.LAUNCH_STARVED),), advice, "derived")


def _late(case: Case) -> Ints:
    rows = pieces_of(case, Cause.LAUNCH_STARVED)
    return rows[~is_of_python(case, rows)]


def without_host(case: Case, _: Finding) -> Edit:
    """A host that takes no time: what is left is the device's own pace."""
    return Edit(host=np.ones(len(case.host.name), dtype=bool), keeps_work=True)


HOST_SYNCHRONISATION = Rule(
    "host-synchronisation",
    "performance",
    "the host waits for the device in the step, and the device is idle until the host launches again",
)
_LEAST_BLOCKED = 0.02
"""Share of the step (nsys-ai has 2% of the device's time)."""


def host_synchronisation(case: Case) -> Finding | None:
    """Idle time from a call that drained the queue to the next launch; copies to the device aside.

    Waiting itself costs nothing as long as the device has work. The wait at the end of perfkit's own steps is part of
    measuring them.

    At stake: the idle time from these calls to the next launches.
    """
    rows = _blocked(case)
    time = int(case.wall.pieces.ns[rows].sum())
    if not case.is_worth(time, _LEAST_BLOCKED) or launch_blocking(case) is not None:
        return None
    calls = waiting_calls(case, rows)
    name, operator = _of_most(case, rows, calls), _of_most(case, rows, waiting_operator(case.account, calls))
    waits = f"{operator} ({name})" if operator else name
    place = place_of(case, rows)
    count = len(np.unique(calls))
    text = (
        f"the host waits for the device {case.times_a_step(count)}, mostly in {waits}, and after it the device is"
        f" idle for {case.each(time)}{place}"
    )
    return Finding(
        HOST_SYNCHRONISATION, text, case.cost(time), (idle_row(Cause.BLOCKING),), _advice(operator), "derived"
    )


_INSTEAD = {
    "item": "values that stay on the device (tensor.detach()), and are read every hundred steps",
    "is_nonzero": "torch.where in place of an if on a tensor's value",
    "nonzero": "torch.where or a product with the mask, in place of nonzero and of indexing by a mask",
    "unique": "torch.bincount or a sort, whose results have a known size",
    "equal": "a comparison that stays on the device",
    "copy_": "results that are read after the loop, or copied with non_blocking=True into pinned memory",
}


def _advice(operator: str) -> str:
    plain = operator.rpartition("::")[2]
    return _INSTEAD.get(
        plain, "no synchronisation in the step: torch.cuda.synchronize(), .item(), .cpu(), print(tensor)"
    )


def _blocked(case: Case) -> Ints:
    rows = pieces_of(case, Cause.BLOCKING)
    rows = rows[~waits_for_copy(case, rows)]
    return rows if case.trace.recording.own is None else rows[~_measures(case, waiting_calls(case, rows))]


def _measures(case: Case, call: Ints) -> Bools:
    """Calls by which perfkit ends a step: they wait for the whole device, outside of its phases."""
    whole = case.ranges(waits_for_device) & (case.host.phase_range == NONE)
    return at(whole, call, absent=False)


def _of_most(case: Case, rows: Ints, place: Ints) -> str:
    """The name of the host range that most of the pieces' time is behind; empty for none."""
    codes = names_of(case.host, place)
    some = codes != NONE
    if not some.any():
        return ""
    return case.host.names[int(np.bincount(codes[some], weights=case.wall.pieces.ns[rows][some]).argmax())]


def without_waits(case: Case, _: Finding) -> Edit:
    """Without the operators that waited, and the calls outside of operators."""
    call = waiting_calls(case, _blocked(case))
    operator = waiting_operator(case.account, call)
    gone = np.zeros(len(case.host.name), dtype=bool)
    gone[np.where(operator == NONE, call, operator)] = True
    return Edit(host=gone)
