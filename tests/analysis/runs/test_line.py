"""The line of a run: its numbers by hand, and what is left out."""

from __future__ import annotations

from perfkit.analysis.runs.line import run_totals
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
    """GIVEN a step of 1.5 s WHEN told THEN three digits of it, one less of its phases, and no spread of one step"""
    step = sample(1.5, zero_grad=0.002, forward=0.52, backward=0.95)
    told = line(runs.saved(steps=(step,), warmup=(), config=runs.quick(profiler="torch")))
    assert told == "1.50 s (1 profiled step, 0 warm-up)   forward 0.5 · backward 0.9   21.3 tokens/s"  # 0.95 to even


def test_phases_below_one_percent_are_left_out():
    told = line(runs.saved(steps=(sample(1.0, forward=0.0099, backward=0.01),)))
    assert "   backward 0.0   " in told
    assert "forward" not in told


def test_without_a_step_there_is_no_line():
    assert run_totals(runs.saved(steps=())) is None
