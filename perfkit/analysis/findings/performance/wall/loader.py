"""The data loader: batches that the step waits for."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, covered
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.wall.places import idle_row, pieces_of
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.analysis.time.idle.regions import Pair
from perfkit.analysis.time.idle.waits import loading, ranges_of_loaders
from perfkit.analysis.time.replay.edit import Edit
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

DATA_LOADER = Rule("data-loader", "performance", "steps wait for the next batch of a data loader")
_LEAST, _LEAST_OF_WORKERS = 0.05, 0.1
"""Share of the step: of a loader in the step's own process (the TensorBoard plugin has 5%), and of waiting for workers
(TraceML warns from 10% on), whose speed is that of a machine with other things to do."""
_STEPS = 3
"""Steps, from which the first, when workers start, counts as the others do on average."""


def data_loader(case: Case) -> Finding | None:
    """Ranges of a data loader on the main thread, in the steps and between them: on a device, what it is idle for.

    At stake: the time in these ranges, on a device what it is idle in them.
    """
    name = _name(case)
    if not name:
        return None
    if case.on_device:
        cost, evidence = case.cost(_usual(_idle_in_steps(case)) + _idle_between(case)), idle_row(Cause.DATA_LOADING)
    else:
        starts, ends = case.bounds
        loads = _loads(case, case.account.attribution.main_thread)
        between = int(covered(ends[:-1], starts[1:], *loads).sum())
        cost = case.host_cost(_usual(covered(starts, ends, *loads)) + between)
        evidence = Evidence("ranges", {"name": name})
    if not cost.ns or (cost.share or 0.0) < (_LEAST_OF_WORKERS if _WORKERS in name else _LEAST):
        return None
    who = "the device is idle" if case.on_device else "the step waits"
    text = (
        f"{who} for {units.duration_ns(cost.ns or 0)}{case.a_step} ({units.percent(cost.share or 0.0)}) while"
        f" the data loader gets the next batch ({name[:100]})"
    )
    advice = _advice(on_device=case.on_device, has_workers=bool(case.ranges(lambda text: _WORKERS in text).any()))
    return Finding(DATA_LOADER, text, cost, (evidence,), advice, "measured")


_WORKERS = "MultiProcessing"
"""In the names of torch's loader, if it has workers."""


def _usual(by_step: Ints) -> int:
    """The time of all steps, the first as much as the others on average."""
    return int(by_step[1:].mean() * len(by_step)) if len(by_step) >= _STEPS else int(by_step.sum())


def _advice(*, on_device: bool, has_workers: bool) -> str:
    pinned = ", pin_memory=True" if on_device else ""
    if has_workers:
        return (
            f"more workers, a larger prefetch_factor{pinned}, cheaper transforms, or samples that are stored prepared"
        )
    return (
        f"DataLoader(num_workers=4, persistent_workers=True{pinned}), which gets batches in other processes while the"
        " step runs, cheaper transforms, or samples that are stored prepared"
    )


def _loads(case: Case, thread: int) -> Pair:
    nothing = np.empty(0, np.int64)
    return loading(case.host).get(thread, (nothing, nothing))


def _idle_in_steps(case: Case) -> Ints:
    rows = pieces_of(case, Cause.DATA_LOADING)
    pieces = case.wall.pieces
    return np.bincount(np.maximum(pieces.step[rows], 0), weights=pieces.ns[rows], minlength=case.step_count)


def _idle_between(case: Case) -> int:
    """Idle time between the steps in which the thread that ends it is in a loader."""
    pieces, gaps = case.wall.pieces, case.wall.gaps
    rows = np.flatnonzero(pieces.cause == Cause.BETWEEN_STEPS) if case.account.steps else np.empty(0, np.int64)
    thread = gaps.thread[pieces.gap[rows]]
    time = 0
    for number in np.unique(thread[thread != NONE]).tolist():
        mine = rows[thread == number]
        time += int(covered(pieces.start[mine], pieces.end[mine], *_loads(case, number)).sum())
    return time


def _ranges(case: Case) -> Bools:
    """Ranges of a loader, on any thread."""
    found = np.zeros(len(case.host.name), dtype=bool)
    found[ranges_of_loaders(case.host)] = True
    return found


def _name(case: Case) -> str:
    """The outermost ranges of a loader with most time, by name; empty for none."""
    host = case.host
    rows = np.flatnonzero(_ranges(case))
    rows = rows[~at(_ranges(case), host.forest.parent[rows], absent=False)]
    if not len(rows):
        return ""
    time = np.bincount(host.name[rows], weights=(host.end - host.start)[rows])
    return host.names[int(time.argmax())]


def without_loader(case: Case, _: Finding) -> Edit:
    """Batches that are there already."""
    return Edit(host=_ranges(case))
