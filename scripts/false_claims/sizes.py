"""Groups of equal means: how often each interval excludes 0, and the power at the difference that it prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import stats

from perfkit.analysis.statistics import welch
from perfkit.analysis.statistics.stats import Floats
from perfkit.analysis.statistics.welch import ALPHA, Welch

Freedom = Callable[[Floats, int, Floats, int], Floats]
"""Degrees of freedom from the variances of both means, and the groups' sizes."""
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]

NOISE: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(size=shape),
    "skewed": lambda generator, shape: generator.exponential(size=shape) - 1,
    "heavy tails": lambda generator, shape: generator.standard_t(3, size=shape) / np.sqrt(3),
}
"""Noise of the logarithm of a process's median: mean 0, variance 1. skewed: exponential; heavy tails: t with 3."""
RATIOS = (1.0, 0.25, 0.5, 2.0, 4.0)
"""Standard deviation of A's processes, as a multiple of B's."""


def groups(
    generator: np.random.Generator, n_a: int, n_b: int, noise: str = "normal", ratio: float = 1.0, trials: int = 20_000
) -> tuple[Floats, Floats]:
    """Trials of A and B, whose means are equal: (trials, n_a) and (trials, n_b)."""
    draw = NOISE[noise]
    return ratio * draw(generator, (trials, n_a)), draw(generator, (trials, n_b))


def plain(a: Floats, b: Floats) -> Welch:
    """Welch's test as textbooks and scipy define it."""
    freedom = stats.ttest_ind(b, a, axis=-1, equal_var=False).df  # type: ignore[attr-defined]
    return replace(welch.welch(a, b), freedom=freedom)


def claims(test: Callable[[Floats, Floats], Welch], a: Floats, b: Floats) -> float:
    """Share of the trials in which the groups are called different."""
    return float((test(a, b).p_different() < ALPHA).mean())


def exact(freedom: Freedom, n_a: int, n_b: int, ratio: float = 1.0, nodes: int = 160) -> float:
    """The share of `claims` for normal noise, computed without random numbers. Given both variances, a claim has the
    probability of a normal tail; the average of that over the variances' chi-squared distributions is computed by
    Gauss-Legendre quadrature with denser nodes at small variances.
    """
    x, weight = np.polynomial.legendre.leggauss(nodes)
    part, weights = (x + 1) / 2, weight / 2 * 3 * ((x + 1) / 2) ** 2
    part_a, part_b = (
        spread**2 * stats.chi2.ppf(part**3, n - 1) / (n - 1) / n for spread, n in ((ratio, n_a), (1.0, n_b))
    )
    part_a, error = part_a[:, None], np.sqrt(ratio**2 / n_a + 1 / n_b)
    critical = stats.t.ppf(1 - ALPHA / 2, freedom(part_a, n_a, part_b, n_b)) * np.sqrt(part_a + part_b)
    return float(weights @ (2 * stats.norm.sf(critical / error)) @ weights)


def plain_freedom(part_a: Floats, n_a: int, part_b: Floats, n_b: int) -> Floats:
    """Welch's degrees of freedom, as textbooks define them."""
    return np.square(part_a + part_b) / (np.square(part_a) / (n_a - 1) + np.square(part_b) / (n_b - 1))


def power(
    test: Callable[[Floats, Floats], Welch],
    generator: np.random.Generator,
    n_a: int,
    n_b: int,
    *,
    printed: int = 200,
    repeats: int = 100,
) -> tuple[float, float]:
    """Median of the detectable differences that `printed` comparisons print, in standard deviations of a process; and
    how often a second comparison finds the difference that the first one printed, if that is the true difference.
    """
    differences = test(*groups(generator, n_a, n_b, trials=printed)).detectable()
    shape = (repeats, printed)
    a, b = generator.normal(size=(*shape, n_a)), generator.normal(size=(*shape, n_b))
    is_found = test(a, b + differences[:, None]).p_different() < ALPHA
    return float(np.median(differences)), float(is_found.mean())
