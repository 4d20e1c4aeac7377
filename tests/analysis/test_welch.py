"""The statistics of comparisons, by simulation: claims are false at most 5 times in 100, power is as printed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from perfkit.analysis import welch
from perfkit.analysis.stats import Floats
from perfkit.analysis.welch import ALPHA

WITHIN = 0.01
"""Standard deviation of a process's steps; what processes differ by is each test's."""


def medians(
    generator: np.random.Generator, shape: tuple[int, ...], between: float, ratio: float = 1.0, steps: int = 10
) -> Floats:
    """Logarithms of process medians: processes differ, and the steps of each differ round its own level."""
    level = math.log(ratio) + generator.normal(0, between, shape)
    times = np.exp(level)[..., None] * (1 + generator.normal(0, WITHIN, (*shape, steps)))
    return np.log(np.median(times, axis=-1))


@pytest.mark.parametrize("between", [0.0, 0.003, 0.01, 0.1])
def test_false_claims_of_a_difference_stay_below_6_percent(between):
    """GIVEN 2,000 comparisons of A with A, 5 processes a side WHEN tested THEN at most 6% are called different"""
    generator = np.random.default_rng(1)
    a, b = (medians(generator, (2000, 5), between) for _ in "ab")
    found = welch.welch(a, b)
    assert (found.p_different() < ALPHA).mean() <= 0.06
    low, high = found.interval()
    assert ((low <= 0) & (high >= 0)).mean() >= 0.94


def test_pooling_the_steps_would_fail():
    """GIVEN processes that differ by as much as their steps WHEN all steps are pooled THEN a third of A/A is false"""
    generator = np.random.default_rng(2)
    level = generator.normal(0, 0.01, (2, 2000, 5, 1))
    steps = level + generator.normal(0, WITHIN, (2, 2000, 5, 10))
    pooled = welch.welch(*steps.reshape(2, 2000, 50))
    assert (pooled.p_different() < ALPHA).mean() > 0.3
    assert (welch.welch(*np.median(steps, axis=-1)).p_different() < ALPHA).mean() <= 0.06


@pytest.mark.parametrize("rows", [5, 20])
def test_false_claims_over_a_table_stay_below_6_percent(rows):
    """GIVEN 1,000 tables of A/A rows WHEN adjusted by Holm THEN at most 6% of the tables hold a false claim"""
    generator = np.random.default_rng(3)
    a, b = (medians(generator, (1000, rows, 5), 0.01) for _ in "ab")
    p = welch.welch(a, b).p_different()
    false = np.mean([(welch.holm(table) < ALPHA).any() for table in p])
    assert false <= 0.06
    assert (p < ALPHA).any(axis=1).mean() > 3 * false  # what unadjusted ones would hold


@pytest.mark.parametrize("processes", [3, 5, 10])
def test_power_at_the_printed_detectable_difference(processes):
    """GIVEN the difference each of 300 comparisons prints WHEN it is the true one next time THEN 4 in 5 find it"""
    generator = np.random.default_rng(4)
    printed = welch.welch(*(generator.normal(0, 0.02, (300, processes)) for _ in "ab")).detectable()
    a, b = (generator.normal(0, 0.02, (50, 300, processes)) for _ in "ab")
    power = (welch.welch(a, b + printed[:, None]).p_different() < ALPHA).mean()
    assert power == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("ratio", [1.01, 1 / 1.01])
def test_false_claims_of_sameness_stay_below_5_percent(ratio):
    """GIVEN sides that are just the margin apart WHEN tested THEN at most 5% are called the same"""
    generator = np.random.default_rng(6)
    for between in (0.001, 0.004, 0.02):
        a, b = medians(generator, (4000, 5), between), medians(generator, (4000, 5), between, ratio)
        assert (welch.welch(a, b).p_within(math.log(1.01)) < ALPHA).mean() <= 0.055


def test_sameness_is_found_where_the_spread_allows_it():
    generator = np.random.default_rng(7)
    a, b = (medians(generator, (1000, 5), 0.001) for _ in "ab")
    assert (welch.welch(a, b).p_within(math.log(1.01)) < ALPHA).mean() > 0.9


def test_against_scipys_test_of_one_pair():
    a, b = np.log([1.0, 1.1, 1.05, 0.98]), np.log([1.2, 1.3, 1.22])
    found, expected = welch.welch(a, b), stats.ttest_ind(b, a, equal_var=False)
    assert found.p_different() == pytest.approx(expected.pvalue)
    assert found.freedom == pytest.approx(expected.df)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()))


def test_no_spread_at_all():
    one, two = np.log([1.0, 1.0]), np.log([2.0, 2.0])
    assert welch.welch(one, one).p_different() == 1
    assert welch.welch(one, one).p_within(0.01) == 0
    assert welch.welch(one, two).p_different() == 0
    assert welch.welch(one, two).p_within(0.01) == 1


def test_holm_by_hand():
    """Holm 1979: the smallest times 3, the next times 2, never falling; what was not tested does not count"""
    adjusted = welch.holm(np.array([0.04, math.nan, 0.01, 0.03]))
    assert adjusted[[0, 2, 3]] == pytest.approx([0.06, 0.03, 0.06])
    assert math.isnan(adjusted[1])
    assert welch.holm(np.array([0.9, 0.8])).max() == 1


@pytest.mark.parametrize(
    ("difference", "p_different", "p_within", "expected"),
    [
        (0.1, 0.01, 0.9, "slower"),
        (-0.1, 0.01, 0.9, "faster"),
        (0.001, 0.01, 0.01, "same"),
        (0.001, 0.5, 0.01, "same"),
        (0.02, 0.2, 0.6, "inconclusive"),
    ],
)
def test_one_word(difference, p_different, p_within, expected):
    assert welch.verdict(difference, p_different, p_within) == expected


def test_processes_needed_make_the_difference_detectable():
    spread = 0.02
    needed = welch.processes_needed(spread * math.sqrt(2 / 5), 5, 5, 0.03)
    assert needed is not None
    freedom = 2.0 * needed - 2
    assert welch.Welch(0.0, spread * math.sqrt(2 / needed), freedom).detectable() <= 0.03
    assert welch.Welch(0.0, spread * math.sqrt(2 / (needed - 1)), freedom - 2).detectable() > 0.03
    assert welch.processes_needed(10.0, 5, 5, 0.001) is None
