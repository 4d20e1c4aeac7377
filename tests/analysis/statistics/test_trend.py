"""Drift and level shifts, on series whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from perfkit.analysis.statistics import trend


def bounds(series) -> list[tuple[int, int]]:
    return [(level.first, level.last) for level in trend.levels(np.asarray(series, dtype=float))]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_mann_kendall_and_theil_sen_against_scipy(seed, ties):
    rng = np.random.default_rng(seed)
    series = 1 + 0.02 * rng.normal(size=40) + 0.001 * np.arange(40)
    series = np.asarray(np.round(series, 2) if ties else series, dtype=float)
    found = trend.drift(series)
    # scipy's tau is Mann-Kendall's S over the number of pairs; its p has no continuity correction
    expected = scipy_stats.kendalltau(np.arange(40), series, method="asymptotic").pvalue
    assert found.p == pytest.approx(expected, rel=0.15, abs=0.01)
    assert found.p >= expected
    slope = scipy_stats.theilslopes(series, np.arange(40)).slope
    assert found.share == pytest.approx(slope * 39 / np.median(series))


def test_drift_as_simulated():
    """GIVEN ten steps at CV 2% WHEN drifting by 0, 5, 10% THEN flagged in under 6% (p alone), about half, nearly all"""
    rng = np.random.default_rng(0)
    noise = rng.normal(1, 0.02, (500, 10))
    assert np.mean([trend.drift(one).p < 0.05 for one in noise]) < 0.08
    assert 0.4 < np.mean([trend.drift(one * np.linspace(1, 1.05, 10)).is_clear for one in noise]) < 0.65
    assert np.mean([trend.drift(one * np.linspace(1, 1.1, 10)).is_clear for one in noise]) > 0.9


@pytest.mark.parametrize("series", [[1.0], [1.0, 2.0, 3.0], [2.0] * 10])
def test_what_cannot_drift_does_not(series):
    assert not trend.drift(np.array(series)).is_clear


def test_long_series_are_taken_in_blocks():
    series = np.linspace(1, 1.2, 100_000)
    found = trend.drift(series)
    assert found.share == pytest.approx(0.2 / 1.1, rel=0.01)
    assert bounds(np.repeat([1.0, 1.5], 50_000) + 0.01 * np.random.default_rng(0).normal(size=100_000)) == [
        (0, 49_999),
        (50_000, 99_999),
    ]


@pytest.mark.parametrize("n", [15, 30, 60, 200])
@pytest.mark.parametrize("jump", [1.15, 1.5])
def test_a_bump_is_found_at_its_edges(n, jump):
    rng = np.random.default_rng(n)
    up, down = n // 3, 2 * n // 3
    level = np.where((np.arange(n) >= up) & (np.arange(n) < down), jump, 1.0)
    found = [bounds(level * rng.normal(1, 0.02, n)) for _ in range(50)]
    exact = [(0, up - 1), (up, down - 1), (down, n - 1)]
    assert np.mean([one == exact for one in found]) > 0.8
    assert np.mean([len(one) == 3 for one in found]) > 0.9


@pytest.mark.parametrize("cv", [0.02, 0.05, 0.15])
@pytest.mark.parametrize("n", [10, 15, 30, 200])
def test_levels_are_rarely_seen_where_there_is_one(n, cv):
    rng = np.random.default_rng(n)
    assert np.mean([len(trend.levels(rng.normal(1, cv, n))) > 1 for _ in range(200)]) <= 0.06


@pytest.mark.parametrize("where", [[10], [3, 11, 12, 25]])
def test_spikes_are_no_levels(where):
    series = np.random.default_rng(0).normal(1, 0.01, 30)
    series[where] += 1
    assert bounds(series) == [(0, 29)]


def test_a_level_is_five_percent_or_more():
    noise = np.random.default_rng(0).normal(0, 0.002, 40)
    assert bounds(np.repeat([1.0, 1.04], 20) + noise) == [(0, 39)]
    assert bounds(np.repeat([1.0, 1.06], 20) + noise) == [(0, 19), (20, 39)]


@pytest.mark.parametrize("series", [[1.0], [1.0] * 7, [1.0, 9.0] * 3, [1.0] * 20])
def test_short_and_constant_series_are_one_level(series):
    assert bounds(series) == [(0, len(series) - 1)]


def test_spikes_are_cut_to_three_standard_deviations_of_their_neighbours_median():
    """GIVEN ones, a spike up and one down THEN both are cut at 3 x 0.1, and no other"""
    series = np.array([1.0, 9.0, 1.0, 1.0, -9.0, 1.0, 1.25, 1.0, 1.0])
    assert trend._without_spikes(series, 0.1).tolist() == pytest.approx([1.0, 1.3, 1.0, 1.0, 0.7, 1.0, 1.25, 1.0, 1.0])


@pytest.mark.parametrize(
    ("p", "share", "clear"),
    [
        (0.049, 0.02, True),
        (0.05, 0.02, False),
        (0.049, 0.0199, False),
        (0.049, -0.02, True),
        (0.049, -0.0199, False),
        (0.0, 0.5, True),
        (0.5, 0.5, False),
    ],
)
def test_a_drift_is_clear_below_five_percent_by_chance_and_from_two_percent_on(p, share, clear):
    assert trend.Drift(p, share).is_clear == clear


def test_mann_kendall_by_hand():
    """GIVEN 1, 2, 3, 4 THEN S = 6, Var S = 4 x 3 x 13 / 18, z = 5 / sd; the slope of 1 makes 3 over a median of 2.5"""
    found = trend.drift(np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.p == pytest.approx(math.erfc(5 / math.sqrt(4 * 3 * 13 / 18) / math.sqrt(2)))
    assert found.share == pytest.approx(3 / 2.5)
    assert trend.drift(np.array([1.0, 2.0, 3.0])) == trend.Drift(1.0, 0.0)


def test_ties_take_their_part_of_the_variance():
    """GIVEN 1, 1, 2, 2, 3 THEN S = 8, Var S = (5 x 4 x 15 - 2 x (2 x 1 x 9)) / 18"""
    found = trend.drift(np.array([1.0, 1.0, 2.0, 2.0, 3.0]))
    assert found.p == pytest.approx(math.erfc(7 / math.sqrt((300 - 36) / 18) / math.sqrt(2)))


def test_the_noise_is_that_of_differences_of_neighbours():
    """GIVEN steps up of 0, 1 and 2 THEN their median deviation is 1, over sqrt 2 that of a single point"""
    assert trend._noise(np.array([0.0, 0.0, 1.0, 3.0])) == pytest.approx(1.4826 / math.sqrt(2))
    assert trend._noise(np.array([1.0])) == 0.0


@pytest.mark.parametrize(("least", "cuts"), [(1.0, [0, 4, 8]), (1.01, [0, 8]), (10.0, [0])])
def test_the_most_alike_neighbours_are_joined_until_all_differ_enough(least, cuts):
    """GIVEN levels of 1, 2 and 6 THEN a difference of 1 is enough where 1 is asked for, and else the first two join"""
    assert trend._joined(np.repeat([1.0, 2.0, 6.0], 4), [0, 4, 8], least) == cuts


@pytest.mark.parametrize(("n", "points", "size"), [(400, 400, 1), (401, 200, 2), (800, 400, 2), (801, 267, 3)])
def test_at_most_four_hundred_points_are_looked_at(n, points, size):
    found, block = trend._blocks(np.arange(float(n)))
    assert (len(found), block) == (points, size)
    assert found[0] == (size - 1) / 2


def test_a_level_knows_its_steps():
    level = trend.Level(3, 6, 1.0)
    assert (len(level), np.arange(10)[level.steps].tolist()) == (4, [3, 4, 5, 6])


@pytest.mark.parametrize(("n", "count"), [(7, 1), (8, 2)])
def test_two_levels_need_four_steps_each(n, count):
    noise = 0.001 * np.array([0.0, 1.0, 0.0, 2.0, 0.0, 1.0, 0.0, 2.0])[:n]
    assert len(trend.levels(np.array([1.0] * (n // 2) + [2.0] * (n - n // 2)) + noise)) == count


@pytest.mark.parametrize(
    ("end", "count"),
    [([2, 2, 2, 2], 2), ([1, 2, 2, 2], 1), ([1, 1, 2, 2], 1), ([2, 1, 1, 2], 1), ([0, 0, 0, 0], 2), ([1, 1, 0, 0], 1)],
)
def test_a_level_has_four_steps_at_its_own_speed(end, count):
    """GIVEN ten steps of 1 and four others THEN two among four make a median of 1.5, which is the speed of none"""
    assert len(trend.levels(np.array([1.0] * 10 + end))) == count


def test_levels_need_no_noise():
    """GIVEN steps that a coarse clock makes equal THEN they shift all the same"""
    assert bounds([0.1] * 10 + [0.15] * 10) == [(0, 9), (10, 19)]


@pytest.mark.parametrize("rise", [0.2, 0.6, -0.4])
@pytest.mark.parametrize("cv", [0.0, 0.002, 0.01])
def test_a_drift_is_no_stairs(rise, cv):
    """GIVEN 30 steps that get slower or faster, evenly THEN they are one level that drifts; steps of five are five"""
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(1, cv, 30)
        assert bounds(noise * (1 + rise * np.arange(30) / 29)) == [(0, 29)]
    stairs = np.repeat([1.0, 1.2, 1.5, 1.3, 1.1], 6) * noise
    assert len(bounds(stairs)) == 5
