"""The clock that a GPU ran at in a run, which its peaks scale with."""

from __future__ import annotations

import statistics

from perfkit.schema.record import RunRecord

_BUSY = 50
"""Percent of a sample period with kernels, from which its clock counts: an idle GPU lowers it."""


def clock_mhz(*records: RunRecord) -> float | None:
    """The median clock of the multiprocessors while they were busy, in the first record that knows one.

    A run under torch.profiler has no samples; its plain steps have.
    """
    for record in records:
        clocks = [sample.sm_mhz for sample in record.gpu if sample.sm_mhz and (sample.utilization or 0) >= _BUSY]
        if clocks:
            return float(statistics.median(clocks))
    return None
