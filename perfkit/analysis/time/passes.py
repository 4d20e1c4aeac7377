"""How often a recording went through each phase: what counts per forward are divided by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from perfkit.analysis.attribution.attribute import Phase, steps_at
from perfkit.analysis.attribution.intervals import Ints
from perfkit.analysis.time.account import Account, own_steps
from perfkit.analysis.time.partial import Fold, Partial, Rows
from perfkit.schema import range_names


def _rows(account: Account) -> Rows:
    counts = list(_counts(account))
    return {"phase": np.array([int(phase) for phase in Phase]), "passes": np.array(counts, dtype=np.int64)}


PASSES = Fold("passes", _rows, keys=("phase",), measures={"passes": "sum"})
"""Passes through each phase."""


def passes(partial: Partial, phase: Phase) -> int:
    """How often the steps went through a phase: perfkit's own ranges of it, else once a step."""
    rows = partial.of(PASSES)
    return int(rows["passes"][rows["phase"] == phase].sum())


def _counts(account: Account) -> Iterator[int]:
    host = account.attribution.host
    ranges = np.flatnonzero(host.own("phase"))
    for phase in Phase:
        of = range_names.phase("backward" if phase is Phase.RECOMPUTE else phase.label)
        rows = ranges[np.isin(host.name[ranges], [index for index, own in host.own_names.items() if own == of])]
        yield _in_account(account, rows) if len(rows) else len(account.steps)


def _in_account(account: Account, rows: Ints) -> int:
    """How many of some host ranges start in what is accounted for."""
    host, attribution = account.attribution.host, account.attribution
    if not account.on_device:
        rows = rows[host.thread[rows] == attribution.main_thread]
    if not account.steps_only:
        return len(rows)
    process = np.array([thread.pid for thread in account.trace.threads], dtype=np.int64)[host.thread[rows]]
    step = steps_at(account.trace, host.start[rows], np.ones(len(rows), dtype=bool), process, attribution.steps)
    if account.steps:
        return int(np.isin(step, account.steps).sum())
    return int((~np.isin(step, own_steps(account.trace, attribution))).sum())
