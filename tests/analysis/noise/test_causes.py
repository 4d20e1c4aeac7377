"""Where each step's time went, cause by cause, on a few steps by hand: 100 ms each, so that sums are seen at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.noise import causes
from perfkit.analysis.noise.causes import Cause
from perfkit.schema.probes import Probing, StepProbes
from perfkit.schema.record import StepSample
from tests.analysis.noisy import record
from tests.runs import ENVIRONMENT, quick

RUNNING = {"main_cpu_s": 0.06, "main_delay_s": 0.0, "switches": 0}


def step(**counters: Any) -> StepSample:
    """100 ms, of which the main thread runs 60 and sleeps 40."""
    return StepSample(wall_s=0.1, phases_s={}, probes=StepProbes(**(RUNNING | counters)))


def seconds(cause: Cause, *steps: StepSample, **changes: Any) -> list[float]:
    return causes.times_by_cause(record(list(steps), **changes)).seconds[cause].tolist()


def test_a_thread_that_did_not_switch_did_not_sleep():
    """GIVEN 40 ms off the CPU in two steps, one with a switch THEN that one alone slept; off the CPU are both"""
    steps = [step(), step(switches=1)]
    assert seconds(Cause.WAITING, *steps) == pytest.approx([0.0, 0.04])
    assert causes.times_by_cause(record(steps)).off_cpu == pytest.approx([0.04, 0.04])


@pytest.mark.parametrize(("warmup", "warmed"), [(1, False), (2, True)])
@pytest.mark.parametrize("probed", [True, False])
def test_two_warm_up_steps_are_what_it_takes(warmup, warmed, probed):
    steps = [step(), step() if probed else dataclasses.replace(step(), probes=None)]
    found = causes.times_by_cause(record(steps, config=quick(warmup_steps=warmup, measure_steps=2)))
    assert (found.warmed, found.has_probes) == (warmed, probed)


@pytest.mark.parametrize(
    ("delays", "delay"), [((0.01, 0.02), 0.02), ((0.02, 0.01), 0.02), ((0.3, 0.0), 0.1), ((0.0, 0.3), 0.1)]
)
def test_the_delay_is_that_of_the_thread_that_waited_longest_and_no_more_than_the_step(delays, delay):
    main, other = delays
    found = causes.times_by_cause(record([step(main_delay_s=main, other_delay_s=other)] * 2))
    assert found.delay == pytest.approx([delay, delay])


@pytest.mark.parametrize(
    ("cause", "counter", "order"),
    [
        (Cause.GC, "gc_s", (0.03, 0.0, 0.0)),
        (Cause.COMPILE, "compile_s", (0.03, 0.05, 0.02)),
        (Cause.THROTTLED, "throttled_s", (0.03, 0.05, 0.02)),
        (Cause.STEAL, "steal_s", (0.03, 0.05, 0.02)),
    ],
)
def test_a_cause_takes_no_more_than_the_states_it_can_be_in(cause, counter, order):
    """GIVEN 30 ms running, 20 ready and 50 asleep, and a counter that has a second THEN collections had only the first
    and the others all of it"""
    made = record(
        [step(main_cpu_s=0.03, main_delay_s=0.02, **{counter: 1.0})] * 2,
        environment=dataclasses.replace(ENVIRONMENT, num_threads=2, cpu_count=2),
    )
    assert causes.times_by_cause(made).seconds[cause].tolist() == pytest.approx([sum(order)] * 2)


@pytest.mark.parametrize(
    ("counter", "left"),
    [("compile_s", (0.0, 0.02, 0.03)), ("throttled_s", (0.03, 0.0, 0.03)), ("steal_s", (0.03, 0.02, 0.01))],
)
def test_a_cause_takes_of_its_own_states_in_order(counter, left):
    """GIVEN 30 ms running, 20 ready and 50 asleep, and 40 or 50 ms of a cause THEN compilation takes from what runs
    and then sleeps, throttling from what is ready and then sleeps, steal from what sleeps"""
    amount = {"compile_s": 0.05, "throttled_s": 0.04, "steal_s": 0.04}[counter]
    made = record(
        [step(main_cpu_s=0.03, main_delay_s=0.02, switches=1, **{counter: amount})] * 2,
        environment=dataclasses.replace(ENVIRONMENT, num_threads=2, cpu_count=2),
    )
    found = causes.times_by_cause(made).seconds
    states = (found[Cause.CPU_TIME][0], found[Cause.PREEMPTED][0], found[Cause.WAITING][0])
    assert states == pytest.approx(left)


@pytest.mark.parametrize(("threads", "cpus", "share"), [(1, 4, 0.25), (4, 4, 1.0), (8, 4, 1.0), (1, 0, 1.0)])
def test_steal_is_the_runs_by_its_part_of_the_cpus(threads, cpus, share):
    environment = dataclasses.replace(ENVIRONMENT, num_threads=threads, cpu_count=cpus)
    assert seconds(Cause.STEAL, *[step(steal_s=0.02)] * 2, environment=environment) == pytest.approx([0.02 * share] * 2)


def test_minor_faults_cost_what_one_was_measured_to():
    steps = [step(minor_faults=1000), step(minor_faults=0)]
    probing = Probing(seconds_per_step=0.0, seconds_per_fault=2e-6)
    assert seconds(Cause.FAULTS, *steps, probing=probing) == pytest.approx([0.002, 0.0])
    assert seconds(Cause.FAULTS, *steps, probing=None) == [0.0, 0.0]
    assert seconds(Cause.FAULTS, *steps, probing=Probing(seconds_per_step=0.0)) == [0.0, 0.0]


def test_a_major_fault_has_the_sleep_above_that_of_steps_without_one():
    """GIVEN 40 ms asleep, and 60 in a step with a fault from disk THEN 20 are the disk's; where all have one, all is"""
    from_disk = step(main_cpu_s=0.04, major_faults=1)
    assert seconds(Cause.FAULTS, step(), from_disk, step()) == pytest.approx([0.0, 0.02, 0.0])
    assert seconds(Cause.FAULTS, from_disk, from_disk) == pytest.approx([0.06, 0.06])


def test_both_kinds_of_faults_corroborate():
    evidence = causes.times_by_cause(record([step(minor_faults=3, major_faults=2)] * 2)).evidence
    assert evidence[Cause.FAULTS].tolist() == [5, 5]


def test_the_allocators_three_counters_are_one_event():
    events = causes.times_by_cause(record([step(alloc_retries=1, device_allocs=2, device_frees=4), step()])).events
    assert events[Cause.ALLOCATION].tolist() == [7, 0]


def test_another_threads_delay_is_slept_and_then_spun():
    """GIVEN 40 ms asleep and one step that runs 20 ms more than the other WHEN another thread is delayed by 50 ms THEN
    what it slept is preemption's, and of the spinning no more than it ran above the quiet step (quantile 0.1: 62 ms)"""
    steps = [step(other_delay_s=0.0), step(main_cpu_s=0.08, other_delay_s=0.05)]
    assert seconds(Cause.PREEMPTED, *steps) == pytest.approx([0.0, 0.02 + 0.018])


def test_the_work_of_other_threads_above_the_typical_is_no_sleep():
    """GIVEN three steps in which other threads work 0, 10 and 30 ms THEN the last has 20 ms above the typical"""
    steps = [dataclasses.replace(step(switches=1), cpu_s=0.06 + more) for more in (0.0, 0.01, 0.03)]
    assert seconds(Cause.WAITING, *steps) == pytest.approx([0.04, 0.04, 0.02])
    assert seconds(Cause.CPU_TIME, *steps) == pytest.approx([0.06, 0.06, 0.08])


@pytest.mark.parametrize(("enqueue", "own"), [(0.9 * 0.1, 0.0), (0.0901, 0.06), (0.1, 0.06), (None, 0.0)])
def test_on_a_gpu_the_host_sets_the_pace_above_ninety_percent(enqueue, own):
    """GIVEN a step of 100 ms on a GPU THEN enqueueing must take more than 90 of them for CPU time to be to blame"""
    steps = [dataclasses.replace(step(switches=1), enqueue_s=enqueue)] * 2
    made = dataclasses.replace(record(steps), config=record(steps).config.resolved("cuda"))
    found = causes.times_by_cause(made)
    assert found.seconds[Cause.CPU_TIME].tolist() == pytest.approx([own, own])
    assert found.off_cpu.tolist() == [0.0, 0.0]


def test_delay_at_the_usual_rate_goes_to_what_took_the_cpu_time():
    """GIVEN 10 ms of delay for 20 of CPU time, and a step with twice of both for its collections THEN the 10 ms more
    are the collections'"""
    usual = step(main_cpu_s=0.02, main_delay_s=0.01)
    more = step(main_cpu_s=0.04, main_delay_s=0.02, gc_s=0.02)
    assert seconds(Cause.PREEMPTED, usual, usual, more) == pytest.approx([0.01] * 3)
    assert seconds(Cause.GC, usual, usual, more) == pytest.approx([0.0, 0.0, 0.03])


def test_delay_without_more_cpu_time_stays_where_it_is():
    usual, waits = step(main_cpu_s=0.02, main_delay_s=0.01), step(main_cpu_s=0.02, main_delay_s=0.03)
    assert seconds(Cause.PREEMPTED, usual, usual, waits) == pytest.approx([0.01, 0.01, 0.03])


def test_the_excess_is_a_mean_above_a_median():
    values = np.array([1.0, 2.0, 9.0, 4.0, 8.0])
    assert causes.excess(values, np.array([3, 4]), np.array([0, 1, 2])) == 4.0
