"""Check that times are usable and that sums fit into int64, for both readers and the cache."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from perfkit.errors import UsageError
from perfkit.trace.columns import MAX_NS, Int64s, Trace

LONGEST_NS = 3650 * 86_400 * 10**9
"""Ten years: an event that lasts longer has no usable time."""

LARGEST_SUM = 1 << 62
"""Limit of the sum of durations, in ns (146 years), and of bytes: half of int64's range, as the sums are rounded."""


def are_usable(start: Int64s, end: Int64s) -> npt.NDArray[np.bool_]:
    """Return which events have a usable time: both ends within MAX_NS, and at most LONGEST_NS apart."""
    usable: npt.NDArray[np.bool_] = (start >= -MAX_NS) & (start <= MAX_NS) & (end >= -MAX_NS) & (end <= MAX_NS)
    usable &= end - start <= LONGEST_NS
    return usable


def sums(trace: Trace) -> dict[str, float]:
    """Return the rounded sums of all durations, in ns, and of all bytes of a trace.

    Every other sum covers parts of these, so if these fit into int64, all do.
    """
    device = trace.device
    time = sum(_sum(part.end) - _sum(part.start) for part in (trace.host, device))
    return {
        "durations (ns)": time + trace.facts.overhead_ns,
        "bytes copied and set": float(device.bytes.sum(dtype=np.float64, where=device.bytes > 0)),
    }


def check_sums(source: str, totals: Mapping[str, float]) -> None:
    """Raise UsageError where a sum is larger than LARGEST_SUM. `source` names the file in the message."""
    for what, total in totals.items():
        if total > LARGEST_SUM:
            raise UsageError(f"{source} is damaged: its {what} sum to {total:.1e}; record or export it again")


def _sum(column: Int64s) -> float:
    return float(column.sum(dtype=np.float64))
