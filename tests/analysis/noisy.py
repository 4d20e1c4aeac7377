"""Records with hand-made counters: a quiet series, into which a test puts what it wants explained."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np

from perfkit.analysis.noise import stability
from perfkit.analysis.noise.stability import Stability
from perfkit.schema.probes import Probing, StepProbes
from perfkit.schema.record import RunRecord, StepSample
from tests.runs import ENVIRONMENT, quick, saved

WALL_S = 0.1
FAULT_S = 1.5e-6


def explained(record: RunRecord) -> Stability:
    """What is said of a record of two steps or more, whose times vary."""
    found = stability.examine(record)
    assert found is not None
    return found


def quiet_steps(n: int = 30, cv: float = 0.004, seed: int = 0) -> list[StepSample]:
    """Steps of 100 ms whose small differences are the CPU's: one thread, always running, 100 faults each."""
    walls = WALL_S * np.random.default_rng(seed).normal(1, cv, n)
    return [
        StepSample(
            wall_s=wall,
            phases_s={"forward": wall},
            cpu_s=wall,
            probes=StepProbes(
                began_s=1000 + 0.11 * i,
                main_cpu_s=wall - 1e-4,
                main_delay_s=1e-4,
                other_delay_s=0.0,
                switches=0,
                preemptions=1,
                gc_s=0.0,
                collections=0,
                minor_faults=100,
                major_faults=0,
                steal_s=0.0,
                pressure_s=1e-4,
                throttled_s=0.0,
            ),
        )
        for i, wall in enumerate(map(float, walls))
    ]


def longer(step: StepSample, seconds: float, **counters: Any) -> StepSample:
    """The same step so much longer, with these counters up by so much (a GPU's and a compiler's from nothing)."""
    assert step.probes is not None
    moved = {name: (getattr(step.probes, name) or 0) + more for name, more in counters.items()}
    return dataclasses.replace(step, wall_s=step.wall_s + seconds, probes=msgspec.structs.replace(step.probes, **moved))


def record(steps: list[StepSample], **changes: Any) -> RunRecord:
    """A record of them, on one thread of two CPUs."""
    defaults = {
        "config": quick(warmup_steps=5, measure_steps=len(steps)),
        "environment": ENVIRONMENT,
        "steps": tuple(steps),
        "warmup": (),
        "probing": Probing(seconds_per_step=3e-5, seconds_per_fault=FAULT_S),
    }
    return saved(**(defaults | changes))
