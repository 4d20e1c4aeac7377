"""Statistics of step times, computed from raw samples whenever a record is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from perfkit.schema.limits import LARGEST

Floats = npt.NDArray[np.float64]

CONFIDENCE = 0.95
LEAST_FOR_INTERVAL = 6
"""Samples that the median's interval needs: the extremes of five cover it with 1 - 2 / 2^5 = 93.75%."""
_NEAR = 1e-13
"""Relative: a step of Newton's that is smaller is the last."""
_MOST_STEPS = 60


@dataclass(frozen=True, slots=True)
class Summary:
    """Summary of n samples. Times in the samples' unit; nan where n is too small for the statistic."""

    n: int
    mean: float
    std: float
    """With n - 1."""
    median: float
    median_low: float
    median_high: float
    """Order-statistic interval of the median with at least 95% confidence; nan below n = 6."""
    minimum: float
    p90: float
    """90th percentile, linearly interpolated; nan below n = 10."""
    maximum: float

    @property
    def cv(self) -> float:
        """Coefficient of variation, std / mean, as a ratio."""
        return self.std / self.mean if self.mean else math.nan


def summarize(samples: Floats) -> Summary:
    """Describe a series of at least one sample."""
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    n = len(ordered)
    low, high = median_interval(ordered)
    return Summary(
        n=n,
        mean=float(ordered.mean()),
        std=float(ordered.std(ddof=1)) if n > 1 else math.nan,
        median=float(np.median(ordered)),
        median_low=low,
        median_high=high,
        minimum=float(ordered[0]),
        p90=float(np.quantile(ordered, 0.9)) if n >= 10 else math.nan,
        maximum=float(ordered[-1]),
    )


def median_interval(ordered: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Distribution-free interval of the median: the narrowest symmetric pair of order statistics that covers it.

    x(k+1) .. x(n-k) misses the median when at most k samples fall on one side of it, each side with probability
    sum_{i<=k} C(n, i) / 2^n (binomial with p = 1/2). For n = 10 it is x(2) .. x(9), which covers 97.9%.
    `ordered` is sorted. (nan, nan) where even the extremes cover less than asked.
    """
    n = len(ordered)
    tail, k, log_term = 0.0, -1, -n * math.log(2)  # of C(n, k + 1) / 2^n, by logarithm: both parts overflow early
    while 2 * (tail + math.exp(log_term)) <= 1 - confidence:
        tail, k = tail + math.exp(log_term), k + 1
        log_term += math.log((n - k) / (k + 1))
    return (math.nan, math.nan) if k < 0 else (float(ordered[k]), float(ordered[n - 1 - k]))


def t_quantile(n: int, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t with n - 1 degrees of freedom (nan below n = 2).

    For whole degrees of freedom v the probability within +-t is a finite series in the angle atan(t / sqrt(v))
    (Abramowitz and Stegun, 26.7.3 and 26.7.4), so that no table of a run has to load scipy, which takes 0.15 s. Its
    derivative by the angle is proportional to cos^(v - 1) and falls, so that Newton's steps from the normal
    distribution's quantile, which is smaller than t's, all stay below the root.
    """
    freedom = n - 1
    if freedom < 1:
        return math.nan
    steepest = 2 / math.sqrt(math.pi) * math.exp(math.lgamma(n / 2) - math.lgamma(freedom / 2))
    angle = math.atan(NormalDist().inv_cdf(0.5 + confidence / 2) / math.sqrt(freedom))
    for _ in range(_MOST_STEPS):
        step = (confidence - _within(angle, freedom)) / (steepest * math.cos(angle) ** (freedom - 1))
        angle += step
        if step < angle * _NEAR:
            break
    return math.sqrt(freedom) * math.tan(angle)


def _within(angle: float, freedom: int) -> float:
    """The probability that |t| < sqrt(freedom) tan(angle)."""
    sine, cosine, is_odd = math.sin(angle), math.cos(angle), freedom % 2
    powers = np.arange(2 + is_odd, freedom, 2)  # 2, 4, ... freedom - 2, or 3, 5, ... freedom - 2
    series = 1 + float(np.cumprod((powers - 1) / powers * cosine**2).sum())
    return 2 / math.pi * (angle + sine * cosine * series * (freedom > 1)) if is_odd else sine * series


def geometric_mean(samples: Floats) -> tuple[float, float]:
    """Geometric mean, and the standard deviation of the logarithms (n - 1; nan for one); nan where one is not > 0."""
    if not (samples > 0).all():
        return math.nan, math.nan
    if len(samples) == 1:
        return float(samples[0]), math.nan
    logs = np.log(samples)
    return math.exp(logs.mean()), float(logs.std(ddof=1))


def geometric_interval(mean: float, spread: float, n: int) -> tuple[float, float]:
    """95% interval of a geometric mean: Student's of the mean logarithm, so that it never reaches zero; nan for one."""
    width = math.exp(t_quantile(n) * spread / math.sqrt(n)) if n > 1 else math.nan
    return mean / width, mean * width


@dataclass(frozen=True, slots=True)
class Precision:
    """How well n samples pin down the mean."""

    n: int
    half_width: float
    """Of the mean's 95% interval, relative to the mean; nan below n = 2."""
    needed: int | None
    """Samples that would bring the half-width down to `target`."""
    target: float
    lag1: float
    """Autocorrelation of neighbouring samples; nan below n = 3."""
    effective_n: float
    """The number of independent samples with the same precision."""


def precision(samples: Floats, target: float = 0.01) -> Precision:
    """Relative half-width of the mean's interval, and the n needed for `target`: ceil((t cv / target)^2 n / n_eff).

    The interval is Student's with n_eff = n (1 - r) / (1 + r), r being the lag-1 autocorrelation (exact for AR(1) in
    the limit of large n), at most n: a negative r by chance must not narrow it.
    """
    n = len(samples)
    summary = summarize(samples)
    r = lag1(samples)
    if n < 2 or not math.isfinite(summary.cv):
        return Precision(n, math.nan, None, target, r, float(n))
    independent = effective_n(n, r)
    t = t_quantile(n)
    ratio = min(t * summary.cv / target, LARGEST)  # a float whose square is one
    needed = max(2, math.ceil(ratio**2 * n / independent))
    return Precision(n, t * summary.cv / math.sqrt(independent), needed, target, r, independent)


def lag1(samples: Floats) -> float:
    """Autocorrelation of each sample with the next, by the usual (biased) estimate; nan below n = 3 or if constant."""
    centred = np.asarray(samples, dtype=np.float64) - np.mean(samples)
    if len(centred) < 3 or np.ptp(samples) == 0:  # a mean of equal samples is rounded: their spread need not be 0
        return math.nan
    return float(centred[:-1] @ centred[1:]) / float(centred @ centred)


def effective_n(n: int, r: float) -> float:
    """Independent samples worth n samples of lag-1 autocorrelation r: n (1 - r) / (1 + r), from 1 up to n."""
    r = max(0.0, r)  # nan, where it is not known, counts as 0
    return max(1.0, n * (1 - r) / (1 + r))
