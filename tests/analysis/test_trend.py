"""Drift and level shifts, on series whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from perfkit.analysis import trend


def bounds(series) -> list[tuple[int, int]]:
    return [(level.first, level.last) for level in trend.levels(np.asarray(series, dtype=float))]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("ties", [False, True])
def test_mann_kendall_and_theil_sen_against_scipy(seed, ties):
    rng = np.random.default_rng(seed)
    series = 1 + 0.02 * rng.normal(size=40) + 0.001 * np.arange(40)
    series = np.round(series, 2) if ties else series
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
