"""What people read of a run's noise, and what scripts do."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis import noise_report, run_report, stability
from perfkit.schema.probes import Probing
from tests.analysis.noisy import longer, quiet_steps, record
from tests.runs import quick


@pytest.fixture
def noisy():
    """A delay in step 13, collections in steps 5 and 20 of 30."""
    steps = quiet_steps()
    steps[12] = longer(steps[12], 0.1, main_delay_s=0.1)
    for index in (4, 19):
        steps[index] = longer(steps[index], 0.05, main_cpu_s=0.05, gc_s=0.05, collections=2)
    return record(steps)


def test_lines_of_a_noisy_run(noisy):
    variance, collected, delayed = noise_report.lines(stability.examine(noisy))
    assert variance == (
        "CV 20.3%: 68.0% of the variance from preemption by other processes, 32.0% from garbage collection,"
        " 0.00% unexplained; without the attributed 3 steps CV is 0.28%;"
        " try: a quiet machine, taskset to CPUs of its own, or --num-threads 1"
    )
    assert delayed == (
        "step 13 out of line by 99.0%, preemption by other processes: 99.04 ms over 100.0 ms,"
        " 100.0% of it by 100.1 ms of run delay"
    )
    assert collected.startswith("steps 5, 20 out of line by 50.")
    assert collected.endswith("% of it by 2.00 collections a step; try: gc.collect() outside the step")


def test_a_quiet_run_has_no_line_of_noise():
    made = record(quiet_steps(20))
    assert noise_report.lines(stability.examine(made)) == []
    assert noise_report.lines(None) == []
    assert not any("CV" in line for line in run_report.report(made).remarks)


def test_scripts_get_the_account_and_every_finding(noisy):
    made = run_report.report(noisy)
    account, findings = made.table("noise"), made.table("findings")
    assert list(account.frame["cause"]) == ["preemption by other processes", "garbage collection", "unexplained"]
    assert account.frame["share"].sum() == pytest.approx(1)
    assert list(findings.frame["kind"]) == ["variance", "step", "step"]
    assert list(findings.frame["steps"])[1:] == [2, 1]
    assert list(findings.frame["first_step"])[1:] == [5, 13]


def test_a_run_of_one_step_has_no_such_tables():
    made = run_report.report(record(quiet_steps(1)))
    assert made.table("noise") is None


@pytest.mark.parametrize(
    ("steps", "text"),
    [((6,), "step 6"), ((2, 5, 6, 7, 9), "steps 2, 5 to 7, 9"), ((3, 4), "steps 3 to 4"),
     (tuple(range(1, 40, 2)), "20 steps")],
)  # fmt: skip
def test_step_numbers(steps, text, noisy):
    finding = dataclasses.replace(stability.examine(noisy).findings[1], steps=steps)
    assert noise_report._steps(finding) == text


def test_every_kind_of_finding_has_its_sentence(noisy):
    found = stability.examine(noisy)
    for kind in stability.Kind.__args__:
        finding = dataclasses.replace(found.findings[1], kind=kind)
        assert noise_report.lines(dataclasses.replace(found, findings=(finding,)))[0]


def test_precision_names_the_rule_that_ended_the_run():
    steps = quiet_steps(24)
    made = record(steps, config=quick(target_ci=0.01, max_time=60.0), ended_by="target-ci")
    assert "n = 24, ended by --target-ci 1.00%: the mean is known to +-0.18%" in run_report.enough_line(made)
    late = dataclasses.replace(made, ended_by="max-time")
    assert ", ended by --max-time 60.00 s, short of the target:" in run_report.enough_line(late)
    many = dataclasses.replace(made, ended_by="max-steps", config=quick(target_ci=0.001, max_steps=24))
    line = run_report.enough_line(many)
    assert ", ended by --max-steps 24, short of the target:" in line
    assert "+-0.10% would need about --measure-steps" in line


def test_the_alias_says_what_it_really_does():
    made = record(quiet_steps(24), config=quick(target_ci=0.01), ended_by="target-ci")
    for typed in (("--target-cv", "1%"), ("--target-cv=1%",)):
        environment = dataclasses.replace(made.environment, argv=("run", *typed))
        line = run_report.enough_line(dataclasses.replace(made, environment=environment))
        assert "--target-cv is --target-ci" in line
    assert "--target-cv" not in run_report.enough_line(made)


def test_an_interval_that_is_not_reliable_is_called_so():
    steps = [longer(step, 0.0003 * i, main_cpu_s=0.0003 * i) for i, step in enumerate(quiet_steps(30))]
    made = record(steps)
    line = run_report.enough_line(made, stability.examine(made))
    assert "n = 30: CI not reliable (drift, steps depend on each other); independent steps would give +-" in line
    assert "the mean is known" not in line


def test_the_probes_cost_is_shown():
    assert noise_report.probes_line(record(quiet_steps(), probing=Probing(seconds_per_step=3.5e-5))) == (
        "probes: 35.00 us a step, between the steps"
    )
    assert noise_report.probes_line(record(quiet_steps(), probing=None)) is None
