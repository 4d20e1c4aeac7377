"""Copies between the host and a device that nothing hides."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.wall.places import copies_to_device, pieces_of, place_of, waits_for_copy
from perfkit.analysis.kernels.calls import returns_after_copy
from perfkit.analysis.kernels.copies import host_memory
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.analysis.time.replay.edit import Edit
from perfkit.schema.finding import Finding, Rule

BLOCKING_COPIES = Rule(
    "blocking-copies",
    "performance",
    "copies of pageable memory, or by calls that wait for them: neither the host nor the device does anything else",
)
_LEAST = 0.01
"""Share of the step at stake from which the finding is made (nsys names each such copy)."""


def blocking_copies(case: Case) -> Finding | None:
    """Copies to and from pageable memory, and those by calls that return when the copy is done.

    At stake: the time of these copies in which the device does nothing else, and its idle time until the host, which
    waited for a copy to the device, launches again.
    """
    rows = _blocking(case)
    blocked = _blocked(case)
    copying, idle = case.time(rows), int(case.wall.pieces.ns[blocked].sum())
    time = int(case.account.exclusive[rows].sum()) + idle
    if not rows.any() or not case.is_worth(time, _LEAST):
        return None
    names = case.account.name[rows]
    pageable = _pageable(case)[names].mean() >= 0.5
    how = "from or to pageable memory" if pageable else "by calls that wait for them"
    place = place_of(case, blocked) if idle else ""
    text = f"copies {how}: {case.count(int(rows.sum()))}{case.a_step}, {case.each(copying)}"
    if idle:
        text += f", and the device is idle for {case.each(idle)} until the host launches again{place}"
    return Finding(BLOCKING_COPIES, text, case.cost(time), kernel_rows(case, rows), _advice(case, rows), "derived")


def _advice(case: Case, rows: Bools) -> str:
    """What avoids copies to the device, from it, or both, as far as they take a tenth of these copies' time."""
    time, to_device = case.account.total[rows], copies_to_device(case)[case.account.row[rows]]
    said = []
    if 10 * time[to_device].sum() >= time.sum():
        said.append(
            "pinned memory and copies that do not wait: DataLoader(pin_memory=True) or tensor.pin_memory() once, and"
            ' .to("cuda", non_blocking=True)'
        )
    if 10 * time[~to_device].sum() >= time.sum():
        said.append("results that are read after the loop, or copied with non_blocking=True into pinned memory")
    return "; ".join(said)


def _pageable(case: Case) -> Bools:
    return np.array([host_memory(name) == "pageable" for name in case.trace.names], dtype=bool)


def _blocking(case: Case) -> Bools:
    """Rows of the account that are such copies, in the steps."""
    account = case.account
    launch = account.attribution.events.launch[account.row]
    waits = at(case.ranges(returns_after_copy), launch, absent=False)
    rows = case.is_copy[account.row] & (_pageable(case)[account.name] | waits)
    return rows & case.is_inside


def _blocked(case: Case) -> Ints:
    rows = pieces_of(case, Cause.BLOCKING)
    return rows[waits_for_copy(case, rows)]


def without_blocking(case: Case, _: Finding) -> Edit:
    """Without the operators that made these copies to the device, and without the others themselves."""
    account, rows = case.account, _blocking(case)
    gone = np.zeros(len(case.trace.device.start), dtype=bool)
    gone[account.row[rows]] = True
    to_device = rows & copies_to_device(case)[account.row]
    launch = account.attribution.events.launch[account.row[to_device]]
    launch = launch[launch != NONE]
    unit = at(case.units.of, launch, absent=NONE)
    host = np.zeros(len(case.host.name), dtype=bool)
    host[np.where(unit == NONE, launch, at(case.units.row, unit, absent=NONE))] = True
    return Edit(device=gone, host=host)
