"""Statistics of step times against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from perfkit.analysis import stats


def test_summary_of_a_known_series():
    """GIVEN 1..10 WHEN summarised THEN every number is the textbook's"""
    found = stats.summarize(np.arange(1.0, 11.0))
    assert (found.n, found.mean, found.median, found.minimum, found.maximum) == (10, 5.5, 5.5, 1.0, 10.0)
    assert found.std == pytest.approx(math.sqrt(55 / 6))
    assert found.cv == pytest.approx(found.std / 5.5)
    assert found.p90 == pytest.approx(9.1)
    assert (found.median_low, found.median_high) == (2.0, 9.0)


@pytest.mark.parametrize("n", [*range(1, 60), 1200, 5000])
def test_median_interval_is_the_narrowest_that_covers(n):
    """GIVEN n samples WHEN the interval is x(k+1)..x(n-k) THEN it covers 95% and the next narrower one does not"""
    low, high = stats.median_interval(np.arange(float(n)))
    covered = [1 - 2 * scipy_stats.binom.cdf(k, n, 0.5) for k in range((n + 1) // 2)]
    enough = [k for k, share in enumerate(covered) if share >= 0.95]
    if not enough:
        assert math.isnan(low)
        assert math.isnan(high)
    else:
        assert (low, high) == (enough[-1], n - 1 - enough[-1])


def test_too_few_samples_say_so():
    """GIVEN one sample WHEN summarised THEN what needs more is nan, and precision promises nothing"""
    found = stats.summarize(np.array([2.0]))
    assert math.isnan(found.std)
    assert math.isnan(found.p90)
    assert stats.precision(found).needed is None


def test_precision_of_the_reported_case():
    """GIVEN n = 10 and CV 5.8% (SEED) WHEN asked THEN the mean is known to 4.1% and 1% needs about 170 (t) steps"""
    samples = np.array([-1.0, 1.0] * 5)
    samples = 1 + 0.058 * samples / samples.std(ddof=1)
    found = stats.precision(stats.summarize(samples))
    assert found.half_width == pytest.approx(0.0415, abs=2e-4)
    assert found.needed == math.ceil((2.262157 * 0.058 / 0.01) ** 2)
