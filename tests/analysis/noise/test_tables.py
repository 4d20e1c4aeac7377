"""What people read of a run's noise, and what scripts do."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perfkit.analysis.noise import texts as noise_texts
from perfkit.analysis.noise.stability import FAST_STEPS, SLOW_STEPS, VARIANCE
from perfkit.analysis.reports import run as run_report
from perfkit.analysis.reports.run import PROBE_COST, RANGE_COST, WARMUP_TIMES
from perfkit.render import findings
from perfkit.schema import units
from perfkit.schema.finding import Finding
from perfkit.schema.probes import Probing
from perfkit.schema.record import AnnotationCost
from tests.analysis.noisy import explained, longer, quiet_steps, record
from tests.reports import evidence_that_misses, lines_in


def noise_lines(made) -> list[str]:
    found = explained(made)
    return findings.lines(found.findings if found is not None else ())


@pytest.fixture
def noisy():
    """A delay in step 13, collections in steps 5 and 20 of 30."""
    steps = quiet_steps()
    steps[12] = longer(steps[12], 0.1, main_delay_s=0.1)
    for index in (4, 19):
        steps[index] = longer(steps[index], 0.05, main_cpu_s=0.05, gc_s=0.05, collections=2)
    return record(steps)


def test_lines_of_a_noisy_run(noisy):
    variance, delayed, collected = sorted(noise_lines(noisy))
    assert variance == (
        "CV 20.3%: 68.0% of the variance comes from preemption by other processes, 32.0% from garbage collection;"
        " 0.00% is unexplained; excluding the 3 steps explained below, CV is 0.28%;"
        " try a quiet machine, or taskset to keep the run on CPUs of its own"
    )
    assert delayed == (
        "step 13 took 99.12 ms (99.2%) more than the others, whose median is 99.95 ms:"
        " preemption by other processes explains 100.0% of the difference (100.1 ms of run delay)"
    )
    assert collected.startswith("steps 5, 20 took up to 50.")
    assert "than the others, whose median is 99.95 ms: garbage collection explains 9" in collected
    assert "% of the difference (2.00 collections a step); try --profiler torch --profile-stack, which" in collected


def lines_of(steps) -> list[str]:
    return noise_lines(record(steps))


def test_a_fast_step_is_called_faster():
    steps = quiet_steps()
    steps[29] = longer(steps[29], -0.05, main_cpu_s=-0.05)
    line = lines_of(steps)[1]
    assert line.startswith("step 30 took 49.")
    assert "%) less than the others, whose median is 99.95 ms: 100.0% of the difference is CPU time; try" in line


def test_a_period_is_said_with_its_numbers_and_what_to_look_for():
    steps = quiet_steps(64)
    for index in range(0, 64, 8):
        steps[index] = longer(steps[index], 0.08, main_cpu_s=0.08)
    variance, period = lines_of(steps)
    assert "of the variance comes from work that repeats every few steps; 0.0" in variance
    assert period.startswith("every 8th step (steps 1, 9, 17, ...) takes ")
    assert "100.0% of the difference is CPU time; try to look for what runs every 8 steps (logging, a " in period


def test_two_speeds_are_said_with_their_numbers():
    steps = quiet_steps()
    for index in (2, 3, 6, 10, 11, 12, 17, 21, 22, 26, 28):
        steps[index] = longer(steps[index], 0.05, main_cpu_s=0.05)
    line = lines_of(steps)[1]
    assert line.startswith("the steps run at two speeds: 11 (steps 3, 4, 7, ...) take 1")
    assert " ms in the mean, and the others 99.95 ms: 100.0% of the difference is CPU time; try" in line


def test_three_turns_of_what_may_be_a_period_are_said_to_be_as_far_apart():
    """GIVEN steps 1, 9 and 17 of 20 at twice the time, too few turns for a period THEN two speeds, 8 steps apart"""
    steps = quiet_steps(20)
    for index in (0, 8, 16):
        steps[index] = longer(steps[index], 0.1, main_cpu_s=0.1)
    line = lines_of(steps)[1]
    assert line.startswith("the steps run at two speeds: 3 (steps 1, 9, 17, 8 apart) take ")


def test_where_nothing_beats_chance_the_line_says_so():
    """GIVEN 100 ms of each step off the CPU, more or less, with no counter that goes with it"""
    noise = np.random.default_rng(0).normal(0.1, 0.006, 30)
    steps = [longer(step, float(seconds)) for step, seconds in zip(quiet_steps(cv=0), noise, strict=True)]
    assert lines_of(steps) == [
        f"CV {units.percent(explained(record(steps)).cv)}: no cause is named, because no counter explains more"
        " of the variance than chance would"
    ]


@pytest.mark.parametrize(
    ("number", "text"), [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (20, "20th")]
)
def test_ordinals(number, text):
    assert noise_texts.ordinal(number) == text


def test_a_quiet_run_has_no_line_of_noise():
    made = record(quiet_steps(20))
    assert noise_lines(made) == []
    assert not any("CV" in line for line in lines_in(run_report.report(made)))


def test_scripts_get_the_account_and_every_finding_with_its_steps(noisy):
    made = run_report.report(noisy)
    account = made.table("noise")
    assert list(account.frame["cause"]) == ["preemption by other processes", "garbage collection", "unexplained"]
    assert account.frame["share"].sum() == pytest.approx(1)
    found = [one for one in made.findings if one.rule.topic == "noise"]
    assert [one.rule for one in found] == [VARIANCE, SLOW_STEPS, SLOW_STEPS]
    assert sorted([row.key["step"] for row in one.evidence] for one in found[1:]) == [[5, 20], [13]]
    assert evidence_that_misses(made) == []


def test_a_run_of_one_step_has_no_such_tables():
    made = run_report.report(record(quiet_steps(1)))
    assert made.table("noise") is None


@pytest.mark.parametrize(
    ("steps", "text"),
    [((6,), "step 6"), ((2, 5, 6, 7, 9), "steps 2, 5 to 7, 9"), ((3, 4), "steps 3 to 4"),
     (tuple(range(1, 40, 2)), "20 steps")],
)  # fmt: skip
def test_step_numbers(steps, text):
    assert noise_texts.numbers(steps) == text


def test_the_probes_cost_is_shown():
    [cost] = findings_by(PROBE_COST, record(quiet_steps(), probing=Probing(seconds_per_step=3.5e-5)))
    assert (cost.what, cost.cost.ns) == ("counters: reading them takes 35.00 us a step, between the steps", 35_000)
    assert findings_by(PROBE_COST, record(quiet_steps(), probing=None)) == []


def test_the_ranges_cost_is_that_of_modules_and_of_backward_nodes():
    """GIVEN 20 modules of 2 us and 100 nodes of 1 us WHEN reported THEN 40 and 100 us a step"""
    cost = AnnotationCost(ranges=20, seconds_per_range=2e-6, nodes=100, seconds_per_node=1e-6)
    [both] = findings_by(RANGE_COST, record(quiet_steps(), annotation=cost))
    assert (both.cost.ns, both.sure) == (140_000, "derived")
    assert both.what.startswith(
        "module ranges: 20 a step, 2.000 us each while nothing records them, about 40.00 us a step;"
    )
    [forward] = findings_by(RANGE_COST, record(quiet_steps(), annotation=dataclasses.replace(cost, nodes=None)))
    assert forward.cost.ns == 40_000
    assert findings_by(RANGE_COST, record(quiet_steps(), annotation=None)) == []


def test_warm_up_steps_are_the_evidence_of_their_line():
    made = record(quiet_steps(), warmup=tuple(quiet_steps(3)))
    [warmup] = findings_by(WARMUP_TIMES, made)
    assert [row.key for row in warmup.evidence] == [{"kind": "warm-up", "step": step} for step in (1, 2, 3)]
    assert evidence_that_misses(run_report.report(made)) == []


def test_slow_steps_cost_what_they_take_too_long_spread_over_all():
    """GIVEN one step of 30 longer by 90 ms THEN 3 ms a step; a fast step costs nothing"""
    for seconds, rule in ((0.09, SLOW_STEPS), (-0.05, FAST_STEPS)):
        steps = quiet_steps(cv=0)
        steps[12] = longer(steps[12], seconds, main_cpu_s=seconds)
        [finding] = findings_by(rule, record(steps))
        cost = finding.cost.ns, finding.cost.share
        assert cost == ((3_000_000, pytest.approx(0.09 / 3.09)) if seconds > 0 else (None, None))


def findings_by(rule, made) -> list[Finding]:
    return [one for one in run_report.report(made).findings if one.rule is rule]
