"""The counter that corroborates a cause, in words."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.noise.causes import Account, Cause
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.schema import units

_OFF_CPU = 0.5
"""Time off the CPU is spoken of where it makes up half of what a step has in excess."""


def counted(one: Disturbance, account: Account) -> str:
    """The counter that corroborates a cause: `2.00 collections a step`, `97.17 ms of CPU time`."""
    assert one.cause is not None
    counts = account.evidence.get(one.cause, account.events.get(one.cause))
    if counts is None:
        return ""
    mean = float(np.mean(counts[one.index]))
    text = _COUNTERS.get(one.cause)
    return text.format(units.significant(mean, 3)) if text else f"{units.duration(mean)} {_TIMES[one.cause]}"


_COUNTERS = {
    Cause.GC: "{} collections a step",
    Cause.COMPILE: "{} graphs compiled a step",
    Cause.FAULTS: "{} page faults a step",
    Cause.WAITING: "{} times asleep a step",
    Cause.ALLOCATION: "{} calls of cudaMalloc and cudaFree, or retries, a step",
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


def own_time(one: Disturbance, account: Account) -> str:
    """What the states of the main thread say where no cause is named: CPU time, or time off the CPU with no sign of
    what it waited for. Empty where there are no counters, or neither makes up most of the excess."""
    others = np.abs(account.wall - one.quiet_s) < abs(one.excess_s) / 2  # the steps it is compared with
    if not (account.has_probes and others.any()):
        return ""
    off = float(np.mean(account.off_cpu[one.index]) - np.median(account.off_cpu[others])) / one.excess_s
    cpu = account.evidence[Cause.CPU_TIME]
    busy = float(np.mean(cpu[one.index]) - np.median(cpu[others])) / one.excess_s
    if busy > _OFF_CPU:
        return f"{units.percent(min(busy, 1.0))} of the difference is CPU time"
    if off > _OFF_CPU:
        return (
            f"in {units.percent(min(off, 1.0))} of the difference the main thread was off the CPU, without a sign that"
            " it went to sleep: I/O, a lock, or a hypervisor that took the CPU away"
        )
    return ""
