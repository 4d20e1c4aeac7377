"""Which steps stand out, and what a cause needs to be named: every limit at, below and above it, by closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perfkit.analysis.noise import disturbances
from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.statistics.trend import Level

SPREAD = 1.4826 * 20 / 19.2
"""Of ten zeros and ten twos: their median absolute deviation is 1, and n / (n - 0.8) is 20 / 19.2."""
QUIET = np.arange(20)


def with_counter(cause: Cause, more: float, steps: int) -> CauseTimes:
    """Twenty quiet steps whose counter is 0 and 2 in turns, so 1 in the middle, and steps where it is `more` above."""
    counter = np.array([0.0, 2.0] * 10 + [1.0 + more] * steps)
    return CauseTimes(np.ones(20 + steps), evidence={cause: counter})


@pytest.mark.parametrize("steps", [1, 5, 20])
@pytest.mark.parametrize(("factor", "is_up"), [(0.99, False), (1.01, True)])
def test_a_counter_is_up_by_three_standard_errors_of_the_difference(steps, factor, is_up):
    """GIVEN more steps THEN less is enough: the error is that of a difference of means of so many"""
    limit = 3 * SPREAD * math.sqrt(1 / steps + 1 / 20)
    account = with_counter(Cause.GC, factor * limit, steps)
    assert disturbances._corroborated(account, Cause.GC, np.arange(20, 20 + steps), QUIET) == is_up


def test_a_counter_that_stands_still_is_not_up():
    account = CauseTimes(np.ones(21), evidence={Cause.GC: np.zeros(21)})
    assert not disturbances._corroborated(account, Cause.GC, np.array([20]), QUIET)
    assert not disturbances._corroborated(account, Cause.STEAL, np.array([20]), QUIET)


def test_the_spread_is_that_of_few_values():
    """GIVEN 1 to 5 THEN the median deviation is 1, and the factors are 1.4826 and 5 / 4.2"""
    assert disturbances._spread(np.arange(1.0, 6.0)) == pytest.approx(1.4826 * 5 / 4.2)


def outliers(*odd: float, noise: float = 0.0) -> list[int]:
    """Of twenty steps of 1 +- noise and these."""
    wall = np.array([1 - noise, 1 + noise] * 10 + [1.0] + list(odd))
    level = Level(0, len(wall) - 1, 1.0)
    return disturbances._outliers(wall, level, [level])


@pytest.mark.parametrize(("wall", "out"), [(1.09, False), (1.11, True), (0.91, False), (0.89, True)])
def test_a_step_of_a_quiet_series_stands_out_by_ten_percent(wall, out):
    assert outliers(wall) == ([21] if out else [])


def test_a_step_at_the_limit_does_not_stand_out():
    """GIVEN a level of 10 s, whose tenth is a whole number THEN above means above, and below below"""
    level = Level(0, 11, 10.0)
    assert disturbances._outliers(np.array([10.0] * 10 + [11.0, 9.0]), level, [level]) == []
    assert disturbances._outliers(np.array([10.0] * 10 + [11.01, 8.99]), level, [level]) == [10, 11]


@pytest.mark.parametrize(("sigmas", "out"), [(4.9, False), (5.1, True)])
def test_a_slow_step_of_a_noisy_series_stands_out_by_five_standard_deviations(sigmas, out):
    """GIVEN 22 steps whose median absolute deviation is 0.05 THEN five times 1.4826 * 22 / 21.2 of it are the limit"""
    assert outliers(1 + sigmas * 1.4826 * 0.05 * 22 / 21.2, noise=0.05) == ([21] if out else [])


@pytest.mark.parametrize(("share", "out"), [(0.99, False), (1.01, True)])
def test_a_fast_step_stands_out_by_more_the_more_steps_there_are(share, out):
    limit = 3.4 * 22 ** (1 / 3) * 1.4826 * 0.05 * 22 / 21.2
    assert outliers(1 - share * limit, noise=0.05) == ([21] if out else [])


def test_outliers_are_counted_from_the_start_of_the_series():
    wall = np.array([1.0] * 10 + [2.0] * 5 + [4.0] + [2.0] * 5)
    first, second = Level(0, 9, 1.0), Level(10, 20, 2.0)
    assert disturbances._outliers(wall, second, [first, second]) == [15]


@pytest.mark.parametrize(("first", "leading"), [(1.019, 0), (1.021, 1), (0.5, 0)])
def test_a_first_step_is_warm_up_from_two_percent_on(first, leading):
    assert disturbances.leading_slow(np.array([first] + [1.0] * 19)) == leading


@pytest.mark.parametrize(("share", "leading"), [(0.99, 0), (1.01, 1)])
def test_among_noise_warm_up_is_beyond_five_standard_deviations_and_more_for_few_steps(share, leading):
    """GIVEN 20 steps THEN the 15 after the first quarter have the spread, and 5 (1 + 20 / 15^2) of it are the limit"""
    limit = 5 * (1 + 20 / 15**2) * 1.4826 * 0.1 * 15 / 14.2
    series = [1 + share * limit] + [1.0] * 4 + [0.9, 1.1, 0.9, 1.1, 1.0] + [0.9, 1.1] * 5
    assert disturbances.leading_slow(np.array(series)) == leading


@pytest.mark.parametrize(("slow", "leading"), [(2, 2), (4, 4), (5, 0)])
def test_a_slow_first_half_is_no_warm_up(slow, leading):
    """GIVEN ten steps WHEN all of the first five are slow THEN it is a level, or a drift"""
    assert disturbances.leading_slow(np.array([2.0] * slow + [1.0] * (10 - slow))) == leading


@pytest.mark.parametrize(
    ("shares", "named"),
    [
        ({}, (None, 0.0)),
        ({Cause.GC: 0.6}, (Cause.GC, 0.6)),
        ({Cause.GC: 0.59}, (None, 0.59)),
        ({Cause.FAULTS: 0.95, Cause.STEAL: 0.99}, (Cause.FAULTS, 0.95)),  # as good as each other: the first
        ({Cause.FAULTS: 0.94, Cause.STEAL: 0.96}, (Cause.STEAL, 0.96)),
        ({Cause.CPU_TIME: 0.7, Cause.GC: 0.19}, (Cause.CPU_TIME, 0.7)),
        ({Cause.CPU_TIME: 0.7, Cause.GC: 0.2}, (None, 0.2)),
        ({Cause.CPU_TIME: 0.7, Cause.PREEMPTED: 0.1, Cause.THROTTLED: 0.1}, (None, 0.1)),
        ({Cause.CPU_TIME: 0.7, Cause.PREEMPTED: 0.19, Cause.GC: -0.5}, (Cause.CPU_TIME, 0.7)),
        ({Cause.CPU_TIME: 0.7, Cause.STEAL: 0.5}, (Cause.CPU_TIME, 0.7)),
        ({Cause.CPU_TIME: 0.9}, (Cause.CPU_TIME, 0.9)),
    ],
)
def test_the_cause_that_makes_up_most_is_named_from_sixty_percent_on(shares, named):
    assert disturbances._strongest(shares) == named


@pytest.mark.parametrize(("having", "rare"), [(0, True), (1, True), (2, False)])
def test_a_single_step_has_a_cause_that_five_percent_of_the_quiet_ones_have(having, rare):
    """GIVEN 20 quiet steps, of which none, one (5%) and two have 60% of a single step's excess THEN two are too many"""
    seconds = np.array([0.0] * 20 + [1.0])
    seconds[:having] = 0.6
    single = np.array([20])
    assert disturbances._is_rare(seconds, single, QUIET, 1.0) == rare
    assert disturbances._is_rare(seconds, np.array([19, 20]), QUIET, 1.0)
    seconds[:having] = 0.59
    assert disturbances._is_rare(seconds, single, QUIET, 1.0)


@pytest.mark.parametrize("cause", [Cause.CLOCK, Cause.POWER, Cause.THERMAL])
def test_what_nvml_averages_over_a_second_explains_a_second_or_more(cause):
    account = CauseTimes(np.array([0.5, 0.5, 0.25]))
    assert disturbances._long_enough(account, cause, np.array([0, 1]))
    assert not disturbances._long_enough(account, cause, np.array([0, 2]))
    assert disturbances._long_enough(account, Cause.GC, np.array([2]))


@pytest.mark.parametrize(
    ("counts", "event"),
    [
        ([0, 0, 0, 0, 1, 0], Cause.ALLOCATION),
        ([0, 0, 0, 0, 0, 0], None),
        ([1, 1, 1, 0, 1, 1], None),
        ([1, 0, 0, 0, 1, 1], Cause.ALLOCATION),
    ],
)
def test_an_event_is_one_that_happens_here_and_in_no_typical_quiet_step(counts, event):
    account = CauseTimes(np.ones(6), events={Cause.ALLOCATION: np.array(counts, dtype=float)})
    assert disturbances._event(account, np.array([4, 5]), np.arange(4)) == event


@pytest.mark.parametrize(("n", "count"), [(4, 0), (5, 1)])
def test_five_steps_are_the_fewest(n, count):
    assert len(disturbances.find_disturbances(CauseTimes(np.array([1.0] * (n - 1) + [2.0])))) == count


def test_a_fast_step_has_a_negative_excess_and_needs_no_cause():
    [one] = disturbances.find_disturbances(CauseTimes(np.array([1.0] * 10 + [0.5] + [1.0] * 9)))
    assert (one.kind, one.steps, one.cause, one.explained, one.period) == ("fast step", (10,), Cause.FAST, 1.0, 0)
    assert (one.excess_s, one.quiet_s) == (-0.5, 1.0)


FEW = ([29, 30], [1, 2], [28, 29, 30], [27, 30], [26, 28, 30], [1, 3], [2, 3], [15, 16], [14, 15, 16])
"""Two or three steps of 30, counted from 1, near an end and in the middle."""


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.3, 2.0])
@pytest.mark.parametrize("where", FEW, ids=str)
def test_a_few_steps_are_no_level_and_change_nothing_about_the_others(where, factor):
    """GIVEN 30 steps of 100 ms +- 1% (ten seeds), two or three of which take another time THEN these stand out, one by
    one (leading slow ones as warm-up), against 100 ms, and no other step does"""
    for seed in range(10):
        wall = np.random.default_rng(seed).normal(0.1, 0.001, 30)
        wall[[step - 1 for step in where]] *= factor
        found = disturbances.find_disturbances(CauseTimes(wall))
        assert {one.kind for one in found} <= ({"fast step"} if factor < 1 else {"step", "warm-up"})
        assert sorted(step + 1 for one in found for step in one.steps) == where
        assert [one.quiet_s for one in found] == pytest.approx([0.1] * len(found), rel=0.01)


@pytest.mark.parametrize("first", [0, 10, 26])
@pytest.mark.parametrize(("factor", "cause"), [(0.5, Cause.FAST), (0.7, Cause.FAST), (1.3, None), (2.0, None)])
def test_four_steps_are_a_level_that_is_compared_with_the_speed_of_most(first, factor, cause):
    """GIVEN four steps in a row that take another time THEN that level is named, whether it is faster or slower"""
    for seed in range(10):
        wall = np.random.default_rng(seed).normal(0.1, 0.001, 30)
        wall[first : first + 4] *= factor
        [one] = disturbances.find_disturbances(CauseTimes(wall))
        assert one.kind == ("warm-up" if first == 0 and factor > 1 else "level")
        assert (one.first, one.last, one.quiet_s) == (first, first + 3, pytest.approx(0.1, rel=0.01))
        assert one.cause is (Cause.WARMUP if one.kind == "warm-up" else cause)


@pytest.mark.parametrize(("fast", "slow"), [(7, range(7)), (8, range(8, 30))])
def test_a_quarter_of_the_steps_is_a_base(fast, slow):
    """GIVEN the first 7 or 8 of 30 steps at half the time THEN 7.5 and more are what the others are slow against"""
    wall = np.full(30, 1.0)
    wall[:fast] = 0.5
    [one] = disturbances.find_disturbances(CauseTimes(wall))
    assert (one.kind, one.steps) == ("level", tuple(slow))


@pytest.mark.parametrize("later", [[10, 20], [9, 17, 23]])
@pytest.mark.parametrize("factor", [1.05, 1.3, 2.0])
def test_a_first_step_that_looks_like_later_ones_is_no_warm_up(later, factor):
    """GIVEN a first step as slow as two later ones THEN it is such a step; with twice the excess, it is not"""
    for seed in range(10):
        wall = np.random.default_rng(seed).normal(0.1, 0.0003, 40)
        wall[[0, *later]] *= factor
        assert "warm-up" not in {one.kind for one in disturbances.find_disturbances(CauseTimes(wall))}
        wall[0] = 0.1 + 2 * (wall[0] - 0.1)
        assert ("warm-up", (0,)) in {(one.kind, one.steps) for one in disturbances.find_disturbances(CauseTimes(wall))}


def test_what_follows_a_warm_up_step_may_look_like_later_ones():
    """GIVEN three leading slow steps, of which the third looks like two later ones THEN the first two are warm-up"""
    wall = np.full(30, 1.0)
    wall[[0, 1, 2, 15, 20]] = [3.0, 2.0, 1.5, 1.5, 1.6]
    assert disturbances.leading_slow(wall) == 2


@pytest.mark.parametrize("count", [3, 4])
def test_a_few_fast_steps_in_no_order_are_the_rarer_of_two_speeds(count):
    """GIVEN three or four of 24 steps at half the time (ten seeds) THEN these are named, and not the other twenty"""
    where = [3, 9, 14, 22][:count]
    for seed in range(10):
        wall = np.random.default_rng(seed).normal(0.1, 0.001, 24)
        wall[where] *= 0.5
        [one] = disturbances.find_disturbances(CauseTimes(wall))
        assert (one.kind, one.steps, one.cause) == ("mode", tuple(where), Cause.MODES)
        assert one.quiet_s == pytest.approx(0.1, rel=0.01)


def test_a_step_after_the_warm_up_is_counted_from_the_start():
    """GIVEN two leading slow steps and one later THEN the first two are warm-up, and step 15 is a step"""
    wall = np.ones(20)
    wall[[0, 1, 15]] = [3.0, 2.0, 1.5]
    first, later = disturbances.find_disturbances(CauseTimes(wall))
    assert (first.kind, first.steps, first.cause, first.explained) == ("warm-up", (0, 1), Cause.WARMUP, 1.0)
    assert (later.kind, later.steps, later.cause, later.explained) == ("step", (15,), None, 0.0)
    assert (first.excess_s, first.quiet_s, later.excess_s) == (1.5, 1.0, 0.5)


@pytest.mark.parametrize("rise", [0.3, -0.3])
def test_a_period_is_found_in_a_drift(rise):
    """GIVEN 60 steps that get 30% slower, or faster, and every sixth 10% slower THEN the period is named"""
    for seed in range(5):
        wall = np.random.default_rng(seed).normal(1, 0.01, 60) * (1 + rise * np.arange(60) / 59)
        wall[2::6] *= 1.1
        assert ("period", 6) in {(one.kind, one.period) for one in disturbances.find_disturbances(CauseTimes(wall))}
