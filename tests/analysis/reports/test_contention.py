"""What a profiled run says of other programs that took CPU time while it was recorded."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from perfkit.analysis.noise.stability import LOST_EVERY_STEP
from perfkit.analysis.reports import run as run_report
from perfkit.analysis.reports.contention import BUSY_MACHINE, doubted
from perfkit.schema.finding import CLEAN, Cost, Finding, Rule
from perfkit.schema.probes import StepProbes, Window
from perfkit.schema.record import RunRecord
from tests.runs import ENVIRONMENT, quick, sample, saved

SLOW = Rule("slow", "performance", "something to change")
FOUND = (
    Finding(SLOW, "work", Cost(1_000_000, 0.1)),
    Finding(SLOW, "a mistake without a cost"),
    Finding(CLEAN, "clean"),
)


def profiled(steps: int = 4, threads: int = 1, **counters: Any) -> RunRecord:
    """Steps of 10 ms under the profiler, and what 50 ms round them used."""
    return saved(
        config=quick(profiler="torch", measure_steps=steps),
        environment=dataclasses.replace(ENVIRONMENT, num_threads=threads),
        steps=(sample(0.010),) * steps,
        window=Window(wall_s=0.050, probes=StepProbes(**counters)),
    )


@pytest.mark.parametrize("steps", [1, 4])
def test_what_others_took_comes_first_and_costs_are_guessed(steps):
    # GIVEN 30 of 50 ms in which the main thread waited for a CPU
    record = profiled(steps, main_cpu_s=0.020, main_delay_s=0.030)

    # WHEN
    work, mistake, busy = doubted(FOUND, record)

    # THEN that is 60%, and 6 of a step's 10 ms; a trace whose times are too long is not clean
    said = "the steps lose time to preemption by other processes: 60.0%, 6.000 ms of a step in the mean"
    assert (busy.rule, busy.cost.ns, busy.cost.share) == (BUSY_MACHINE, 6_000_000, pytest.approx(0.6))
    assert busy.what.startswith(f"{said}; so times are longer than on a quiet machine")
    assert (work.sure, mistake.sure) == ("guessed", "measured")


def test_the_run_itself_says_so_in_the_words_of_a_plain_one():
    report = run_report.report(profiled(main_cpu_s=0.020, main_delay_s=0.030))
    [lost] = [one for one in report.findings if one.rule is LOST_EVERY_STEP]
    assert lost.what.startswith("the steps lose time to preemption by other processes: 60.0%")
    assert lost.advice.startswith("a quiet machine")


def test_threads_that_wait_though_there_are_cpus_for_all_wait_for_others():
    """GIVEN a main thread that spins while the second of two threads on two CPUs waits THEN others took its time"""
    [*_, busy] = doubted(FOUND, profiled(threads=2, main_cpu_s=0.050, main_delay_s=0.0, other_delay_s=0.025))
    assert "too many threads: 2 threads on 2 CPUs; in the mean one of them waits for a CPU for 50.0%" in busy.what


@pytest.mark.parametrize(
    "record",
    [
        None,
        saved(steps=(), window=None),
        profiled(main_cpu_s=0.048, main_delay_s=0.002),
        profiled(threads=4, main_cpu_s=0.050, main_delay_s=0.0, other_delay_s=0.025),
        profiled(main_cpu_s=0.050, main_delay_s=0.0, gc_s=0.030, collections=3),
    ],
    ids=["no run", "no steps", "quiet", "threads that wait for each other", "its own collections"],
)
def test_what_is_the_programs_own_makes_nothing_doubtful(record):
    assert doubted(FOUND, record) == FOUND
