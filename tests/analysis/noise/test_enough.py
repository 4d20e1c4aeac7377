"""The line `n = ...`: how well the mean is known, and whether that can be relied on."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from perfkit.analysis.noise import enough, stability
from perfkit.analysis.noise.enough import MEAN_PRECISION
from perfkit.analysis.statistics import stats
from perfkit.render import findings
from tests.analysis.noisy import longer, quiet_steps, record
from tests.runs import quick


def sentence(made, noise=None) -> str:
    found = enough.finding(made, noise)
    asked = made.config.measurement.target_ci is not None  # then the sentence is the answer, else a detail
    assert (found.rule.id, found.rule.read) == (MEAN_PRECISION.id, "by topic" if asked else "detail")
    [line] = findings.lines([found])
    return line


def line_of(steps, **changes) -> str:
    made = record(steps, **changes)
    return sentence(made, stability.examine(made))


def test_it_names_the_rule_that_ended_the_run():
    steps = quiet_steps(24)
    made = record(steps, config=quick(target_ci=0.01, max_time=60.0), ended_by="target-ci")
    assert "n = 24, ended by --target-ci 1.00%: the mean is known to +-0.18%" in sentence(made)
    late = dataclasses.replace(made, ended_by="max-time")
    assert ", ended by --max-time 60.00 s, short of the target:" in sentence(late)
    many = dataclasses.replace(made, ended_by="max-steps", config=quick(target_ci=0.001, max_steps=24))
    line = sentence(many)
    assert ", ended by --max-steps 24, short of the target:" in line
    assert re.search(r"\+-0.10% would need about (\d+) steps; try --max-steps \1$", line)


def test_many_steps_are_written_for_people_and_in_the_flag_for_the_parser():
    made = record(quiet_steps(24), config=quick(target_ci=0.0001, max_steps=24), ended_by="max-steps")
    found = re.search(r"would need about (\d+(?:,\d{3})+) steps; try --max-steps (\d+)$", sentence(made))
    assert found
    assert found[1].replace(",", "") == found[2]


def test_the_alias_says_what_it_really_does():
    made = record(quiet_steps(24), config=quick(target_ci=0.01), ended_by="target-ci")
    for typed in (("--target-cv", "1%"), ("--target-cv=1%",)):
        environment = dataclasses.replace(made.environment, argv=("run", *typed))
        line = sentence(dataclasses.replace(made, environment=environment))
        assert "--target-cv is another name for --target-ci" in line
    assert "--target-cv" not in sentence(made)


def test_an_interval_that_is_not_reliable_says_why():
    steps = [longer(step, 0.0003 * i, main_cpu_s=0.0003 * i) for i, step in enumerate(quiet_steps(30))]
    line = line_of(steps)
    assert line.startswith(
        "n = 30: the mean's interval cannot be relied on, because the steps drift and neighbouring steps depend on each"
        " other; by their autocorrelation alone it would be +-"
    )
    assert "the mean is known" not in line


def test_a_preempted_first_step_is_not_called_warm_up():
    steps = quiet_steps(20)
    steps[0] = longer(steps[0], 0.15, main_delay_s=0.15)
    assert "n = 20: the mean is known to +-" in line_of(steps)
    steps[0] = longer(quiet_steps(20)[0], 0.15, main_cpu_s=0.15)
    assert "because warm-up is not finished" in line_of(steps)


def periodic(n: int):
    steps = quiet_steps(n)
    for index in range(0, n, 8):
        steps[index] = longer(steps[index], 0.08, main_cpu_s=0.08)
    return steps


def test_of_a_period_the_interval_is_that_of_whole_periods():
    """GIVEN 64 steps, every 8th slow THEN the interval is Student's of the means of 8 whole periods"""
    steps = periodic(64)
    means = [sum(step.wall_s for step in steps[i : i + 8]) / 8 for i in range(0, 64, 8)]
    mean = sum(means) / 8
    error = (sum((one - mean) ** 2 for one in means) / 7 / 8) ** 0.5
    width = stats.t_quantile(8) * error / mean
    assert line_of(steps) == (
        f"n = 64, 8 whole periods of 8 steps: the mean of a period is known to +-{width:.2%} (95%, with"
        " the autocorrelation of the periods): enough for +-1.00%"
    )


def test_a_part_of_a_period_is_said_to_be_in_the_mean():
    assert line_of(periodic(67)).endswith(
        "; the mean in the table includes 3 steps of a partial period; try a multiple of 8 steps"
    )


def test_too_few_periods_have_no_interval():
    line = line_of(periodic(34))
    assert "cannot be relied on, because the run holds only 4 whole periods of 8 steps" in line
    assert line.endswith("; try --measure-steps 40 or a larger multiple of 8")


@pytest.mark.parametrize(("asked", "advised"), [(2, True), (10, False)])
def test_more_steps_are_advised_only_to_who_asked_for_fewer(asked, advised):
    """GIVEN a run with one step, of two or (interrupted) of ten THEN ten are advised to the first only"""
    line = sentence(record(quiet_steps(1), config=quick(measure_steps=asked)))
    assert line.startswith("n = 1: too few steps to say how precise the mean is")
    assert ("try --measure-steps 10" in line) == advised


def test_an_interrupted_run_is_not_told_to_set_what_it_has():
    """GIVEN 12 of 500 steps, whose spread asks for fewer than 500 THEN no flag is named for them"""
    steps = quiet_steps(12, cv=0.05)
    wide, short = (sentence(record(steps, config=quick(measure_steps=n))) for n in (500, 12))
    assert re.search(r"would need about (\d+) steps; try --measure-steps \1$", short)
    assert "would need about " in wide
    assert "--measure-steps" not in wide


def test_a_run_that_max_time_ended_is_told_of_max_time():
    """GIVEN a target that 60 s did not reach THEN more time is advised, not --measure-steps"""
    made = record(quiet_steps(24, cv=0.05), config=quick(target_ci=0.01, max_time=60.0), ended_by="max-time")
    assert " steps; try --max-time " in sentence(made)
    assert "--measure-steps" not in sentence(made)


def test_a_mean_that_is_known_just_as_well_as_asked_is_known_well_enough():
    """GIVEN a target that is the half-width itself THEN it is reached; GIVEN one a little below THEN it is not"""
    steps = quiet_steps(24, cv=0.05)
    width = stats.precision(np.array([step.wall_s for step in steps]), 0.01).half_width
    at, below = (sentence(record(steps, config=quick(target_ci=target))) for target in (width, 0.999 * width))
    assert ": enough for +-" in at
    assert "would need about" in below
    assert ": enough for" not in below


@pytest.mark.parametrize(
    ("changes", "ended_by", "needed", "flag"),
    [
        ({"measure_steps": 50}, None, 50, ""),
        ({"measure_steps": 50}, None, 51, "--measure-steps 51"),
        ({"target_ci": 0.01, "max_steps": 50}, "max-steps", 50, ""),
        ({"target_ci": 0.01, "max_steps": 50}, "max-steps", 51, "--max-steps 51"),
        ({"target_ci": 0.01, "max_time": 1.0}, "max-time", 50, "--max-time 5.00"),
    ],
)
def test_the_flag_is_that_of_the_rule_that_ended_the_run_where_the_run_was_to_have_fewer(
    changes, ended_by, needed, flag
):
    """GIVEN steps of 100 ms THEN 50 of them are five seconds"""
    assert enough._flag(record(quiet_steps(3), config=quick(**changes), ended_by=ended_by), needed, 0.1) == flag


@pytest.mark.parametrize(("n", "wanted"), [(39, True), (40, False)])
def test_five_whole_periods_are_enough(n, wanted):
    assert ("try --measure-steps 40" in line_of(periodic(n))) == wanted


@pytest.mark.parametrize(("n", "left"), [(64, ""), (65, "1 step of a partial"), (66, "2 steps of a partial")])
def test_what_is_left_of_the_last_period_is_counted(n, left):
    line = line_of(periodic(n))
    assert left in line
    assert ("partial period" in line) == bool(left)


@pytest.mark.parametrize(("asked", "advised"), [(9, True), (10, False)])
def test_ten_steps_are_what_is_advised(asked, advised):
    line = sentence(record(quiet_steps(1), config=quick(measure_steps=asked)))
    assert ("; try --measure-steps 10 or more" in line) == advised


def test_without_steps_there_is_no_line():
    assert enough.finding(dataclasses.replace(record(quiet_steps(2)), steps=())) is None
