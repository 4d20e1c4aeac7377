"""Each limit from which on something about a run's noise is said: at it, below it and above it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.noise import stability, variance
from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.noise.disturbances import Disturbance
from perfkit.analysis.noise.stability import (
    LEVEL_SHIFT,
    LOST_EVERY_STEP,
    MEMORY_SPILL,
    SLOW_STEPS,
    WARMUP_UNFINISHED,
    Stability,
)
from perfkit.analysis.noise.variance import Share
from perfkit.schema.finding import Cost, Finding
from tests.analysis.noisy import explained, longer, quiet_steps, record
from tests.runs import ENVIRONMENT


@pytest.mark.parametrize(
    ("rule", "share", "warmed", "place"),
    [
        (MEMORY_SPILL, None, True, 0),
        (WARMUP_UNFINISHED, 1.0, False, 0),
        (WARMUP_UNFINISHED, 1.0, True, 2),
        (SLOW_STEPS, 1.0, False, 2),
        (LOST_EVERY_STEP, 0.11, True, 1),
        (LOST_EVERY_STEP, 0.1, True, 2),  # as much as the spread is not more
        (LOST_EVERY_STEP, 0.09, False, 2),
        (SLOW_STEPS, 0.11, True, 2),
    ],
)
def test_what_comes_first(rule, share, warmed, place):
    assert stability._place(Finding(rule, "", Cost(share=share)), 0.1, warmed=warmed) == place


def test_doubts_are_said_once_and_in_order():
    """GIVEN two levels, each of which makes the interval unreliable for the same reason THEN it is said once"""
    steps = quiet_steps(40)
    steps[10:20] = [longer(step, 0.05, main_cpu_s=0.05) for step in steps[10:20]]
    steps[30:] = [longer(step, 0.2, main_cpu_s=0.2) for step in steps[30:]]
    found = explained(record(steps))
    assert [one.rule for one in found.findings].count(LEVEL_SHIFT) > 1
    assert found.doubts == ("the level shifts", "neighbouring steps depend on each other")
    assert not found.interval_reliable


def test_the_first_cause_is_that_of_the_first_finding_with_one():
    found = Stability(0.1, (), math.nan, 0, (), (), ("x", "y"))
    assert (found.first_cause, found.interval_reliable, found.period) == ("x", True, 1)
    assert dataclasses.replace(found, causes=()).first_cause is None


@pytest.mark.parametrize(
    ("cv", "n", "probes", "worth"),
    [(0.02, 5, True, True), (0.0199, 5, True, False), (0.5, 4, True, False), (0.5, 5, False, False)],
)
def test_the_variance_is_taken_apart_from_two_percent_and_five_steps_on(cv, n, probes, worth):
    account = CauseTimes(np.ones(n), seconds={Cause.GC: np.zeros(n)} if probes else {})
    assert stability._is_worth_it(cv, account) == worth


@pytest.mark.parametrize(("share", "cause"), [(0.2, Cause.GC.value), (0.19, None)])
def test_a_fifth_of_the_variance_is_a_cause(share, cause):
    shares = (Share(Cause.GC, share, 0.01), Share(None, 1 - share, math.nan))
    [one] = stability._variance(0.05, shares, math.nan, 0, record(quiet_steps(3)))
    assert (one.cause, bool(one.finding.advice)) == (cause, cause is not None)
    assert one.finding.what.startswith("CV 5.00%: ")
    assert [row.key["cause"] for row in one.finding.evidence] == ["garbage collection", "unexplained"]


@pytest.mark.parametrize(("lost", "costs"), [(0.1, [Cost(100_000_000, 0.1)]), (0.0999, [])])
def test_what_every_step_loses_is_named_from_a_tenth_on(lost, costs):
    account = CauseTimes(np.ones(5), seconds={Cause.STEAL: np.full(5, lost), Cause.WAITING: np.ones(5)})
    assert [one.finding.cost for one in stability._every_step(account, record(quiet_steps(5)))] == costs


def test_what_is_lost_most_comes_first():
    seconds = {Cause.PREEMPTED: np.full(5, 0.02), Cause.GC: np.full(5, 0.03), Cause.FAULTS: np.full(5, 0.05)}
    found = stability._every_step(CauseTimes(np.full(5, 0.1), seconds=seconds), record(quiet_steps(5)))
    assert [one.cause for one in found] == [Cause.FAULTS.value, Cause.GC.value, Cause.PREEMPTED.value]
    assert [one.finding.cost.share for one in found] == pytest.approx([0.5, 0.3, 0.2])


@pytest.mark.parametrize(
    ("threads", "cpus", "delay", "said"),
    [
        (1, 1, 0.1, False),
        (2, 2, 0.029, False),
        (2, 2, 0.03, True),
        (3, 2, 0.0, True),
        (2, 3, 0.0, False),
    ],
)
def test_threads_are_too_many_above_the_cpus_or_from_thirty_percent_of_waiting_on(threads, cpus, delay, said):
    account = CauseTimes(np.full(5, 0.1), seconds={Cause.GC: np.zeros(5)}, delay=np.full(5, delay))
    made = record(quiet_steps(5), environment=dataclasses.replace(ENVIRONMENT, num_threads=threads, cpu_count=cpus))
    found = stability._threads(account, made)
    assert [f"{threads} threads on {cpus} CPUs" in one.finding.what for one in found] == [True] * said
    assert all(("waits for a CPU" in one.finding.what) == (delay >= 0.03) for one in found)
    on_gpu = dataclasses.replace(made, config=made.config.changed(device="cuda"))
    assert (on_gpu.config.step.device, stability._threads(account, on_gpu)) == ("cuda", [])


@pytest.mark.parametrize(
    ("kind", "period", "n", "doubt"),
    [
        ("warm-up", 0, 9, "warm-up is not finished"),
        ("level", 0, 9, "the level shifts"),
        ("mode", 0, 9, "the steps run at two speeds"),
        ("period", 4, 20, ""),
        ("period", 4, 19, "the run holds only 4 whole periods of 4 steps"),
        ("step", 0, 9, ""),
        ("fast step", 0, 9, ""),
    ],
)
def test_what_makes_the_interval_doubtful(kind, period, n, doubt):
    one = Disturbance(kind, (0,), 0.1, 0.1, None, 0.0, period)
    assert stability._doubt(one, n) == doubt


@pytest.mark.parametrize(("n", "left"), [(5, False), (6, True)])
def test_the_spread_without_attributed_steps_is_that_of_five_or_more(n, left):
    """GIVEN one step that collections made slow THEN the others have a spread if they are five"""
    steps = quiet_steps(n)
    steps[-1] = longer(steps[-1], 0.08, main_cpu_s=0.08, gc_s=0.079, collections=1)
    found = explained(record(steps))
    others = [step.wall_s for step in steps[:-1]]
    assert found.attributed == 1
    assert found.cv_without == pytest.approx(
        np.std(others, ddof=1) / np.mean(others) if left else math.nan, nan_ok=True
    )


@pytest.mark.parametrize(("level", "is_said"), [(15, True), (16, False)])
def test_the_spread_without_most_of_the_steps_is_not_spoken_of(level, is_said):
    """GIVEN 30 steps, of which the last 15 or 16 have a cause THEN what is left is half, or less"""
    steps = quiet_steps(30)
    steps[-level:] = [longer(step, 0.08, main_delay_s=0.08) for step in steps[-level:]]
    found = explained(record(steps))
    assert (found.attributed, math.isnan(found.cv_without)) == (level, not is_said)


def test_a_drift_says_which_way():
    rise = np.linspace(1.0, 1.1, 12)
    for wall, way in ((rise, "slower"), (rise[::-1], "faster")):
        [one] = stability._drift(wall, (), record(quiet_steps(3)))
        assert f"from the first to the last they get {way} by " in one.finding.what
    kinds: Any = (("level", False), ("warm-up", False), ("step", True))
    for kind, said in kinds:
        other = Disturbance(kind, (0,), 0.1, 0.1, None, 0.0)
        assert bool(stability._drift(rise, (other,), record(quiet_steps(3)))) == said
    assert stability._drift(rise[[0, 3, 6, 11]], (), record(quiet_steps(3))) == []


# --- shares of the variance --------------------------------------------------------------------------------------


def shares_of(wall, disturbance, **seconds):
    by_cause = {Cause[name]: np.array(part, dtype=float) for name, part in seconds.items()}
    account = CauseTimes(
        np.array(wall, dtype=float), seconds=by_cause, evidence={c: np.zeros(len(wall)) for c in Cause}
    )
    return variance.shares(account, disturbance)


def test_shares_are_covariances_over_the_variance():
    """GIVEN a step of 3 among ones, 1.5 of whose 2 s are collections THEN they have three quarters"""
    one = Disturbance("step", (4,), 2.0, 1.0, Cause.GC, 0.75)
    named, rest = shares_of([1, 1, 1, 1, 3], (one,), GC=[0, 0, 0, 0, 1.5])
    assert (named.cause, rest.cause) == (Cause.GC, None)
    assert (named.share, named.mean_s, rest.share) == pytest.approx((0.75, 0.3, 0.25))


@pytest.mark.parametrize(("part", "count"), [(0.101, 2), (0.099, 1)])
def test_less_than_a_twentieth_is_unexplained(part, count):
    one = Disturbance("step", (4,), 2.0, 1.0, Cause.GC, 0.05)
    assert len(shares_of([1, 1, 1, 1, 3], (one,), GC=[0, 0, 0, 0, part])) == count


def test_more_than_all_is_all():
    """GIVEN 4 s of collections in a step 2 s longer THEN their share is 1, and nothing is left"""
    one = Disturbance("step", (4,), 2.0, 1.0, Cause.GC, 2.0)
    assert [share.share for share in shares_of([1, 1, 1, 1, 3], (one,), GC=[0, 0, 0, 0, 4])] == [1.0, 0.0]


def test_an_event_has_what_is_left_and_a_pattern_what_its_steps_have_above_the_quiet_ones():
    event = Disturbance("step", (4,), 2.0, 1.0, Cause.ALLOCATION, 0.5)
    named, _ = shares_of([1, 1, 1, 1, 3], (event,), GC=[0] * 5)
    assert (named.cause, named.share, named.mean_s) == (Cause.ALLOCATION, pytest.approx(0.5), pytest.approx(0.2))
    pattern = Disturbance("warm-up", (0,), 2.0, 1.0, Cause.WARMUP, 1.0)
    named, rest = shares_of([3, 1, 1, 1, 1], (pattern,), GC=[2, 0, 0, 0, 0])
    assert (named.cause, named.share, rest.share) == (Cause.WARMUP, pytest.approx(1.0), pytest.approx(0.0))
