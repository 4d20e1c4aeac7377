"""What NVML's samples explain: clocks, power and temperature limits, other users of the GPU, a spill to system memory.

[unverified: written against recorded counters replayed in tests, docs/verified.md]
"""

from __future__ import annotations

import math

import numpy as np

from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.statistics.stats import Floats
from perfkit.schema.probes import GpuSample
from perfkit.schema.record import RunRecord

WINDOW_S = 1.0
"""NVML's clocks and powers are averages over up to a second (torch.cuda.power_draw's documentation)."""
SAMPLED = (Cause.CLOCK, Cause.POWER, Cause.THERMAL)
_REASONS = {Cause.POWER: 0x4 | 0x80, Cause.THERMAL: 0x8 | 0x20 | 0x40}
"""Clock event reasons of nvml.h: power cap, power brake; hardware slowdown, software and hardware thermal slowdown."""
_REASON_SHARE = 0.05
"""A reason counts where 5% of the samples in the window have it, and the clock is below 95% of the run's best."""
_CLOCK_SHARE = 0.95
_BEST = 0.95
"""Quantile of the clock that stands for the run's best: a single high reading must not."""
_NO_MEMORY = 0.02
_FULL_UTILIZATION = 95
_LOW_POWER = 0.5


def add(times: CauseTimes, record: RunRecord) -> None:
    """Add the causes that the GPU's samples show to the times of a run's steps."""
    began = [sample.probes.began_s if sample.probes else None for sample in record.steps]
    if not record.gpu or any(moment is None for moment in began):
        return
    middles = np.array(began, dtype=np.float64) + times.wall / 2
    half = np.maximum(times.wall, WINDOW_S) / 2
    at = np.array([sample.at_s for sample in record.gpu])
    windows = [
        [record.gpu[i] for i in range(first, last)]
        for first, last in zip(np.searchsorted(at, middles - half), np.searchsorted(at, middles + half), strict=True)
    ]
    times.events[Cause.OTHERS] = np.array(
        [max((sample.other_processes or 0 for sample in window), default=0) for window in windows]
    )
    clock = np.array([_mean_clock(window) for window in windows])
    if np.isfinite(clock).all():
        _add_clock(times, windows, clock)


def _mean_clock(window: list[GpuSample]) -> float:
    clocks = [sample.sm_mhz for sample in window if sample.sm_mhz]
    return float(np.mean(clocks)) if clocks else np.nan


def _add_clock(times: CauseTimes, windows: list[list[GpuSample]], clock: Floats) -> None:
    """Time lost to a lower clock, if time goes as 1 / clock: t (1 - f / f_best). The reason decides the cause."""
    best = float(np.quantile(clock, _BEST))
    lost = times.wall * np.maximum(0.0, 1 - clock / best)
    for cause, bits in _REASONS.items():
        share = np.array([np.mean([bool((sample.reasons or 0) & bits) for sample in window]) for window in windows])
        due = (share >= _REASON_SHARE) & (clock < _CLOCK_SHARE * best)
        times.seconds[cause] = np.where(due, lost, 0.0)
        times.evidence[cause] = share
        lost = np.where(due, 0.0, lost)
    times.seconds[Cause.CLOCK] = lost
    times.evidence[Cause.CLOCK] = best - clock


def is_beyond_memory(record: RunRecord) -> bool:
    """Whether the allocator held more than the GPU has, which leaves no doubt about a spill."""
    return (record.memory.reserved or 0) > (record.environment.device_memory or math.inf)


def spill(record: RunRecord) -> str | None:
    """Why the run seems to have spilled into system memory (Windows and WSL2 do that), or None.

    Certain where the allocator held more than the GPU has. Likely where the GPU's memory was nearly full and the
    GPU busy all the time at less than half its power limit: it then waits for memory across the bus.
    """
    reserved, total = record.memory.reserved, record.environment.device_memory
    if record.config.step.device == "cpu" or not total:
        return None
    if reserved and is_beyond_memory(record):
        return f"the allocator held {reserved / total:.2f} times the GPU's memory"
    free = [
        sample.free_bytes / sample.total_bytes
        for sample in record.gpu
        if sample.free_bytes is not None and sample.total_bytes
    ]
    idle = [
        sample.power_w / sample.power_limit_w
        for sample in record.gpu
        if sample.power_w is not None and sample.power_limit_w and (sample.utilization or 0) >= _FULL_UTILIZATION
    ]
    if free and idle and min(free) < _NO_MEMORY and float(np.median(idle)) < _LOW_POWER:
        return (
            f"{min(free):.1%} of the GPU's memory was free, and it was busy all the time"
            f" at {float(np.median(idle)):.0%} of its power limit"
        )
    return None
