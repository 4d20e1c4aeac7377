"""A run that needs more memory than its GPU has, and did not fail: its driver spilled into the system's memory."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.costs.flops.transformer import step_flops
from perfkit.analysis.costs.hardware.lookup import hardware_of
from perfkit.analysis.memory.model import estimate
from perfkit.schema import units
from perfkit.schema.finding import NO_COST, Cost, Finding, Rule
from perfkit.schema.parts.workloads import Transformer
from perfkit.schema.record import RunRecord

OVER_CAPACITY = Rule(
    "over-capacity",
    "performance",
    "the step needs more memory than the GPU has, and runs nevertheless: it spills into the system's memory",
)


def over_capacity(record: RunRecord) -> Finding | None:
    """What the run held at its peak or, for perfkit's own model, what the formula of memory says it needs.

    At stake: what its steps take beyond their FLOPs at the device's peak, where that is known.
    """
    total, step = record.environment.device_memory, record.config.step
    if step.device == "cpu" or not total or not record.steps:
        return None
    held = max(record.memory.reserved or 0, record.memory.allocated or 0)
    is_own = isinstance(record.config.workload, Transformer) and step.compile == "off"
    needed = max(held, estimate(record.config).peak if is_own and held <= total else 0)
    if needed <= total:
        return None
    wall = float(np.median([sample.wall_s for sample in record.steps]))
    least = _seconds_at_peak(record) if isinstance(record.config.workload, Transformer) else None
    how = "the allocator held" if held > total else "the step needs, by the formula of memory,"
    text = (
        f"{how} {units.size(needed)}, and the GPU has {units.size(total)}: what does not fit is in the system's memory,"
        f" across the bus; a step takes {units.duration(wall)}"
    )
    cost = NO_COST
    if least is not None and least < wall:
        text += f", where its FLOPs take {units.duration(least)} at the device's peak"
        cost = Cost(round((wall - least) * 1e9), 1 - least / wall)
    advice = (
        "less memory: --batch-size, --context-length, --checkpoint, --precision bf16 (perfkit memory says what fits)"
    )
    return Finding(OVER_CAPACITY, text, cost, (), advice, "measured" if held > total else "derived")


def _seconds_at_peak(record: RunRecord) -> float | None:
    """How long the device needs for the step's FLOPs at its peak, at the clock that was measured if it was."""
    config, environment = record.config, record.environment
    clocks = [sample.sm_mhz for sample in record.gpu if sample.sm_mhz and (sample.utilization or 0) >= 50]
    mhz = float(np.median(clocks)) if clocks else None
    hardware = hardware_of(environment.device_name, environment.device_memory, mhz=mhz)
    peak = hardware.peak(config.step.precision) if hardware is not None else None
    return None if peak is None else step_flops(config).executed / peak.flops_per_s
