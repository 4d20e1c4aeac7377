"""Memory that the device does not have."""

from __future__ import annotations

from perfkit.analysis.findings.performance.case import Case
from perfkit.schema.finding import Finding


def over_capacity(case: Case) -> Finding | None:
    """What the run held at its peak or, for perfkit's own model, what the formula of memory says it needs.

    At stake: what its steps take beyond their FLOPs at the device's peak, where that is known.
    """
    if case.record is None:
        return None
    from perfkit.analysis.findings import capacity  # noqa: PLC0415 - costs 30 ms, and most traces have no record

    return capacity.over_capacity(case.record)
