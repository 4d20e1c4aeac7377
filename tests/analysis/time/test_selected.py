"""A selection without any work, against what the trace has instead."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.time.account import Selection
from perfkit.analysis.time.selected import selected
from perfkit.errors import UsageError
from perfkit.trace.columns import Trace
from tests.builders import TraceBuilder, device_step, host_step

SOURCE = "built by a test"


def two_steps() -> Trace:
    """A first step with a kernel of 30 ns in a module's forward and one of 50 ns outside, and a step without any."""
    b = TraceBuilder().step(0, 0, 100).step(1, 100, 200).module("net", 0, 50)
    return b.launched("gemm", 10, 20, 50).launched("stray", 60, 70, 120).build()


@pytest.mark.parametrize(
    ("trace", "selection", "says"),
    [
        (
            device_step().build(),
            Selection(Phase.BACKWARD),
            f"--phase backward: {SOURCE} has only forward, other: ",
        ),
        (
            two_steps(),
            Selection(Phase.OPTIMIZER, 0),
            f"--phase optimizer: {SOURCE} has only other, forward: ",
        ),
        (
            two_steps(),
            Selection(steps=1),
            f"--steps 1: no device work was launched in this step of {SOURCE}: choose",
        ),
        (two_steps(), Selection(Phase.FORWARD, 1), "--steps 1: no device work was launched in this step"),
        (two_steps(), Selection(steps=2), "--steps 2: this trace has 2 steps, counted from 0"),
        (
            host_step().build(),
            Selection(Phase.RECOMPUTE),
            f"--phase recompute: {SOURCE} has only forward, other: ",
        ),
        (
            TraceBuilder().range("aten::mm", 0, 9).build(),
            Selection(steps=0),
            "--steps 0: this trace has no steps",
        ),
    ],
)
def test_what_is_not_there_is_refused_with_what_there_is(trace: Trace, selection: Selection, says: str) -> None:
    """GIVEN a trace WHEN a phase or a step is selected that has no work THEN refused, most time first"""
    with pytest.raises(UsageError) as caught:
        selected(trace, attribute(trace), selection)
    assert str(caught.value).startswith(says)


def test_what_is_there_is_accounted_for() -> None:
    """GIVEN two steps WHEN a phase, a step or nothing is selected THEN the account has the work of it"""
    trace = two_steps()
    attribution = attribute(trace)
    totals = {
        selection: int(selected(trace, attribution, selection).total.sum())
        for selection in (Selection(), Selection(Phase.FORWARD), Selection(Phase.OTHER, 0), Selection(steps=0))
    }
    assert list(totals.values()) == [80, 30, 50, 80]


def test_a_trace_without_any_work_is_shown_where_nothing_was_selected() -> None:
    """GIVEN perfkit's own trace of no kernel in a step WHEN all of it is asked for THEN no refusal"""
    trace = TraceBuilder().event("k", 5, 9).build()
    assert len(selected(trace, attribute(trace), Selection())) == 1
    with pytest.raises(UsageError, match=f"--phase forward: {SOURCE} has only unlaunched: choose one of these"):
        selected(trace, attribute(trace), Selection(Phase.FORWARD))
