"""When enough steps have been measured: by their number, or by the rule of --target-ci."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from perfkit.analysis.statistics import stats
from perfkit.schema.config import RunConfig
from perfkit.schema.record import EndedBy, StepSample
from perfkit.schema.stopping import StopRule, exactly

GROWTH = 1.2
"""The interval is checked again when n has grown by this much: checking after every step would stop at a lucky one."""


def rule(config: RunConfig) -> StopRule:
    """What ends the measured steps: their number; with --target-ci the mean's interval, --max-time or --max-steps."""
    measurement = config.measurement
    if measurement.target_ci is None:
        return exactly(measurement.measure_steps)
    return _Target(config, measurement.target_ci)


class _Target:
    def __init__(self, config: RunConfig, target: float) -> None:
        self._config, self._target = config, target
        self._next = config.measurement.fewest_steps
        self._spent = 0.0

    def __call__(self, samples: Sequence[StepSample]) -> EndedBy | None:
        if not samples:
            return None
        n = len(samples)
        self._spent += samples[-1].wall_s
        if n >= self._next:
            self._next = math.ceil(n * GROWTH)
            walls = np.array([sample.wall_s for sample in samples])
            if stats.precision(walls).half_width <= self._target:
                return "target-ci"
        if n >= self._config.measurement.most_steps:
            return "max-steps"
        return "max-time" if self._spent >= self._config.measurement.time_limit_s else None
