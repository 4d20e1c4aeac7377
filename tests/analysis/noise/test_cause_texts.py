"""What counters say of a disturbance: the counter of its cause, or the states of the main thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perfkit.analysis.noise import cause_texts
from perfkit.analysis.noise.causes import Cause, CauseTimes
from perfkit.analysis.noise.disturbances import Disturbance


def slow(cause: Cause | None = None) -> Disturbance:
    """The last of five steps, a second longer than the others."""
    return Disturbance("step", (4,), 1.0, 1.0, cause, 1.0)


def said(busy: float, off: float) -> str:
    """Of a step with so much more CPU time, and time off the CPU, of its second in excess."""
    wall, rise = np.array([1.0, 1, 1, 1, 2]), np.array([0.0, 0, 0, 0, 1])
    account = CauseTimes(
        wall, seconds={Cause.CPU_TIME: wall}, evidence={Cause.CPU_TIME: 1 + busy * rise}, off_cpu=0.25 + off * rise
    )
    return cause_texts.own_time(slow(), account)


@pytest.mark.parametrize(
    ("busy", "off", "text"),
    [
        (0.75, 0.0, "75.0% of the difference is CPU time"),
        (0.5, 0.0, ""),
        (0.0, 0.5, ""),
        (0.0, 0.75, "the main thread was off the CPU for 75.0% of the difference"),
        (0.75, 0.75, "75.0% of the difference is CPU time"),
        (2.0, 0.0, "100% of the difference is CPU time"),
        (0.0, 2.0, "the main thread was off the CPU for 100% of the difference"),
    ],
)
def test_more_than_half_is_what_is_said(busy, off, text):
    found = said(busy, off).replace("100.0%", "100%")
    assert found.split(", with no")[0] == text


def test_without_counters_nothing_is_said():
    assert cause_texts.own_time(slow(), CauseTimes(np.ones(5))) == ""


@pytest.mark.parametrize(
    ("cause", "value", "text"),
    [
        (Cause.GC, 2.0, "2.00 collections a step"),
        (Cause.PREEMPTED, 0.0625, "62.50 ms of run delay"),
        (Cause.CPU_TIME, 0.0625, "62.50 ms of CPU time and little run delay"),
        (Cause.ALLOCATION, 3.0, "3.00 calls to cudaMalloc and cudaFree, or retries, a step"),
        (Cause.POWER, None, ""),
    ],
)
def test_the_counter_of_a_cause_is_its_mean_in_these_steps(cause, value, text):
    """GIVEN a counter that is 9 in the quiet steps THEN its value in the slow one is given; an event's likewise"""
    counts: Any = {} if value is None else {cause: np.array([9.0, 9, 9, 9, value])}
    kind = "events" if cause is Cause.ALLOCATION else "evidence"
    assert cause_texts.counter(slow(cause), CauseTimes(np.ones(5), **{kind: counts})) == text
