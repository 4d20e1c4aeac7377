"""How long a step takes: its wall time or, where the host runs ahead of the device, the time until its work is done.

A host that only fills the launch queue is through a step long before the device is: such walls, and their mean, say
nothing of how fast the program is. The *pace* of a step is the time from when the one before it is done, or from its
begin if that is later, until the host has reached its end and all work is done that was launched up to there. (The
replay has the same notion: `replay.windows`.)
"""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analysis.attribution.attribute import owners_of_events
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.partial import Fold, Partial, Rows
from perfkit.trace.columns import MISSING

_APART = 0.03
"""Walls are not believed where pending work grows or shrinks by more than this share of them, and the pace is so far
from their mean."""
_LATER = 2
"""So many steps must follow the first of a thread to leave it out: the device may still do what came before it."""
_NEVER = np.iinfo(np.int64).min


class StepTime(msgspec.Struct, frozen=True):
    """The time of a step, on average."""

    ns: float
    """What a step takes."""
    host_ns: float
    """The mean of their wall times."""
    is_pace: bool
    """Whether `ns` is until the work of a step is done, because the host runs ahead of the device."""
    of: int
    """So many of the steps `ns` is the mean of: the last ones."""


def _rows(account: Account) -> Rows:
    """The steps accounted for, as the file has them, whatever phase is."""
    steps, threads = account.attribution.steps, account.trace.threads
    pace, growth = (np.zeros(len(steps), dtype=np.int64) for _ in range(2))
    is_first = np.zeros(len(steps), dtype=bool)
    for thread in {step.thread for step in steps}:
        mine = sorted((i for i, step in enumerate(steps) if step.thread == thread), key=lambda i: steps[i].start)
        start, end = (np.array([getattr(steps[i], edge) for i in mine], dtype=np.int64) for edge in ("start", "end"))
        before, done = _done(account, threads[thread].pid, start, end)
        free = np.append(before, done[:-1])
        pace[mine] = done - np.maximum(start, np.append(_NEVER, done[:-1]))
        growth[mine] = (done - end) - (np.maximum(free, start) - start)
        is_first[mine[0]] = True
    chosen, work = list(account.steps), _work(account)
    number = np.arange(len(chosen))
    return {
        "step": number,
        "is_first": is_first[chosen].astype(np.int64),
        "pace_ns": pace[chosen],
        "growth_ns": growth[chosen],
        "work_ns": work[chosen],
    }


def _work(account: Account) -> Ints:
    """How long the device was busy with what each step launched, ns; of several devices the one with most work."""
    events, count = account.attribution.events, len(account.attribution.steps)
    inside = events.step != NONE
    most = np.zeros(count, dtype=np.int64)
    for device in np.unique(account.trace.device.device).tolist():
        rows = inside & (account.trace.device.device == device)
        busy = np.bincount(events.step[rows], weights=events.exclusive[rows], minlength=count)
        most = np.maximum(most, busy.astype(np.int64))
    return most


def _done(account: Account, process: int, start: Ints, end: Ints) -> tuple[int, Ints]:
    """Until when the device works on what was launched before the first step; when each step is done.

    start, end: of the steps of one thread of a process, in their order. Work whose launch is not in the file was
    launched before, where it started before all other work.
    """
    events, launch = account.trace.device, account.attribution.events.launch
    owner = owners_of_events(account.trace, account.attribution)
    here = (owner == process) | (owner == MISSING)
    called = np.where(launch == NONE, _NEVER, at(account.attribution.host.start, launch, absent=_NEVER))
    inside = here & (called >= start[0])
    first = events.start[inside].min(initial=np.iinfo(np.int64).max)
    earlier = here & (called < start[0]) & (events.start < first)
    rows = np.flatnonzero(inside)
    rows = rows[np.argsort(called[rows], kind="stable")]
    done = np.append(_NEVER, np.maximum.accumulate(events.end[rows])) if len(rows) else np.array([_NEVER])
    last = np.searchsorted(called[rows], end, side="right")
    until = np.maximum.accumulate(np.maximum(end, done[last]))
    return int(events.end[earlier].max(initial=_NEVER)), until


STEP_PACES = Fold(
    "step paces",
    _rows,
    keys=("step", "is_first"),
    measures={"pace_ns": "sum", "growth_ns": "sum", "work_ns": "sum"},
)
"""Each step: its pace; by how much more work is pending when it ends than was when it began, ns of the device; and how
long the device is busy with what it launched."""


def step_time(partial: Partial) -> StepTime | None:
    """What a step takes; None without steps.

    It is the mean wall time, unless the host runs ahead of the device. It does where what is pending grows over the
    steps, or shrinks, by more than 3% of their time, and the mean pace, of three steps or more without the first of a
    file, is so far from the mean wall. One step or two are evidence only if they launch more work than fits into them:
    else what is pending at the end may be pending at the end of each step.
    """
    walls = partial.facts.steps
    if not walls:
        return None
    host = sum(walls) / len(walls)
    rows = partial.of(STEP_PACES)
    growth, work = (int(rows[name].sum()) / max(sum(walls), 1) for name in ("growth_ns", "work_ns"))
    later = rows[rows["is_first"] == 0]
    is_steady = len(later) >= _LATER * max(len(rows) - len(later), 1)
    steady = later if is_steady else rows
    pace = float(steady["pace_ns"].mean())
    is_ahead = abs(growth) > _APART if is_steady else growth > _APART and work > 1
    if is_ahead and abs(pace - host) > _APART * host:
        return StepTime(pace, host, True, len(steady))
    return StepTime(host, host, False, len(walls))
