"""Statistics of step times against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from perfkit.analysis.statistics import stats


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
    assert stats.precision(np.array([2.0])).needed is None


def test_precision_of_the_reported_case():
    """GIVEN n = 10 and CV 5.8% (SEED) WHEN asked THEN the mean is known to 4.1% and 1% needs about 170 (t) steps"""
    samples = np.array([-1.0, 1.0] * 5)
    samples = 1 + 0.058 * samples / samples.std(ddof=1)
    found = stats.precision(samples)
    assert found.effective_n == 10  # neighbours that differ do not count for more than they are
    assert found.half_width == pytest.approx(0.0415, abs=2e-4)
    assert found.needed == math.ceil((2.262157 * 0.058 / 0.01) ** 2)


@pytest.mark.parametrize("n", [20, 30, 100])
def test_both_intervals_cover_what_they_promise_on_independent_normal_noise(n):
    """GIVEN 2,000 runs of n steps at CV 5% WHEN asked THEN the t interval covers 93-97%, the median's at least 95%

    The bounds have the simulation's own error in them: 2,000 runs know 95% to +-1%.
    """
    rng = np.random.default_rng(n)
    by_mean = by_median = 0
    for samples in rng.normal(1, 0.05, (2000, n)):
        by_mean += abs(samples.mean() - 1) <= stats.precision(samples).half_width * samples.mean()
        low, high = stats.median_interval(np.sort(samples))
        by_median += low <= 1 <= high
    assert 0.93 <= by_mean / 2000 <= 0.97
    assert by_median / 2000 >= 0.95 - 0.01


def test_steps_that_depend_on_each_other_widen_the_interval():
    """GIVEN AR(1) noise with 0.6, 400 runs of 100 WHEN asked THEN it covers above 90%; as if independent, under 75%"""
    rng = np.random.default_rng(1)
    adjusted = naive = 0
    for _ in range(400):
        noise = rng.normal(0, 0.05, 150)
        for i in range(1, 150):
            noise[i] += 0.6 * noise[i - 1]
        samples = 1 + noise[50:]
        found, mean = stats.precision(samples), samples.mean()
        adjusted += abs(mean - 1) <= found.half_width * mean
        naive += abs(mean - 1) <= found.half_width * mean * math.sqrt(found.effective_n / found.n)
    assert adjusted / 400 > 0.9
    assert naive / 400 < 0.75


@pytest.mark.parametrize(("r", "worth"), [(0.0, 10), (-0.9, 10), (0.5, 10 / 3), (0.99, 1), (math.nan, 10)])
def test_effective_samples_are_at_least_one_and_never_more_than_there_are(r, worth):
    assert stats.effective_n(10, r) == pytest.approx(worth)


def test_autocorrelation_of_a_known_series():
    """GIVEN 1 2 3 4 5 WHEN asked THEN (2 + 0 + 0 + 2) / 10; and none for constants or two samples"""
    assert stats.lag1(np.arange(1.0, 6.0)) == pytest.approx(0.4)
    assert math.isnan(stats.lag1(np.ones(9)))
    assert math.isnan(stats.lag1(np.full(30, 0.1)))  # whose mean is not 0.1
    assert math.isnan(stats.lag1(np.array([1.0, 2.0])))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("n", "std", "p90"), [(1, False, False), (2, True, False), (9, True, False), (10, True, True)])
def test_a_statistic_needs_as_many_samples_as_it_says(n, std, p90):
    found = stats.summarize(np.arange(float(n)))
    assert (not math.isnan(found.std), not math.isnan(found.p90)) == (std, p90)


def test_samples_come_in_any_order():
    assert stats.summarize(np.array([3.0, 1.0, 2.0])) == stats.summarize(np.array([1.0, 2.0, 3.0]))


def test_variation_about_a_mean_of_zero_is_not_known():
    found = stats.summarize(np.array([-1.0, 1.0]))
    assert math.isnan(found.cv)
    assert stats.precision(np.array([-1.0, 1.0])).needed is None


@pytest.mark.parametrize("n", [9, 20, 101])
@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
def test_a_median_can_be_asked_for_with_any_confidence(n, confidence):
    low, high = stats.median_interval(np.arange(float(n)), confidence)
    tails = [2 * float(scipy_stats.binom.cdf(k, n, 0.5)) for k in range(n // 2)]
    expected = [k for k, tail in enumerate(tails) if tail <= 1 - confidence]
    assert (low, high) == (expected[-1], n - 1 - expected[-1])


@pytest.mark.parametrize("n", [*range(2, 40), 1000, 1001, 100_000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_students_quantile_is_scipys(n, confidence):
    assert stats.t_quantile(n, confidence) == pytest.approx(scipy_stats.t.ppf(0.5 + confidence / 2, n - 1), rel=1e-11)


def test_one_sample_has_no_students_quantile():
    assert math.isnan(stats.t_quantile(1))


def test_a_geometric_mean_is_that_of_the_logarithms():
    """GIVEN 1 and 4 WHEN asked THEN 2, and logarithms that deviate by ln 4 / sqrt 2"""
    assert stats.geometric_mean(np.array([1.0, 4.0])) == pytest.approx((2.0, math.log(4) / math.sqrt(2)))


def test_one_sample_is_its_own_geometric_mean_and_has_no_spread():
    mean, spread = stats.geometric_mean(np.array([3.0]))
    assert mean == 3.0
    assert math.isnan(spread)
    assert all(map(math.isnan, stats.geometric_interval(mean, 0.1, 1)))


@pytest.mark.parametrize("samples", [[0.0], [1.0, 0.0], [1.0, -2.0], [1.0, math.nan]])
def test_there_is_no_geometric_mean_of_what_is_not_positive(samples):
    assert all(map(math.isnan, stats.geometric_mean(np.array(samples))))


def test_the_interval_of_a_geometric_mean_is_students_of_the_logarithms():
    low, high = stats.geometric_interval(2.0, 0.3, 5)
    half = scipy_stats.t.ppf(0.975, 4) * 0.3 / math.sqrt(5)
    assert (low, high) == pytest.approx((2 * math.exp(-half), 2 * math.exp(half)))


def test_precision_of_a_series_whose_neighbours_agree():
    """GIVEN 1 2 3 4 5 (r = 0.4) WHEN asked THEN 5 steps are worth 5 x 0.6 / 1.4, for the width and for the number"""
    found = stats.precision(np.arange(1.0, 6.0), target=0.1)
    t, cv, worth = 2.776445, math.sqrt(2.5) / 3, 5 * 0.6 / 1.4
    assert (found.n, found.target, found.lag1, found.effective_n) == (5, 0.1, pytest.approx(0.4), pytest.approx(worth))
    assert found.half_width == pytest.approx(t * cv / math.sqrt(worth))
    assert found.needed == math.ceil((t * cv / 0.1) ** 2 * 5 / worth)


def test_precision_begins_with_two_samples_and_asks_for_no_fewer():
    one, two = stats.precision(np.array([2.0])), stats.precision(np.array([2.0, 2.0]))
    assert math.isnan(one.half_width)
    assert (one.n, one.effective_n) == (1, 1.0)
    assert (two.half_width, two.needed, two.target) == (0.0, 2, 0.01)


def test_autocorrelation_begins_with_three_samples():
    """GIVEN 1 2 4, which are -4/3 -1/3 5/3 about their mean WHEN asked THEN (4/9 - 5/9) / (42/9)"""
    assert stats.lag1(np.array([1.0, 2.0, 4.0])) == pytest.approx(-1 / 42)
