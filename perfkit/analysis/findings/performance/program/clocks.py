"""A device that runs below its nominal clock."""

from __future__ import annotations

from collections import Counter

import numpy as np

from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.time.idle.kinds import Kind
from perfkit.analysis.time.replay.edit import Edit
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.schema.probes import GpuSample

LOWER_CLOCKS = Rule(
    "lower-clocks", "performance", "the device ran below its nominal clock while it was busy: power, heat, or a setting"
)
_LEAST = 0.1
"""The clock is a tenth below the nominal one. Boards differ by some percent."""
_BUSY = 50
"""Percent of a sample's period in which a kernel ran: an idle device lowers its clock by itself."""
_SAMPLES = 5
_REASONS = ((0x4 | 0x80, "its power limit"), (0x8 | 0x20 | 0x40, "its temperature"), (0x2, "a setting of its clocks"))
"""Clock event reasons of nvml.h: power cap, power brake; hardware, software and hardware thermal slowdown; applications
clocks setting."""


def lower_clocks(case: Case) -> Finding | None:
    """The median clock of the run's samples of a busy device, against the nominal boost clock of its datasheet.

    At stake: the time of its computation, if that goes as 1 / clock. Work that memory limits gains less.
    """
    ratio, nominal = _ratio(case)
    if ratio is None or ratio > 1 - _LEAST or not case.on_device:
        return None
    time = case.wall_ns(Kind.COMPUTE) * (1 - ratio)
    text = (
        f"the device ran at {ratio * nominal:,.0f} MHz while it was busy (median), {units.percent(1 - ratio)} below its"
        f" {nominal:,.0f} MHz{_reason(_busy(case))}"
    )
    advice = (
        "nvidia-smi -q -d CLOCK,POWER,TEMPERATURE while it runs: cooling, the power limit (nvidia-smi -pl), the mains"
        " for a laptop, clocks that somebody locked (nvidia-smi -rgc)"
    )
    evidence = (Evidence("wall_time", {"what": "compute"}),)
    return Finding(LOWER_CLOCKS, text, case.cost(time), evidence, advice, "derived")


def _busy(case: Case) -> list[GpuSample]:
    samples = case.record.gpu if case.record is not None else ()
    return [sample for sample in samples if sample.sm_mhz and (sample.utilization or 0) >= _BUSY]


def _ratio(case: Case) -> tuple[float | None, float]:
    """The measured clock by the nominal one, and the nominal one, MHz; None where either is not known."""
    busy, hardware = _busy(case), case.hardware
    rates = hardware.flops_per_clock if hardware is not None else None
    if len(busy) < _SAMPLES or hardware is None or not rates:
        return None, 0.0
    clocks = [peak.flops_per_s / rates[precision] * 1e-6 for precision, peak in hardware.peaks.items()]
    nominal = min(clocks, default=0.0)  # of a board that has another clock for its tensor cores, the lower
    if not nominal:
        return None, 0.0
    return float(np.median([sample.sm_mhz for sample in busy])) / nominal, nominal


def _reason(busy: list[GpuSample]) -> str:
    """What NVML says most samples were limited by."""
    counts = Counter(said for sample in busy for bits, said in _REASONS if (sample.reasons or 0) & bits)
    said, count = counts.most_common(1)[0] if counts else ("", 0)
    return f": {said} holds it down in {units.percent(count / len(busy))} of the samples" if said else ""


def at_nominal_clock(case: Case, _: Finding) -> Edit | None:
    """Kernels that take as much less as the clock was lower."""
    ratio = _ratio(case)[0]
    return None if ratio is None else Edit(device=case.is_kernel, factor=min(ratio, 1.0))
