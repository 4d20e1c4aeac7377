"""The counter that corroborates a cause, in words."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.schema import units

_OFF_CPU = 0.5
"""Time off the CPU is named where it makes up more than half of a step's excess."""


def counter(disturbance: Disturbance, times: CauseTimes) -> str:
    """The counter that corroborates a cause: `2.00 collections a step`, `97.17 ms of CPU time`."""
    assert disturbance.cause is not None
    counts = times.evidence.get(disturbance.cause, times.events.get(disturbance.cause))
    if counts is None:
        return ""
    mean = float(np.mean(counts[disturbance.index]))
    text = _COUNTERS.get(disturbance.cause)
    return text.format(units.significant(mean, 3)) if text else f"{units.duration(mean)} {_TIMES[disturbance.cause]}"


_COUNTERS = {
    Cause.GC: "{} collections a step",
    Cause.COMPILE: "{} graphs compiled a step",
    Cause.FAULTS: "{} page faults a step",
    Cause.WAITING: "{} voluntary context switches a step",
    Cause.ALLOCATION: "{} calls to cudaMalloc and cudaFree, or retries, a step",
    Cause.OTHERS: "{} other processes on the GPU",
    Cause.CLOCK: "a clock {} MHz lower",
    Cause.POWER: "the power limit in {} of the samples",
    Cause.THERMAL: "the temperature limit in {} of the samples",
}
_TIMES = {
    Cause.THROTTLED: "of throttling",
    Cause.STEAL: "of steal",
    Cause.PREEMPTED: "of run delay",
    Cause.CPU_TIME: "of CPU time and little run delay",
}


def own_time(disturbance: Disturbance, times: CauseTimes) -> str:
    """What the main thread did where no cause is named: it ran, or was off the CPU with no sign of what it waited for.
    Empty where there are no counters, or where neither makes up most of the excess."""
    others = np.abs(times.wall - disturbance.quiet_s) < abs(disturbance.excess_s) / 2  # the steps it is compared with
    if not (times.has_probes and others.any()):
        return ""
    off = float(np.mean(times.off_cpu[disturbance.index]) - np.median(times.off_cpu[others])) / disturbance.excess_s
    cpu = times.evidence[Cause.CPU_TIME]
    busy = float(np.mean(cpu[disturbance.index]) - np.median(cpu[others])) / disturbance.excess_s
    if busy > _OFF_CPU:
        return f"{units.percent(min(busy, 1.0))} of the difference is CPU time"
    if off > _OFF_CPU:
        return (
            f"the main thread was off the CPU for {units.percent(min(off, 1.0))} of the difference, with no sign that"
            " it went to sleep: I/O, a lock, or a hypervisor that took the CPU away"
        )
    return ""
