"""The line of a run: its numbers by hand, and what is left out."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.runs.line import run_totals
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import MemoryPeaks, RunRecord
from tests import runs
from tests.runs import sample


def line(record: RunRecord) -> str:
    found = run_totals(record)
    assert found is not None
    return found.what


def test_a_run_in_one_line():
    """GIVEN steps of 20 and 40 ms (spread 20 / sqrt 2) with 32 tokens each WHEN told THEN 32 / 0.03 tokens a second"""
    saved = runs.saved(memory=MemoryPeaks(resident=round(497.4 * 2**20)))
    assert line(saved) == (
        "30.0 ms ± 14.1 (2 steps, 1 warm-up)   forward 10 · backward 15   1,067 tokens/s   peak 497 MiB"
    )


def test_all_times_have_the_unit_of_the_mean():
    """GIVEN a step of 1.5 s WHEN told THEN three digits of it, as many decimals of its phases, no spread of one step"""
    step = sample(1.5, zero_grad=0.002, forward=0.52, backward=0.95)
    told = line(runs.saved(steps=(step,), warmup=(), config=runs.quick(profiler="torch")))
    assert told == "1.50 s (1 profiled step, 0 warm-up)   forward 0.52 · backward 0.95   21.3 tokens/s"


@pytest.mark.parametrize(("asked", "said"), [(2, "(2 steps, "), (10, "(2 of 10 steps, ")])
def test_a_script_that_ended_before_all_was_measured_says_how_many_are_missing(asked, said):
    """GIVEN a script of which two steps were measured, as many as were asked for or not THEN the line tells"""
    config = dataclasses.replace(runs.quick(measure_steps=asked), workload=Own(name="train.py"))
    assert said in line(runs.saved(config=config))


def test_phases_below_one_percent_are_left_out():
    told = line(runs.saved(steps=(sample(1.0, forward=0.0099, backward=0.01),)))
    assert "   backward 0.01   " in told
    assert "forward" not in told


def test_a_phase_that_would_be_zero_is_left_out():
    """GIVEN phases of 0.4 of 20 ms and 0.6 WHEN told in whole ms THEN the second is 1, the first is nothing"""
    told = line(runs.saved(steps=(sample(0.02, forward=0.0004, backward=0.0006),)))
    assert "   backward 1   " in told
    assert "forward" not in told


def test_without_a_step_there_is_no_line():
    assert run_totals(runs.saved(steps=())) is None
