"""The rules that end a run, on series of known noise."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.analysis.runs import stopping
from perfkit.analysis.statistics import stats
from perfkit.schema.record import StepSample
from tests.runs import quick


def ended(config, walls) -> tuple[int, str | None]:
    """After how many steps, and by which rule."""
    enough, samples = stopping.rule(config), list[StepSample]()
    assert enough(samples) is None  # it is asked before the first step too
    for wall in walls:
        samples.append(StepSample(wall_s=float(wall), phases_s={}))
        if (rule := enough(samples)) is not None:
            return len(samples), rule
    return len(samples), None


def test_without_a_target_the_number_of_steps_is_the_rule():
    assert ended(quick(measure_steps=7), [1.0, 2.0] * 9) == (7, "measure-steps")
    assert ended(quick(measure_steps=7), [1.0] * 6) == (6, None)


def test_a_series_without_noise_ends_at_twenty():
    assert ended(quick(target_ci=0.01), np.linspace(1, 1.001, 99)) == (20, "target-ci")


def test_measure_steps_is_the_fewest_there_may_be():
    assert ended(quick(target_ci=0.01, measure_steps=33), np.tile([1, 1.001], 50)) == (33, "target-ci")


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_is_within_the_target_where_that_ended_the_run(seed):
    walls = np.random.default_rng(seed).normal(1, 0.05, 5000)
    n, rule = ended(quick(target_ci=0.01), walls)
    assert rule == "target-ci"
    assert stats.precision(walls[:n]).half_width <= 0.01
    assert 60 <= n <= 300  # (1.98 x 0.05 / 0.01)^2 = 98 for independent steps


def test_the_interval_is_looked_at_when_n_has_grown_by_a_fifth(monkeypatch):
    looked = []
    original = stats.precision

    def noted(walls):
        looked.append(len(walls))
        return original(walls)

    monkeypatch.setattr(stats, "precision", noted)
    ended(quick(target_ci=0.001, max_steps=60), np.random.default_rng(0).normal(1, 0.2, 60))
    assert looked == [20, 24, 29, 35, 42, 51]


def test_coverage_where_the_target_ends_the_run():
    """GIVEN CV 5% and a target of 2% WHEN 500 runs end by it THEN their intervals cover 92% or more

    A rule that looks at its own interval ends a little too often on a lucky one: hence at least 20 steps.
    """
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        walls = rng.normal(1, 0.05, 400)
        n, rule = ended(quick(target_ci=0.02), walls)
        assert rule == "target-ci"
        covered += abs(walls[:n].mean() - 1) <= stats.precision(walls[:n]).half_width * walls[:n].mean()
    assert covered / 500 >= 0.92


def test_time_and_steps_are_capped():
    noise = np.random.default_rng(0).normal(1, 0.2, 500)
    assert ended(quick(target_ci=0.001, max_time=10.5), noise)[1] == "max-time"
    assert ended(quick(target_ci=0.001, max_time=10.5), noise)[0] in range(9, 14)
    assert ended(quick(target_ci=0.001, max_steps=40), noise) == (40, "max-steps")
    assert ended(quick(target_ci=0.001), noise * 10)[1] == "max-time"


def test_an_interval_as_wide_as_the_target_is_narrow_enough():
    """GIVEN a target that is the half-width of the first 20 steps THEN they end the run, and a narrower one does not"""
    walls = np.random.default_rng(0).normal(1, 0.05, 20)
    width = stats.precision(walls).half_width
    assert ended(quick(target_ci=width), walls) == (20, "target-ci")
    assert ended(quick(target_ci=0.999 * width), walls) == (20, None)


def test_the_time_limit_is_reached_at_the_step_that_fills_it():
    """GIVEN steps of a quarter of a second and one limit of one THEN the fourth ends the run"""
    assert ended(quick(target_ci=0.01, max_time=1.0), np.full(9, 0.25)) == (4, "max-time")
    assert ended(quick(target_ci=0.01, max_time=1.0), np.full(3, 0.25)) == (3, None)
    assert ended(quick(target_ci=0.01, max_time=1.0, max_steps=20), np.full(4, 0.25)) == (4, "max-time")
