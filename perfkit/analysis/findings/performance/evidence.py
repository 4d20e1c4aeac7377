"""Rows of the report's tables that findings rest on."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import Bools
from perfkit.analysis.findings.performance.case import Case
from perfkit.schema.finding import Evidence

_MOST = 3


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
