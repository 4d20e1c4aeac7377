"""Change points: those made are found where they are, and shuffled series have them as rarely as was asked for."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from perfkit.analysis.statistics.changes import ALPHA, changes, clearest


def series(*levels: tuple[float, int], seed: int = 0, sigma: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(level, sigma * level, count) for level, count in levels])


@pytest.mark.parametrize("seed", range(5))
def test_levels_are_found_where_they_begin(seed: int) -> None:
    """GIVEN levels of 1, 1.1 and 1.05 with noise of 1% THEN both changes are at their places, with their sizes"""
    first, second = changes(series((1, 12), (1.1, 15), (1.05, 13), seed=seed))
    assert (first.first, second.first) == (12, 27)
    assert first.share == pytest.approx(0.1, abs=0.02)
    assert second.share == pytest.approx(-0.045, abs=0.02)
    assert first.after == second.before


def test_a_change_that_is_taken_back_is_two():
    assert [change.first for change in changes(series((1, 10), (1.1, 9), (1, 11)))] == [10, 19]


def test_a_small_change_is_none_however_clear():
    assert changes(series((1, 30), (1.01, 30), sigma=0.001)) == ()
    assert [change.first for change in changes(series((1, 30), (1.01, 30), sigma=0.001), least=0.005)] == [30]


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2, 3], [2.0] * 40, [1.0] * 6 + [9.0] + [1.0] * 6],
                         ids=["none", "one", "three", "equal", "one spike"])  # fmt: skip
def test_series_without_a_change(values: list[float]) -> None:
    assert changes(np.array(values)) == ()


def test_the_chance_is_that_of_all_orders():
    """GIVEN 6 values in rising order THEN p is the share of all 720 orders whose clearest window is as clear"""

    def statistic(order: tuple[int, ...]) -> float:
        n, found = len(order), 0.0
        for first, last in itertools.combinations(range(n + 1), 2):
            length = last - first
            ends_well = all(edge in (0, n) or 2 <= edge <= n - 2 for edge in (first, last))
            if ends_well and 2 <= length <= n - 2:
                away = abs(sum(order[first:last]) - length * (n + 1) / 2)
                found = max(found, away / (length * (n - length) * (n + 1) / 12) ** 0.5)
        return found

    own = statistic((1, 2, 3, 4, 5, 6))
    exact = np.mean([statistic(order) >= own - 1e-9 for order in itertools.permutations(range(1, 7))])
    first, last, p = clearest(np.arange(1.0, 7))
    assert (first, last) in ((0, 3), (3, 6))
    assert p == pytest.approx(exact, abs=0.04)  # 999 of 720 orders, drawn


@pytest.mark.parametrize("count", [12, 30])
def test_shuffled_series_have_a_change_as_rarely_as_was_asked_for(count: int) -> None:
    """GIVEN 250 orders of runs with heavy tails and two speeds THEN about 2% have a change: at most 4% (3 sigma)"""
    rng = np.random.default_rng(count)
    values = np.concatenate([np.exp(0.05 * rng.standard_t(3, count // 2)), 1.2 + 0.02 * rng.random(count - count // 2)])
    named = sum(bool(changes(rng.permutation(values))) for _ in range(250))
    assert named / 250 <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / 250) ** 0.5
