"""Welch's comparison of two groups of logarithms, for one or many rows at once. The rules are docs/compare.md's.

Times of a group are compared by their logarithms because speed is a ratio: the difference of two mean logarithms is
the logarithm of the ratio B/A of the groups' geometric means, and its interval stays an interval of the ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Verdict = Literal["faster", "slower", "same", "inconclusive"]

ALPHA = 0.05
"""Accepted probability of a false claim, over all the rows of a table."""
POWER = 0.8
"""Probability of calling the detectable difference different."""
_SURE_OF_SPREAD = 0.95
"""Confidence of the upper limit of each group's variance from which the degrees of freedom come."""
_NODES = 32
"""Quantiles of the chi-squared distribution that stand for it."""
_HALVINGS = 18
_LARGEST = 1e6
"""Standard errors: with one degree of freedom and many rows it takes thousands."""


@dataclass(frozen=True, slots=True)
class Welch:
    """The difference of two groups' mean logarithms, log(B/A), a number or an array of them."""

    difference: Any
    error: Any
    """Standard error of the difference."""
    freedom: Any
    """Degrees of freedom, of `degrees_of_freedom`."""

    def interval(self, confidence: float = 1 - ALPHA) -> tuple[Any, Any]:
        """Two-sided interval of log(B/A)."""
        width = _quantile(self.freedom, 0.5 + confidence / 2) * self.error
        return self.difference - width, self.difference + width

    def p_above(self, limit: float) -> Any:
        """One-sided p-value of "not above `limit`": small where B/A is clearly above exp(limit)."""
        return _below(self.freedom, -self._t(limit))

    def p_below(self, limit: float) -> Any:
        """One-sided p-value of "not below `limit`"."""
        return _below(self.freedom, self._t(limit))

    def p_different(self) -> Any:
        """Two-sided p-value of "no difference"."""
        return 2 * _below(self.freedom, -np.abs(self._t(0.0)))

    def p_within(self, limit: float) -> Any:
        """p-value of "at least `limit` apart, either way": two one-sided tests (TOST), of which the larger counts."""
        return np.maximum(self.p_above(-limit), self.p_below(limit))

    def detectable(self, alpha: float = ALPHA, power: float = POWER) -> Any:
        """The true difference that the next comparison of this kind would find with probability `power`.

        At a known spread that is the d at which a noncentral t with parameter d / error passes the two-sided critical
        value that often (beyond the other side's it is less than 1e-4). But the spread is estimated from a few
        processes, and d is as often too small as too large; so the power is averaged over what the true spread may
        be, its ratio to the estimate taken from the chi-squared distribution.
        """
        return _detectable_errors(np.asarray(self.freedom, dtype=np.float64), alpha, power) * self.error

    def _t(self, limit: float) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):  # without any spread: infinite, or 0 / 0
            return np.nan_to_num(
                np.float64(self.difference - limit) / self.error, nan=0.0, posinf=np.inf, neginf=-np.inf
            )


def _below(freedom: Any, t: Any) -> Any:
    from scipy.special import stdtr  # noqa: PLC0415

    return stdtr(freedom, t)


def _quantile(freedom: Any, probability: float) -> Any:
    from scipy.special import stdtrit  # noqa: PLC0415

    return stdtrit(freedom, probability)


def _detectable_errors(freedom: Floats, alpha: float, power: float) -> Floats:
    """`Welch.detectable` in standard errors, by bisection on its logarithm."""
    from scipy.special import chdtri, nctdtr  # noqa: PLC0415

    middle = (np.arange(_NODES) + 0.5) / _NODES
    distance = np.sqrt(chdtri(freedom[..., None], 1 - middle) / freedom[..., None])  # estimate / true spread: quantiles
    critical = _quantile(freedom, 1 - alpha / 2)[..., None]
    low, high = np.zeros_like(freedom), np.full_like(freedom, math.log(_LARGEST))
    for _ in range(_HALVINGS):
        tried = (low + high) / 2
        missed = nctdtr(freedom[..., None], np.exp(tried)[..., None] * distance, critical)
        powers = 1 - np.nan_to_num(missed).mean(axis=-1)  # nan: so far out that scipy cannot tell it from 0
        low, high = np.where(powers < power, tried, low), np.where(powers < power, high, tried)
    return np.exp(high)


def welch(a: Floats, b: Floats) -> Welch:
    """Compare groups of logarithms: processes along the last axis, at least two on each side."""
    n_a, n_b = a.shape[-1], b.shape[-1]
    part_a, part_b = a.var(axis=-1, ddof=1) / n_a, b.var(axis=-1, ddof=1) / n_b
    freedom = degrees_of_freedom(part_a, n_a, part_b, n_b)
    return Welch(b.mean(axis=-1) - a.mean(axis=-1), np.sqrt(part_a + part_b), freedom)


def paired(a: Floats, b: Floats) -> Welch:
    """Compare logarithms in pairs, such as processes that ran in one round: along the last axis, at least two.

    What slowed both of a pair cancels. Student's t of the differences (1908), whose freedom is that of one group.
    """
    apart = b - a
    pairs = apart.shape[-1]
    return Welch(apart.mean(axis=-1), apart.std(axis=-1, ddof=1) / math.sqrt(pairs), float(pairs - 1))


def degrees_of_freedom(part_a: Any, n_a: int, part_b: Any, n_b: int) -> Any:
    """Of a difference of means whose variance is the sum of `part_a` and `part_b`, each its group's variance / n.

    Welch's (1947) are (va + vb)^2 / (va^2 / (na - 1) + vb^2 / (nb - 1)). They trust the variances, and that of a small
    group is most often too small: 2 against 10 equal processes are then called different in 10% of cases. So they
    are also computed with the upper 95% limit of each variance, and the lower number counts: Welch's own for groups of
    one size, and near the smaller group's n - 1, the least that there can be, where it has two or three.
    """
    limit_a, limit_b = _variance_limit(n_a), _variance_limit(n_b)
    return np.minimum(
        _satterthwaite(part_a, n_a, part_b, n_b), _satterthwaite(limit_a * part_a, n_a, limit_b * part_b, n_b)
    )


def _satterthwaite(part_a: Any, n_a: int, part_b: Any, n_b: int) -> Any:
    weight = part_a**2 / (n_a - 1) + part_b**2 / (n_b - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight > 0, (part_a + part_b) ** 2 / weight, n_a + n_b - 2.0)


def _variance_limit(n: int) -> float:
    """The upper limit of a variance as a multiple of its estimate: (n - 1) / chi-squared quantile."""
    from scipy.special import chdtri  # noqa: PLC0415

    return float((n - 1) / chdtri(n - 1, _SURE_OF_SPREAD))


def holm(p_values: Floats) -> Floats:
    """p-values adjusted for multiple tests (Holm 1979); nan, where there was no test, stays and does not count.

    Calling rows with p < alpha different makes one or more false claims with probability alpha at most, however the
    rows depend on each other.
    """
    adjusted = np.full(len(p_values), math.nan)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def verdict(difference: float, p_different: float, p_within: float) -> Verdict:
    """One word from p-values adjusted by Holm.

    `same` comes first: a difference that is shown to be below the margin is no claim, even where it differs from 0.
    """
    if p_within < ALPHA:
        return "same"
    if p_different < ALPHA:
        return "faster" if difference < 0 else "slower"
    return "inconclusive"


def processes_needed(spread_a: float, spread_b: float, limit: float, most: int = 1000) -> int | None:
    """Processes a side at which `limit` becomes the detectable difference; None beyond `most`.

    Assumes that each side keeps its spread, the standard deviation of its logarithms.
    """

    def enough(count: int) -> bool:
        part_a, part_b = np.square([spread_a, spread_b]) / count
        freedom = degrees_of_freedom(part_a, count, part_b, count)
        return bool(Welch(0.0, math.sqrt(part_a + part_b), freedom).detectable() <= limit)

    few, many = 1, most
    if not enough(many):
        return None
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many
