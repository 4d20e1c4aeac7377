"""The permutation test, against enumeration by hand, scipy's, and records whose counters say nothing of the time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from perfkit.analysis.noise import causes
from perfkit.analysis.statistics import chance
from perfkit.schema.probes import StepProbes
from perfkit.schema.record import StepSample
from tests.analysis.noisy import explained, record


def test_of_five_steps_all_orders_are_counted():
    """GIVEN the only large value of a counter at the slowest of five steps THEN 4! of 5! orders do as well: 1 in 5"""
    time = np.array([1.0, 1.1, 1.2, 1.3, 5.0])
    assert chance.p_values(np.array([[0.0, 0, 0, 0, 1]]), time) == pytest.approx([1 / 5])
    assert chance.p_values(np.array([[0.0, 0, 0, 1, 0]]), time) == pytest.approx([2 / 5])


def test_a_counter_in_the_order_of_six_steps_is_one_of_720():
    time = np.array([1.0, 2, 4, 8, 16, 32])
    assert chance.p_values(time[None, :] * 3 + 1, time) == pytest.approx([1 / 720])


@pytest.mark.parametrize("seed", range(3))
def test_one_counter_gets_scipys_p(seed):
    """GIVEN one counter and 30 steps THEN p is that of scipy's permutation test of the correlation, one-sided"""
    rng = np.random.default_rng(seed)
    time, counter = rng.normal(size=30), rng.exponential(size=30)
    counter = counter + 0.2 * seed * time
    expected = scipy_stats.permutation_test(
        (time,), lambda x: scipy_stats.pearsonr(x, counter).statistic, permutation_type="pairings",
        n_resamples=2000, alternative="greater", rng=rng,
    ).pvalue  # fmt: skip
    assert chance.p_values(counter[None, :], time)[0] == pytest.approx(expected, abs=0.03)


def test_the_more_counters_are_looked_at_the_less_each_says():
    """GIVEN a counter WHEN 9 that have nothing to do with the time stand beside it THEN its p is far larger"""
    rng = np.random.default_rng(5)
    time, others = rng.normal(size=40), rng.normal(size=(9, 40))
    one = 0.35 * time + rng.normal(size=40)
    alone = chance.p_values(one[None, :], time)[0]
    among = chance.p_values(np.vstack((one, others)), time)[0]
    assert 2 * alone < among <= 20 * alone


@pytest.mark.parametrize("n", [5, 40])
def test_constant_counters_never_beat_chance_and_the_same_record_is_judged_alike(n):
    time = np.random.default_rng(0).normal(size=n)
    series = np.vstack((np.full(n, 0.3), time))
    p = chance.p_values(series, time)
    assert p[0] > 0.4
    assert p[1] < 0.02
    np.testing.assert_array_equal(p, chance.p_values(series, time))


WALLS = {
    "normal": lambda rng, n: 0.1 * rng.normal(1, 0.05, n),
    "skewed": lambda rng, n: 0.09 + 0.01 * rng.lognormal(0, 0.5, n),
    "heavy": lambda rng, n: 0.1 + 0.003 * np.clip(rng.standard_t(3, n), -8, 20),
}


def unrelated(kind: str, n: int, rng: np.random.Generator):
    """Steps whose counters have the shapes of real ones, and were drawn without a look at the time."""
    wall, cpu = WALLS[kind](rng, n), rng.normal(0.06, 0.003, n)
    delay, other = rng.exponential(0.003, n), rng.exponential(0.001, n)
    collections = rng.random(n) < 0.15
    gc_s, minor = collections * rng.gamma(4, 0.002, n), rng.poisson(800, n)
    major, steal = rng.random(n) < 0.1, 0.01 * (rng.random(n) < 0.1)
    switches, preemptions = rng.poisson(4, n), rng.poisson(2, n)
    return record(
        [
            StepSample(
                wall_s=float(wall[i]), phases_s={}, cpu_s=float(cpu[i]) + 0.001,
                probes=StepProbes(
                    began_s=1000 + 0.2 * i, main_cpu_s=float(cpu[i]), main_delay_s=float(delay[i]),
                    other_delay_s=float(other[i]), switches=int(switches[i]), preemptions=int(preemptions[i]),
                    gc_s=float(gc_s[i]), collections=int(collections[i]), minor_faults=int(minor[i]),
                    major_faults=int(major[i]), steal_s=float(steal[i]), throttled_s=0.0,
                ),
            )
            for i in range(n)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("kind", WALLS)
def test_counters_that_have_nothing_to_do_with_the_time_are_rarely_named(kind):
    """GIVEN 240 records of 5, 10 and 40 steps without any cause THEN a counter's is named in 5% at most, any in 8%

    The rates are 1 to 3% and 2 to 6% (docs/measurement.md); the seeds are fixed.
    """
    rng = np.random.default_rng(0)
    patterns = {cause.value for cause in causes.PATTERNS}
    named = []
    for n in [5, 10, 40] * 80:
        found = explained(unrelated(kind, n, rng))
        named.append(set(found.causes))
    assert np.mean([bool(one - patterns) for one in named]) <= 0.05
    assert np.mean([bool(one) for one in named]) <= 0.08
