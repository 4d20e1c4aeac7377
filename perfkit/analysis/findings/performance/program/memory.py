"""Memory that the device does not have."""

from __future__ import annotations

from perfkit.analysis.findings import capacity
from perfkit.analysis.findings.performance.case import Case
from perfkit.schema.finding import Finding


def over_capacity(case: Case) -> Finding | None:
    """What the run held at its peak or, for perfkit's own model, what the formula of memory says it needs.

    At stake: what its steps take beyond their FLOPs at the device's peak, where that is known.
    """
    return None if case.record is None else capacity.over_capacity(case.record)
