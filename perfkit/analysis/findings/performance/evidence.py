"""Rows of the report's tables that findings rest on."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import Bools
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case
from perfkit.schema.finding import Evidence

_MOST = 3


def phase_rows(case: Case, rows: Bools) -> tuple[Evidence, ...]:
    """The phases that rows of the account are in."""
    present = np.unique(case.account.phase[rows & case.is_inside]).tolist()
    return tuple(Evidence("phases", {"phase": Phase(phase).label}) for phase in present)


def kernel_rows(case: Case, rows: Bools) -> tuple[Evidence, ...]:
    """The names that take most of the time of rows of the account."""
    rows = rows & case.is_inside & case.account.is_counted
    names = case.account.name[rows]
    if not len(names):
        return ()
    time = np.bincount(names, weights=case.account.total[rows])
    largest = np.argsort(-time, kind="stable")[:_MOST]
    found = [int(index) for index in largest if time[index] > 0]
    return tuple(Evidence("kernels", {"name": case.trace.names[index]}) for index in found)
