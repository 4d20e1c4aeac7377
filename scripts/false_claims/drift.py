"""How often equal sides are called different while something drifts, by the order in which they were measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from perfkit.analysis.runs.time_order import order_of
from perfkit.analysis.statistics import welch
from perfkit.analysis.statistics.stats import Floats
from perfkit.analysis.statistics.welch import ALPHA

Orders = npt.NDArray[np.bool_]
"""Shape (orders, processes): whether the process at that position belongs to B."""
Drift = Callable[[np.random.Generator, tuple[int, int], float], Floats]


def _linear(generator: np.random.Generator, shape: tuple[int, int], size: float) -> Floats:
    return size * np.linspace(-0.5, 0.5, shape[1]) * generator.choice([-1, 1], (shape[0], 1))


def _walk(generator: np.random.Generator, shape: tuple[int, int], size: float) -> Floats:
    return size * generator.normal(size=shape).cumsum(axis=1) / math.sqrt(shape[1])


def _shift(generator: np.random.Generator, shape: tuple[int, int], size: float) -> Floats:
    return size * (np.linspace(0, 1, shape[1]) > generator.random((shape[0], 1)))


def _episode(generator: np.random.Generator, shape: tuple[int, int], size: float) -> Floats:
    middle, width = generator.random((shape[0], 1)), generator.uniform(0.1, 0.5, (shape[0], 1))
    return size * (np.abs(np.linspace(0, 1, shape[1]) - middle) < width / 2)


DRIFTS: dict[str, Drift] = {
    "none": lambda _generator, shape, _size: np.zeros(shape),
    "linear": _linear,
    "random walk": _walk,
    "one shift": _shift,
    "an episode": _episode,
}
SIZES = (1.0, 3.0, 10.0)
"""Sizes of the drift over the whole comparison, in standard deviations of a process."""


def blocks(n_a: int, n_b: int) -> Orders:
    """All of A, then all of B."""
    return (np.arange(n_a + n_b) >= n_a)[None]


def rounds(generator: np.random.Generator, count: int, orders: int = 200) -> Orders:
    """The orders of `compare --run`: rounds of A and B, each round in random order."""
    first = generator.random((orders, count)) < 0.5
    return np.stack([first, ~first], axis=-1).reshape(orders, 2 * count)


def any_order(generator: np.random.Generator, n_a: int, n_b: int, orders: int = 400) -> tuple[Orders, Orders]:
    """Random orders: those that the rule accepts as interleaved, and the others."""
    drawn = generator.permuted(np.repeat(blocks(n_a, n_b), orders, axis=0), axis=1)
    taken = np.array([order_of(np.flatnonzero(~in_b), np.flatnonzero(in_b)).interleaved for in_b in drawn])
    return drawn[taken], drawn[~taken]


def claims(generator: np.random.Generator, orders: Orders, drift: str, size: float, trials: int = 20_000) -> float:
    """Share of the trials, each with one of the orders, in which the sides are called different."""
    used = orders[generator.integers(len(orders), size=trials)]
    levels = generator.normal(size=used.shape) + DRIFTS[drift](generator, used.shape, size)
    n_a = int((~used[0]).sum())
    sorted_by_side = np.take_along_axis(levels, used.argsort(axis=1, kind="stable"), axis=1)
    tested = welch.welch(sorted_by_side[:, :n_a], sorted_by_side[:, n_a:])
    return float((tested.p_different() < ALPHA).mean())


def worst(generator: np.random.Generator, orders: Orders, trials: int = 20_000) -> Iterator[tuple[str, float]]:
    """For each kind of drift, the largest such share over all sizes."""
    for drift in DRIFTS:
        yield drift, max(claims(generator, orders, drift, size, trials) for size in SIZES)
