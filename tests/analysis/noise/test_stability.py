"""Every cause of noise, by hand-made counters: named where its own counter says so, and not otherwise."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import msgspec
import numpy as np
import pytest

from perfkit.analysis.noise import cause_texts, causes, disturbances, stability
from perfkit.analysis.noise.causes import Cause
from perfkit.analysis.noise.stability import (
    AUTOCORRELATION,
    DRIFT,
    LOST_EVERY_STEP,
    PERIODIC_STEPS,
    SLOW_STEPS,
    TOO_MANY_THREADS,
    TWO_SPEEDS,
    VARIANCE,
    WARMUP_UNFINISHED,
)
from perfkit.schema.probes import StepProbes
from perfkit.schema.record import StepSample
from tests.analysis.noisy import FAULT_S, explained, longer, quiet_steps, record
from tests.runs import ENVIRONMENT, quick, saved

EXTRA_S = 0.08
COUNTERS: dict[Cause, dict[str, Any]] = {
    Cause.GC: {"main_cpu_s": EXTRA_S, "gc_s": 0.078, "collections": 1},
    Cause.COMPILE: {"main_cpu_s": EXTRA_S, "compile_s": 0.079, "compilations": 1},
    Cause.THROTTLED: {"main_delay_s": EXTRA_S, "throttled_s": 0.09},
    Cause.STEAL: {"main_cpu_s": EXTRA_S, "steal_s": 0.16},
    Cause.PREEMPTED: {"main_delay_s": EXTRA_S, "preemptions": 4},
    Cause.FAULTS: {"main_cpu_s": EXTRA_S, "minor_faults": 50_000},
    Cause.WAITING: {"switches": 1},
    Cause.CPU_TIME: {"main_cpu_s": EXTRA_S},
}
"""What moves when a step takes 80 ms longer, by cause; the main thread sleeps where it neither runs nor is ready."""


@pytest.mark.parametrize("cause", COUNTERS)
@pytest.mark.parametrize("where", [[12], [7, 19, 25]], ids=["one step", "three steps"])
def test_steps_out_of_line_get_their_cause(cause, where):
    # GIVEN
    steps = quiet_steps()
    for index in where:
        steps[index] = longer(steps[index], EXTRA_S, **COUNTERS[cause])

    # WHEN
    found = explained(record(steps))

    # THEN
    assert found.first_cause == cause.value
    assert [(one.kind, one.first, one.cause) for one in found.disturbances] == [("step", i, cause) for i in where]
    [slow] = [finding for finding in found.findings if finding.rule is SLOW_STEPS]
    assert [row.key for row in slow.evidence] == [{"kind": "measured", "step": index + 1} for index in where]
    assert found.attributed == len(where)
    assert found.cv_without < 0.01 < found.cv
    assert found.shares[0].cause is cause
    assert found.shares[0].share > 0.9
    assert found.interval_reliable


@pytest.mark.parametrize("cause", COUNTERS)
def test_a_level_gets_its_cause_from_the_means_of_the_segment(cause):
    # GIVEN the second half half as slow again, no step out of line there
    steps = quiet_steps()
    part = {name: more * 5 / 8 if isinstance(more, float) else more for name, more in COUNTERS[cause].items()}
    part |= {"minor_faults": 31_000} if cause is Cause.FAULTS else {}
    steps[18:] = [longer(step, 0.05, **part) for step in steps[18:]]

    # WHEN
    found = explained(record(steps))

    # THEN
    assert [(one.kind, one.first, one.last, one.cause) for one in found.disturbances] == [("level", 18, 29, cause)]
    assert found.first_cause == cause.value
    assert not found.interval_reliable


@pytest.mark.parametrize("cause", [cause for cause in COUNTERS if cause is not Cause.CPU_TIME])
def test_without_its_own_counter_no_cause_is_named(cause):
    """GIVEN a slow step in which the main thread was neither on a CPU nor ready, nor went to sleep THEN unexplained"""
    steps = quiet_steps()
    steps[12] = longer(steps[12], EXTRA_S)
    found = explained(record(steps))
    assert found.first_cause is None
    [finding] = [finding for finding in found.findings if finding.rule is SLOW_STEPS]
    assert "no counter explains" in finding.what
    assert found.shares[-1].cause is None
    assert found.shares[-1].share > 0.9


@pytest.mark.parametrize("share", [0.55, 0.65])
def test_a_cause_must_make_up_sixty_percent_of_the_excess(share):
    steps = quiet_steps()
    steps[12] = longer(steps[12], EXTRA_S, main_delay_s=share * EXTRA_S)
    [one] = explained(record(steps)).disturbances
    assert one.cause == (Cause.PREEMPTED if share > 0.6 else None)
    assert one.explained == pytest.approx(share, abs=0.02)


def test_what_every_step_has_explains_no_single_one():
    """GIVEN a delay of 30 ms in every step, and one step slower by 20 ms of something else THEN it is not the delay"""
    steps = [longer(step, 0.03, main_delay_s=0.03) for step in quiet_steps()]
    steps[12] = longer(steps[12], 0.03, switches=1)
    found = explained(record(steps))
    assert [one.cause for one in found.disturbances] == [Cause.WAITING]
    [every] = [finding for finding in found.findings if finding.rule is LOST_EVERY_STEP]
    assert every.what.startswith(f"every step loses time to {Cause.PREEMPTED.value}: ")
    assert every.cost.share == pytest.approx(0.03 / 0.131, abs=0.01)


@pytest.mark.parametrize("cause", [Cause.GC, Cause.FAULTS, Cause.CPU_TIME])
def test_delay_that_comes_with_more_work_among_competitors_is_that_works(cause):
    """GIVEN every CPU millisecond costs two of delay, and one step takes 80 ms more CPU time THEN that is the cause"""
    steps = [longer(step, 0.2, main_delay_s=0.2) for step in quiet_steps()]
    steps[12] = longer(steps[12], 3 * EXTRA_S, **COUNTERS[cause], main_delay_s=2 * EXTRA_S)
    found = explained(record(steps))
    assert [one.cause for one in found.disturbances] == [cause]
    [slow] = [finding for finding in found.findings if finding.rule is SLOW_STEPS]
    assert f"{cause.value} {'explain' if cause is Cause.FAULTS else 'explains'} " in slow.what


def test_a_page_fault_has_no_part_in_the_delay_of_a_step_that_was_preempted():
    """GIVEN competitors, and a step that waits 200 ms more, spins 100 ms and has one more fault THEN preemption"""
    steps = [longer(step, 0.2, main_delay_s=0.2, other_delay_s=0.2) for step in quiet_steps()]
    steps[12] = longer(steps[12], 0.3, main_delay_s=0.2, main_cpu_s=0.1, other_delay_s=0.3, minor_faults=1)
    account = causes.times_by_cause(record(steps))
    assert account.seconds[Cause.FAULTS][12] == pytest.approx(101 * FAULT_S, rel=0.1)
    assert [one.cause for one in explained(record(steps)).disturbances] == [Cause.PREEMPTED]


def test_what_every_step_loses_comes_first_where_it_is_more_than_the_spread():
    """GIVEN half of every step lost to others, and a spread of some percent from elsewhere THEN the half is first"""
    noisy = [longer(step, 0.1, main_delay_s=0.1) for step in quiet_steps(cv=0.06)]
    found = explained(record(noisy))
    assert found.cv < 0.1
    assert [one.rule for one in found.findings[:2]] == [LOST_EVERY_STEP, VARIANCE]
    assert found.causes[:2] == (Cause.PREEMPTED.value, Cause.CPU_TIME.value)
    little = [longer(step, 0.015, main_delay_s=0.015) for step in quiet_steps(cv=0.2)]
    assert explained(record(little)).first_cause == Cause.CPU_TIME.value


def test_delay_that_comes_alone_stays_preemption():
    """GIVEN the same competitors, and one step that waits longer for the same CPU time THEN it is preemption"""
    steps = [longer(step, 0.2, main_delay_s=0.2) for step in quiet_steps()]
    steps[12] = longer(steps[12], 0.3, main_delay_s=0.3)
    assert [one.cause for one in explained(record(steps)).disturbances] == [Cause.PREEMPTED]


BUSIER = {
    "a drift": lambda rng, n: 0.003 * np.arange(n),
    "a level": lambda rng, n: 0.03 * (np.arange(n) >= n // 2),
    "a step of four times the time": lambda rng, n: 0.3 * (np.arange(n) == 7),
    "noise of 20%": lambda rng, n: np.abs(rng.normal(0, 0.02, n)),
    "two speeds": lambda rng, n: 0.05 * (rng.random(n) < 0.5),
    "every fifth step": lambda rng, n: 0.05 * (np.arange(n) % 5 == 2),
}


@pytest.mark.parametrize("kind", BUSIER)
@pytest.mark.parametrize("seed", range(3))
def test_more_cpu_time_is_never_a_slower_cpu_alone(kind, seed):
    """GIVEN steps that take more CPU time, by more work or by a slower CPU, which look the same THEN both are said"""
    more = BUSIER[kind](np.random.default_rng(seed), 30)
    steps = [longer(step, float(x), main_cpu_s=float(x)) for step, x in zip(quiet_steps(), more, strict=True)]
    for finding in explained(record(steps)).findings:
        text = f"{finding.what} {finding.advice}"
        assert ("more work" in text) == ("slower CPU" in text)
        assert ("cpupower" in text) <= ("more work recurs at the same steps" in text)


def test_a_main_thread_that_waits_for_one_that_works_does_not_sleep():
    """GIVEN a step in which another thread runs 80 ms longer, and the main one waits THEN that is work, not sleep"""
    steps = quiet_steps()
    steps[12] = longer(steps[12], EXTRA_S, switches=1)
    steps[12] = dataclasses.replace(steps[12], cpu_s=steps[12].cpu_s + EXTRA_S)
    assert [one.cause for one in explained(record(steps)).disturbances] == [Cause.CPU_TIME]


def test_more_cpu_time_is_not_said_where_delay_and_collections_have_a_part():
    steps = quiet_steps()
    steps[12] = longer(steps[12], EXTRA_S, main_cpu_s=0.055, main_delay_s=0.025)
    [one] = explained(record(steps)).disturbances
    assert one.cause is None


def test_another_thread_that_waits_makes_this_one_spin_and_is_to_blame():
    """GIVEN two threads, one of which waits 80 ms for a CPU, while the main one spins THEN preemption, not the CPU"""
    steps = quiet_steps()
    steps[12] = longer(steps[12], EXTRA_S, main_cpu_s=EXTRA_S, other_delay_s=EXTRA_S)
    [one] = explained(record(steps)).disturbances
    assert one.cause is Cause.PREEMPTED


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n", [10, 30, 200])
def test_quiet_series_give_nothing_at_all(n, seed):
    found = explained(record(quiet_steps(n, cv=0.005, seed=seed)))
    assert (found.findings, found.disturbances, found.shares, found.first_cause) == ((), (), (), None)
    assert found.interval_reliable


@pytest.mark.parametrize("seed", range(10))
def test_the_account_closes(seed):
    """GIVEN any mixture of causes and noise THEN the shares are between 0 and 1 and add up to 1"""
    rng = np.random.default_rng(seed)
    steps = quiet_steps(40, cv=0.03, seed=seed)
    for index in rng.integers(0, 40, 15):
        part = COUNTERS[list(COUNTERS)[rng.integers(len(COUNTERS))]]
        steps[index] = longer(steps[index], EXTRA_S, **part)
    shares = explained(record(steps)).shares
    assert sum(one.share for one in shares) == pytest.approx(1, abs=1e-12)
    assert all(0 <= one.share <= 1 for one in shares)
    assert shares[-1].cause is None


def counted(seconds) -> dict[str, Any]:
    names = ("main_cpu_s", "main_delay_s", "other_delay_s", "gc_s", "steal_s", "throttled_s", "compile_s")
    return dict(zip(names, map(float, seconds), strict=True))


@pytest.mark.parametrize("seed", range(10))
def test_no_moment_is_counted_twice(seed):
    """GIVEN counters that contradict each other THEN causes together are never more than wall time, nor negative"""
    rng = np.random.default_rng(seed)
    steps = [
        StepSample(
            wall_s=0.1,
            phases_s={},
            probes=StepProbes(
                **counted(rng.uniform(-0.02, 0.2, 7)),
                switches=1,
                minor_faults=int(rng.integers(100_000)),
                major_faults=int(rng.integers(2)),
            ),
        )
        for _ in range(20)
    ]
    seconds = causes.times_by_cause(record(steps)).seconds
    assert np.sum([*seconds.values()], axis=0).max() <= 0.1 + 1e-12
    assert min(part.min() for part in seconds.values()) >= 0


def test_the_example_of_the_report():
    """GIVEN collections, and delays in some steps, of known variance WHEN accounted THEN it is split as it was made"""
    rng = np.random.default_rng(1)
    steps = quiet_steps(2000)
    collected, delayed = rng.normal(0.02, 0.004, 2000), np.where(rng.random(2000) < 0.3, 0.00436, 0.0)
    steps = [
        longer(step, float(a + b), main_cpu_s=float(a), gc_s=float(a), collections=1, main_delay_s=float(b))
        for step, a, b in zip(steps, collected, delayed, strict=True)
    ]
    first, second, rest = explained(record(steps)).shares
    assert (first.cause, second.cause, rest.cause) == (Cause.GC, Cause.PREEMPTED, None)
    assert first.share == pytest.approx(16 / 20.16, abs=0.03)
    assert second.share == pytest.approx(4 / 20.16, abs=0.03)
    assert first.mean_s == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize("count", [1, 3])
def test_leading_slow_steps_are_warm_up(count):
    steps = quiet_steps()
    for index in range(count):
        steps[index] = longer(steps[index], 0.2, main_cpu_s=0.1, minor_faults=9000, switches=5)
    found = explained(record(steps))
    assert found.first_cause == Cause.WARMUP.value
    [finding] = [finding for finding in found.findings if finding.rule is WARMUP_UNFINISHED]
    assert finding.advice == f"--warmup-steps {5 + count}"
    assert found.shares[0].cause is Cause.WARMUP
    assert found.shares[0].share > 0.95
    assert not found.interval_reliable


def test_a_first_step_that_was_preempted_is_not_warm_up():
    steps = quiet_steps()
    steps[0] = longer(steps[0], 0.2, main_delay_s=0.19)
    assert explained(record(steps)).first_cause == Cause.PREEMPTED.value


@pytest.mark.parametrize(("warmup", "cause"), [(0, Cause.WARMUP), (5, Cause.WAITING)])
def test_warm_up_is_named_before_what_is_larger_only_where_there_was_none(warmup, cause):
    steps = quiet_steps()
    steps[0] = longer(steps[0], 0.01, main_cpu_s=0.01)
    steps[12] = longer(steps[12], EXTRA_S, **COUNTERS[Cause.WAITING])
    found = explained(record(steps, config=quick(warmup_steps=warmup, measure_steps=30)))
    assert found.first_cause == cause.value


@pytest.mark.parametrize(("warmup", "cause"), [(0, Cause.WARMUP), (5, Cause.FAULTS)])
def test_page_faults_of_a_first_step_are_warm_up_only_where_there_was_none(warmup, cause):
    steps = quiet_steps()
    steps[0] = longer(steps[0], EXTRA_S, **COUNTERS[Cause.FAULTS])
    found = explained(record(steps, config=quick(warmup_steps=warmup, measure_steps=30)))
    assert found.first_cause == cause.value


def test_every_counter_reads_as_one():
    for text in cause_texts._COUNTERS.values():
        assert text.count("{}") == 1


@pytest.mark.parametrize(("n", "cv"), [(10, 0.01), (15, 0.05), (30, 0.05)])
def test_warm_up_is_rarely_seen_where_there_is_none(n, cv):
    rng = np.random.default_rng(n)
    alarms = [disturbances.leading_slow(rng.normal(1, cv, n)) > 0 for _ in range(1000)]
    assert np.mean(alarms) <= 0.05


def test_warm_up_is_seen_where_it_is():
    rng = np.random.default_rng(0)
    slow = [1.3, 1.1]
    found = [
        disturbances.leading_slow(np.concatenate((slow, np.ones(13))) * rng.normal(1, 0.01, 15)) for _ in range(200)
    ]
    assert np.mean(np.array(found) == 2) > 0.95


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_few_steps_are_no_base_for_outliers(n):
    steps = quiet_steps(n)
    steps[-1] = longer(steps[-1], EXTRA_S, main_delay_s=EXTRA_S)
    assert explained(record(steps)).disturbances == ()


def test_fewer_than_two_steps_have_no_noise():
    assert stability.examine(record(quiet_steps(1))) is None
    assert stability.examine(saved(steps=())) is None


def test_records_without_counters_are_judged_by_their_times_only():
    steps = [dataclasses.replace(step, probes=None) for step in quiet_steps()]
    steps[12] = dataclasses.replace(steps[12], wall_s=0.2)
    found = explained(record(steps, probing=None))
    assert (found.first_cause, found.shares) == (None, ())
    [finding] = found.findings
    assert (finding.rule, finding.where) == (SLOW_STEPS, "step 13")
    assert math.isnan(found.cv_without)


def test_drift_is_a_finding_and_makes_the_interval_unreliable():
    steps = [longer(step, 0.0003 * i, main_cpu_s=0.0003 * i) for i, step in enumerate(quiet_steps(30))]
    found = explained(record(steps))
    [drift] = [finding for finding in found.findings if finding.rule is DRIFT]
    assert re.search(r"they get slower by 8\.\d+% of the median", drift.what)
    assert not found.interval_reliable


def test_neighbours_that_are_alike_make_the_interval_unreliable():
    rng = np.random.default_rng(3)
    walk = 0.004 * np.sin(np.arange(60) / 3) + rng.normal(0, 0.0005, 60)
    steps = [longer(step, float(x), main_cpu_s=float(x)) for step, x in zip(quiet_steps(60), walk, strict=True)]
    found = explained(record(steps))
    [alike] = [finding for finding in found.findings if finding.rule is AUTOCORRELATION]
    assert re.search(r"\(autocorrelation 0\.[89]\d\): .* independent ones", alike.what)
    assert not found.interval_reliable


@pytest.mark.parametrize(
    ("threads", "delay", "advised"),
    [(1, 0.08, None), (2, 0.01, None), (2, 0.08, "--num-threads 1"), (8, 0.0, "--num-threads 1")],
    ids=["one thread", "enough CPUs", "CPUs that others use", "more threads than CPUs"],
)
def test_too_many_threads(threads, delay, advised):
    environment = dataclasses.replace(ENVIRONMENT, num_threads=threads)
    steps = [longer(step, delay, main_cpu_s=delay, other_delay_s=delay) for step in quiet_steps()]
    found = explained(record(steps, environment=environment))
    assert next((one.advice for one in found.findings if one.rule is TOO_MANY_THREADS), None) == advised


def test_every_cause_has_a_counter_to_show():
    for cause in set(Cause) - set(causes.PATTERNS):
        assert (cause in cause_texts._COUNTERS) != (cause in cause_texts._TIMES)


def test_a_fast_step_is_named_and_nothing_is_called_more_cpu_time():
    """GIVEN 30 steps, of which the last is 50% faster (cases/records/W) THEN it is named, and is all of the variance"""
    steps = quiet_steps()
    steps[-1] = longer(steps[-1], -0.05, main_cpu_s=-0.05)
    found = explained(record(steps))
    [one] = found.disturbances
    assert (one.kind, one.steps, one.cause) == ("fast step", (29,), Cause.FAST)
    assert found.first_cause == Cause.FAST.value
    assert [share.cause for share in found.shares] == [Cause.FAST, None]
    assert found.shares[0].share > 0.99
    assert found.cv_without < 0.01


@pytest.mark.parametrize("where", [[28, 29], [27, 28, 29], [0, 1], [14, 15, 16]], ids=str)
@pytest.mark.parametrize("more", [-0.05, 0.1])
def test_two_or_three_steps_side_by_side_leave_the_interval_alone(where, more):
    """GIVEN steps at 50 or 200 ms side by side (five seeds) THEN they are named, and nothing is said of neighbours"""
    for seed in range(5):
        steps = quiet_steps(cv=0.01, seed=seed)
        for index in where:
            steps[index] = longer(steps[index], more, main_cpu_s=more)
        found = explained(record(steps))
        assert found.doubts == (("warm-up is not finished",) if where[0] == 0 and more > 0 else ())
        assert {step for one in found.disturbances for step in one.steps} == set(where)


def test_a_first_step_that_was_preempted_leaves_the_interval_alone():
    """GIVEN a first step with 190 of its 200 ms more in run delay THEN no line says that warm-up is not finished"""
    steps = quiet_steps()
    steps[0] = longer(steps[0], 0.2, main_delay_s=0.19)
    found = explained(record(steps))
    assert [(one.kind, one.steps, one.cause) for one in found.disturbances] == [("step", (0,), Cause.PREEMPTED)]
    assert found.doubts == ()


@pytest.mark.parametrize(("part", "cause"), [(Cause.CPU_TIME, Cause.PERIODIC), (Cause.GC, Cause.GC)])
def test_every_eighth_step_is_a_period_and_its_first_is_no_warm_up(part, cause):
    """GIVEN steps 1, 9, 17, ... 80 ms longer (cases/records/everyk) THEN that is said, with a counter's cause if any"""
    steps = quiet_steps(64)
    for index in range(0, 64, 8):
        steps[index] = longer(steps[index], EXTRA_S, **COUNTERS[part])
    found = explained(record(steps))
    [one] = found.disturbances
    assert (one.kind, one.period, one.steps, one.cause) == ("period", 8, tuple(range(0, 64, 8)), cause)
    assert one.excess_s == pytest.approx(EXTRA_S, abs=0.001)
    assert found.shares[0].cause is cause
    assert found.doubts == ()
    assert found.period == 8


@pytest.mark.parametrize(("n", "length"), [(40, 4), (40, 8), (100, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_every_few_steps_fast_is_a_period_and_leaves_the_others_alone(n, length, seed):
    """GIVEN every 4th, 8th or 20th step at half the time THEN that is said, and the others are what it is against"""
    steps = quiet_steps(n, seed=seed)
    for index in range(length - 1, n, length):
        steps[index] = longer(steps[index], -0.05, main_cpu_s=-0.05)
    found = explained(record(steps))
    [one] = found.disturbances
    assert (one.kind, one.period, one.steps) == ("period", length, tuple(range(length - 1, n, length)))
    [finding] = [finding for finding in found.findings if finding.rule is PERIODIC_STEPS]
    assert finding.what.startswith(f"every {length}th step (steps {length}, {2 * length}, {3 * length}, ...) takes ")
    assert "less than the others, whose median is 99." in finding.what or "median is 100." in finding.what
    assert (finding.advice.startswith("to look for work that a fast step skips"), finding.cost.ns) == (True, None)
    assert found.attributed == n // length


def test_a_period_of_which_the_run_holds_too_few_makes_the_interval_doubtful():
    """GIVEN 34 steps and a period of 8 THEN four whole periods are too few for an interval"""
    steps = quiet_steps(34)
    for index in range(0, 34, 8):
        steps[index] = longer(steps[index], EXTRA_S, **COUNTERS[Cause.CPU_TIME])
    assert explained(record(steps)).doubts == ("the run holds only 4 whole periods of 8 steps",)


@pytest.mark.parametrize(("part", "cause"), [(Cause.CPU_TIME, Cause.MODES), (Cause.PREEMPTED, Cause.PREEMPTED)])
def test_two_speeds_are_named_and_the_interval_is_doubtful(part, cause):
    """GIVEN 11 of 30 steps, in no order, at 180 ms and the others at 100 ms THEN two speeds are named"""
    slow = (2, 3, 6, 10, 11, 12, 17, 21, 22, 26, 28)
    steps = quiet_steps()
    for index in slow:
        steps[index] = longer(steps[index], EXTRA_S, **COUNTERS[part])
    found = explained(record(steps))
    assert [(one.kind, one.steps, one.cause) for one in found.disturbances] == [("mode", slow, cause)]
    assert found.doubts == ("the steps run at two speeds",)


@pytest.mark.parametrize("seed", range(5))
def test_three_speeds_are_named_and_the_interval_is_doubtful(seed):
    """GIVEN 60 steps at 100, 150 or 200 ms by chance THEN the slower two are named against the fastest"""
    at = np.random.default_rng(seed).integers(0, 3, 60)
    steps = [longer(step, 0.05 * i, main_cpu_s=0.05 * i) for step, i in zip(quiet_steps(60), map(int, at), strict=True)]
    found = explained(record(steps))
    assert {(one.kind, one.steps, one.cause) for one in found.disturbances} == {
        ("mode", tuple(np.flatnonzero(at == 1)), Cause.MODES),
        ("mode", tuple(np.flatnonzero(at == 2)), Cause.MODES),
    }
    assert found.doubts == ("the steps run at three speeds",)
    texts = [finding.what for finding in found.findings if finding.rule is TWO_SPEEDS]
    assert all(
        re.match(r"the steps run at three speeds: \d+ \(.*\) take .* and the fastest \d", text) for text in texts
    )
    assert [share.cause for share in found.shares] == [Cause.MODES, None]
    assert found.shares[0].share > 0.99
    assert all(re.search(r": (99\.\d|100\.0)% of the difference is CPU time$", text) for text in texts)


def test_a_step_out_of_line_among_those_of_a_pattern_is_named_beside_it():
    """GIVEN every fifth of 50 steps 20 ms longer, and one of these a second THEN the period, and that one step"""
    steps = quiet_steps(50)
    for index in range(4, 50, 5):
        steps[index] = longer(steps[index], 0.02, main_cpu_s=0.02)
    steps[24] = longer(steps[24], 1.0, switches=1)
    period, one = explained(record(steps)).disturbances
    assert (period.kind, period.period, 24 in period.steps) == ("period", 5, False)
    assert period.excess_s == pytest.approx(0.02, abs=0.001)
    assert (one.kind, one.steps, one.cause) == ("step", (24,), Cause.WAITING)


@pytest.mark.parametrize("many", [False, True])
def test_what_costs_most_in_all_steps_together_comes_first(many):
    """GIVEN a step of 100 ms more, and one or ten of 60 ms more of another cause THEN 100 > 60 ms, but 600 > 100 ms"""
    steps = quiet_steps(60)
    steps[50] = longer(steps[50], 0.1, switches=1)
    for index in (3, 7, 8, 14, 20, 23, 29, 31, 38, 43)[: 10 if many else 1]:
        steps[index] = longer(steps[index], 0.06, main_delay_s=0.06)
    found = [finding.what for finding in explained(record(steps)).findings]
    assert ["run delay" in text for text in found[1:]] == [many, not many]  # after the shares of the variance


@pytest.mark.parametrize("missing", ["main_delay_s", "main_cpu_s"])
def test_without_the_counters_that_tell_it_from_sleep_nothing_is_called_sleep(missing):
    """GIVEN a system that gives no run delay, or no CPU time of the thread THEN what wall time leaves is no sleep"""
    steps = quiet_steps()
    steps[12] = longer(steps[12], EXTRA_S, switches=1)
    steps = [
        dataclasses.replace(step, probes=msgspec.structs.replace(step.probes, **{missing: None})) for step in steps
    ]
    assert Cause.WAITING.value not in explained(record(steps)).causes


def test_time_off_the_cpu_with_no_more_switches_than_usual_is_unexplained_and_says_what_it_may_be():
    """GIVEN steps that go to sleep 3 to 7 times, one of them 80 ms longer off the CPU and 5 times THEN unexplained"""
    steps = [longer(step, 0.0, switches=3 + i % 5) for i, step in enumerate(quiet_steps())]
    steps[12] = longer(steps[12], EXTRA_S)
    found = explained(record(steps))
    assert found.first_cause is None
    [finding] = [finding for finding in found.findings if finding.rule is SLOW_STEPS]
    assert "off the CPU" in finding.what
    assert "a hypervisor" in finding.what


def test_a_step_is_not_explained_by_what_as_many_quiet_steps_had():
    """GIVEN 60 ms of collections in every fourth step, in none of them as time THEN a slow step there is no garbage"""
    steps = quiet_steps(40)
    for index in range(3, 40, 4):
        steps[index] = longer(steps[index], 0.0, gc_s=0.06, collections=1)
    steps[15] = longer(steps[15], EXTRA_S, main_cpu_s=EXTRA_S)
    assert [one.cause for one in explained(record(steps)).disturbances if one.steps == (15,)] == [None]


def test_a_cause_spread_over_the_steps_beats_chance():
    """GIVEN 15 steps whose CPU time follows their page faults, none out of line THEN the faults are named"""
    rng = np.random.default_rng(4)
    steps = quiet_steps(15)
    for index, faults in enumerate(rng.integers(0, 8000, 15)):
        seconds = float(faults) * FAULT_S
        steps[index] = longer(steps[index], seconds, main_cpu_s=seconds, minor_faults=int(faults))
    found = explained(record(steps))
    assert found.disturbances == ()
    assert found.first_cause == Cause.FAULTS.value


@pytest.mark.parametrize(("seconds", "cause"), [(0.0025, None), (0.005, Cause.FAULTS.value)])
def test_a_cause_of_a_small_part_of_the_variance_is_no_first_cause(seconds, cause):
    """GIVEN faults of a tenth (and of a third) of a variance that is otherwise off the CPU THEN the third is named"""
    rng = np.random.default_rng(2)
    steps = []
    for step, faults, off in zip(quiet_steps(80, cv=0), rng.random(80), rng.normal(0.1, 0.0045, 80), strict=True):
        part = float(faults) * seconds * 12**0.5 / 2**0.5
        steps.append(longer(step, float(off) + part, main_cpu_s=part, minor_faults=int(part / FAULT_S)))
    found = explained(record(steps))
    assert found.shares[0].cause is Cause.FAULTS
    assert (found.shares[0].share >= 0.2) == (cause is not None)
    assert found.first_cause == cause


@pytest.mark.filterwarnings("error")
def test_a_level_of_which_every_step_is_off_the_median_is_judged_by_itself():
    """GIVEN 26 quiet steps, and a level of two slow and two very slow ones THEN no step is left as quiet, and all goes
    by the level's own median"""
    steps = quiet_steps(30)
    for index, more in zip(range(26, 30), (0.1, 0.1, 0.3, 0.3), strict=True):
        steps[index] = longer(steps[index], more, main_cpu_s=more)
    found = explained(record(steps))
    assert {step for one in found.disturbances for step in one.steps} == {26, 27, 28, 29}


def test_a_counter_that_shifts_with_a_level_is_no_part_of_the_account_for_that():
    """GIVEN a second half 50 ms longer off the CPU, with 6 ms more run delay, which is far from explaining it THEN the
    level is unexplained, and so is the variance: one shift each is one coincidence, not fifteen"""
    rng = np.random.default_rng(0)
    steps = [longer(step, 0.0, main_delay_s=float(rng.exponential(0.001))) for step in quiet_steps()]
    steps[15:] = [longer(step, 0.05, main_delay_s=0.006) for step in steps[15:]]
    found = explained(record(steps))
    assert [(one.kind, one.cause) for one in found.disturbances] == [("level", None)]
    assert [share.cause for share in found.shares] == [None]


def test_a_major_fault_has_what_its_step_sleeps_beyond_the_others():
    """GIVEN steps that sleep 30 ms each, one of them 50 ms and with a fault from disk THEN 20 ms are the fault's"""
    steps = [longer(step, 0.03, switches=2) for step in quiet_steps(10, cv=0)]
    steps[4] = longer(steps[4], 0.02, major_faults=1)
    seconds = causes.times_by_cause(record(steps)).seconds
    assert seconds[Cause.FAULTS][4] == pytest.approx(0.02 + 100 * FAULT_S)
    assert seconds[Cause.WAITING] == pytest.approx(np.full(10, 0.03), abs=1e-6)
    slept_in_all = [longer(step, 0.0, major_faults=1) for step in steps]
    assert causes.times_by_cause(record(slept_in_all)).seconds[Cause.FAULTS][0] == pytest.approx(0.03 + 100 * FAULT_S)


def test_what_one_step_loses_is_not_what_every_step_does():
    """GIVEN 400 ms of run delay in one of ten steps of 100 ms, 29% of all time THEN no finding is about every step"""
    steps = quiet_steps(10)
    steps[4] = longer(steps[4], 0.4, main_delay_s=0.4)
    rules = {finding.rule for finding in explained(record(steps)).findings}
    assert rules == {VARIANCE, SLOW_STEPS}
