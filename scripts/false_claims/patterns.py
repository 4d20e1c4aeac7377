"""How often a period, or several speeds, are named in series that have no pattern."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perfkit.analysis.statistics import patterns
from perfkit.analysis.statistics.stats import Floats

Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _ar1(r: float) -> Draw:
    def draw(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
        series = generator.normal(size=shape)
        series[:, 0] /= np.sqrt(1 - r * r)
        for step in range(1, shape[1]):
            series[:, step] += r * series[:, step - 1]
        return series

    return draw


NOISE: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "lognormal": lambda generator, shape: generator.lognormal(0, 0.5, shape),
    "t, 3 degrees": lambda generator, shape: generator.standard_t(3, shape),
    "AR(1), 0.3": _ar1(0.3),
    "AR(1), 0.6": _ar1(0.6),
    "AR(1), 0.9": _ar1(0.9),
    "AR(1), -0.4": _ar1(-0.4),
}
SIZES = (10, 20, 30, 50, 100, 200, 400)
SPREAD = 0.05
"""Coefficient of variation of every series; a difference of 2% is small beside it."""


def named(generator: np.random.Generator, n: int, noise: str, series: int) -> tuple[float, float]:
    """Shares of the series of n steps in which a period is named, and in which several speeds are named."""
    drawn = NOISE[noise](generator, (series, n))
    times = 1 + SPREAD * (drawn - drawn.mean(axis=1, keepdims=True)) / drawn.std(axis=1, keepdims=True)
    verdicts = [(patterns.period(series) is not None, bool(patterns.speeds(series))) for series in times]
    periods, speeds = np.mean(verdicts, axis=0)
    return float(periods), float(speeds)
