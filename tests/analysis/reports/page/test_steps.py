"""Every sample is drawn, warm-up apart; what stands out has its cause."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.reports.page import steps
from perfkit.analysis.time.account import account_for
from perfkit.schema.chart import Chart
from tests.builders import TraceBuilder
from tests.runs import sample, saved


def panel(section):
    [figure] = section.figures
    assert isinstance(figure, Chart)
    return figure.rows[0][0]


def test_warm_up_is_shaded_and_comes_before_the_first_step():
    """GIVEN a run of one warm-up step and two measured THEN x is 0 for it, 1 and 2 for them, shaded up to 0.5"""
    section = steps.of_record(saved(), ())
    drawn = panel(section)
    assert {one.label: (one.x, one.y) for one in drawn.series} == {
        "warm-up": ((0.0,), (0.5,)),
        "measured": ((1.0, 2.0), (0.02, 0.04)),
    }
    assert drawn.shaded == ((-0.5, 0.5, "warm-up"),)
    assert drawn.x_ticks == ((1.0, "1"), (2.0, "2"))
    assert section.takeaway == "2 steps: median 30.00 ms, from 20.00 ms to 40.00 ms"


@pytest.mark.parametrize(("first", "is_log"), [(28.0, True), (0.1, False)])
def test_steps_are_seen_beside_a_compilation(first, is_log):
    """GIVEN steps of 20 and 40 ms after one of 28 s, or of 0.1 s THEN the axis is logarithmic, or it is not"""
    assert panel(steps.of_record(saved(warmup=(sample(first),)), ())).y_log is is_log


def test_a_step_that_stands_out_is_named_as_sentences_name_it():
    """GIVEN nine steps of 10 ms and a seventh of 100 THEN step 7, counted from 1, stands out, unexplained"""
    walls = [0.1 if number == 7 else 0.01 + number * 1e-6 for number in range(1, 11)]
    section = steps.of_record(saved(steps=tuple(map(sample, walls)), warmup=()), ())
    out = next(one for one in panel(section).series if one.label == "stands out")
    assert (out.x, out.y) == ((7.0,), (0.1,))
    assert out.texts == ("step 7: no counter explains it",)
    assert "1 stands out (7): no counter explains it" in section.takeaway


def test_of_very_many_steps_the_last_are_drawn(monkeypatch):
    """GIVEN room for three samples WHEN there are five steps THEN the last three are drawn, and the page says so"""
    monkeypatch.setattr(steps, "MOST_SAMPLES", 3)
    section = steps.of_record(saved(steps=tuple(map(sample, (1.0, 1.1, 1.2, 1.1, 1.0))), warmup=()), ())
    assert panel(section).series[0].x == (3.0, 4.0, 5.0)
    assert section.notes == ("the last 3 steps are drawn",)


def test_the_steps_of_a_trace_and_their_absence():
    """GIVEN a trace with two steps, and one with none THEN points from 0 on, and what to record"""
    trace = TraceBuilder().step(0, 0, 100).step(1, 200, 400).build()
    section = steps.of_trace(account_for(trace, attribute(trace)).partial)
    assert panel(section).series[0].x == (0.0, 1.0)
    assert panel(section).series[0].y == (100e-9, 200e-9)
    bare = TraceBuilder().range("aten::mm", 0, 10).build()
    assert "call profiler.step()" in steps.of_trace(account_for(bare, attribute(bare)).partial).lacking


def test_a_run_without_measured_steps_says_so():
    assert steps.of_record(saved(steps=(), status="oom"), ()).lacking == "the run has no measured step"
