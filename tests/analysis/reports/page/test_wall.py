"""Bars of wall time: their parts add up to each step."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.reports.page import wall
from perfkit.analysis.time.account import account_for
from perfkit.schema.page.figures import Bars
from tests.builders import TraceBuilder, host_step


def section(builder: TraceBuilder):
    trace = builder.build()
    return wall.section(account_for(trace, attribute(trace)).partial, ())


def bars(of) -> Bars:
    [figure] = of.figures
    assert isinstance(figure, Bars)
    return figure


def test_the_parts_of_a_bar_add_up_to_the_step():
    """GIVEN a step of 100 ns in which a kernel runs from 20 to 50 THEN 30 ns of compute and 70 ns of idle time"""
    of = section(TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 90).launched("gemm", 10, 20, 50))
    drawn = bars(of)
    assert drawn.labels == ("step 0",)
    assert {part.name: part.values for part in drawn.parts}["compute"] == (30.0,)
    assert sum(part.values[0] for part in drawn.parts) == 100
    assert all(part.key in ("compute", "launch-starved", "unknown") for part in drawn.parts)
    assert of.takeaway.startswith("busy 30.0% of the steps' wall time; most idle time is ")


def test_what_is_outside_the_steps_is_said():
    """GIVEN a step of 100 ns and a kernel from 200 to 250 after it THEN the bar is of the step, and a note has the
    other 150 ns"""
    of = section(TraceBuilder().step(0, 0, 100).launched("gemm", 10, 20, 50).launched("late", 150, 200, 250))
    assert sum(part.values[0] for part in bars(of).parts) == 100
    assert "the bars are of the steps; 150.0 ns outside them are in the table" in of.notes


def test_of_very_many_steps_the_longest_are_drawn_after_the_mean(monkeypatch):
    """GIVEN room for two bars WHEN there are steps of 100, 400 and 300 ns with 30 of compute THEN the last two"""
    monkeypatch.setattr(wall, "MOST_BARS", 2)
    builder = TraceBuilder()
    for step, span in enumerate((100, 400, 300)):
        at = 1000 * step
        builder.step(step, at, at + span).launched("gemm", at + 10, at + 20, at + 50)
    of = section(builder)
    assert bars(of).labels == ("mean of 3", "step 1", "step 2")
    assert {part.name: part.values for part in bars(of).parts}["compute"] == (30.0, 30.0, 30.0)
    assert sum(part.values[0] for part in bars(of).parts) == pytest.approx(800 / 3)
    assert of.notes[0] == "the longest 2 of 3 are drawn, and the mean of all"


def test_without_a_device_there_are_phases_and_what_to_record():
    """GIVEN a host's step of 100 ns THEN a bar of it by phase, and a word about ProfilerActivity.CUDA"""
    of = section(host_step())
    assert "ProfilerActivity.CUDA" in of.lacking
    assert of.notes == ("the table Phases has their sums",)
    assert sum(part.values[0] for part in bars(of).parts) == 100
