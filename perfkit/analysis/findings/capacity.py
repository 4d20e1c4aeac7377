"""A run that needs more memory than its GPU has, and did not fail: its driver spilled into the system's memory."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.costs.flops.transformer import step_flops
from perfkit.analysis.costs.hardware.lookup import hardware_of
from perfkit.analysis.memory import fit
from perfkit.schema import units
from perfkit.schema.finding import NO_COST, OVER_CAPACITY, Cost, Finding
from perfkit.schema.parts.workloads import Transformer
from perfkit.schema.record import RunRecord

_SLOW = 10
"""Steps that take so many times what their FLOPs need at the peak, though the model runs at a sixth of it elsewhere."""
_SURELY = fit.FITS_NOT_ABOVE
"""Above this share of the memory the formula alone says that it cannot fit."""


def over_capacity(record: RunRecord) -> Finding | None:
    """What the run held at its peak or, for perfkit's own model, what the formula of memory says it needs.

    A need just above the memory counts if the steps take ten times what their FLOPs need at the device's peak.

    At stake: what the steps take beyond their FLOPs at the peak, where that is known.
    """
    total, step = record.environment.device_memory, record.config.step
    if step.device == "cpu" or not total or not record.steps:
        return None
    wall = float(np.median([sample.wall_s for sample in record.steps]))
    is_own = isinstance(record.config.workload, Transformer)
    least = _seconds_at_peak(record) if is_own else None
    held = max(record.memory.reserved or 0, record.memory.allocated or 0)
    if held > total:
        what = f"the allocator held {units.size(held)}"
    elif is_own and step.compile == "off" and _cannot_fit(record, total, is_slow=wall > _SLOW * (least or wall)):
        peak = fit.predict(record.config).peak_bytes
        what = f"the step needs {units.size(peak)} for tensors, by the formula of memory, and some more for CUDA itself"
    else:
        return None
    text = (
        f"{what}; the GPU has {units.size(total)}: what does not fit is in the system's memory, across the bus; a step"
        f" takes {units.duration(wall)}"
    )
    cost = NO_COST
    if least is not None and least < wall:
        text += f", where its FLOPs need {units.duration(least)} at the device's peak"
        cost = Cost(round((wall - least) * 1e9), 1 - least / wall)
    advice = "less memory: --batch-size, --context-length, --checkpoint, --precision bf16"
    return Finding(OVER_CAPACITY, text, cost, (), advice, "measured" if held > total else "derived")


def _cannot_fit(record: RunRecord, total: int, *, is_slow: bool) -> bool:
    share = fit.predict(record.config, total).share or 0.0
    return share > (1.0 if is_slow else _SURELY)


def _seconds_at_peak(record: RunRecord) -> float | None:
    """How long the device needs for the step's FLOPs at its peak, at the clock that was measured if it was."""
    config, environment = record.config, record.environment
    clocks = [sample.sm_mhz for sample in record.gpu if sample.sm_mhz and (sample.utilization or 0) >= 50]
    mhz = float(np.median(clocks)) if clocks else None
    hardware = hardware_of(environment.device_name, environment.device_memory, mhz=mhz)
    peak = hardware.peak(config.step.precision) if hardware is not None else None
    return None if peak is None else step_flops(config).executed / peak.flops_per_s
