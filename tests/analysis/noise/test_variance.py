"""The variance of step times by cause; shares are worked out by hand from cov(cause, wall) / var(wall)."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.analysis.noise.variance import shares

SLOW = 4


def one_slow(seconds: float) -> np.ndarray:
    """Eight steps, of which the fifth has so many seconds and the others none."""
    series = np.zeros(8)
    series[SLOW] = seconds
    return series


def slow(cause: Cause | None, explained: float = 1.0) -> Disturbance:
    """The judgement that the fifth step took a second longer, and why."""
    return Disturbance("step", (SLOW,), excess_s=1.0, quiet_s=1.0, cause=cause, explained=explained)


@pytest.mark.parametrize("part", [1.0, 0.5, 0.06])
def test_a_cause_has_the_part_of_the_excess_that_its_seconds_make_up(part):
    """GIVEN a slow step of which a part is the collector's WHEN shared out THEN that part is its share, 1 in all"""
    times = CauseTimes(1 + one_slow(1), {Cause.GC: one_slow(part)})
    collector, rest = shares(times, [slow(Cause.GC)])
    assert (collector.cause, collector.name) == (Cause.GC, Cause.GC.value)
    assert collector.share == pytest.approx(part)
    assert collector.mean_s == pytest.approx(part / 8)
    assert (rest.cause, rest.name) == (None, "unexplained")
    assert rest.share == pytest.approx(1 - part)
    assert math.isnan(rest.mean_s)


def test_a_cause_of_less_than_a_twentieth_is_not_named():
    """GIVEN a collector with 4% of the excess WHEN shared out THEN all is unexplained"""
    times = CauseTimes(1 + one_slow(1), {Cause.GC: one_slow(0.04)})
    assert [(share.cause, share.share) for share in shares(times, [slow(Cause.GC)])] == [(None, 1.0)]


def test_causes_that_claim_more_than_all_are_scaled_to_it():
    """GIVEN two causes with 1.5 and 0.5 s of a slow step of 1 s more WHEN shared out THEN they have 3/4 and 1/4"""
    times = CauseTimes(1 + one_slow(1), {Cause.GC: one_slow(0.5), Cause.THROTTLED: one_slow(1.5)})
    *named, rest = shares(times, [slow(Cause.GC), slow(Cause.THROTTLED)])
    assert [(share.cause, share.share) for share in named] == [
        (Cause.THROTTLED, pytest.approx(0.75)), (Cause.GC, pytest.approx(0.25)),
    ]  # fmt: skip
    assert rest.share == 0.0


def test_a_pattern_takes_what_its_steps_have_beyond_the_quiet_ones_from_all_causes():
    """GIVEN a first step of 3 s among seven of 1 s, all of it a collector's WHEN judged warm-up THEN it is warm-up's"""
    # GIVEN
    wall = np.array([3.0, 1, 1, 1, 1, 1, 1, 1])
    warm_up = Disturbance("step", (0,), excess_s=2.0, quiet_s=1.0, cause=Cause.WARMUP, explained=1.0)

    # WHEN
    share, rest = shares(CauseTimes(wall, {Cause.GC: wall - 1}), [warm_up])

    # THEN
    assert (share.cause, share.share, share.mean_s) == (Cause.WARMUP, pytest.approx(1.0), pytest.approx(2 / 8))
    assert rest.share == pytest.approx(0.0)


def test_a_cause_without_seconds_has_the_part_that_it_was_judged_to_explain():
    """GIVEN a cause that is only counted, judged to be 60% of the excess WHEN shared out THEN it has 60%"""
    times = CauseTimes(1 + one_slow(1), {Cause.GC: one_slow(0)})
    share, rest = shares(times, [slow(Cause.STEAL, explained=0.6)])
    assert (share.cause, share.share) == (Cause.STEAL, pytest.approx(0.6))
    assert rest.share == pytest.approx(0.4)
