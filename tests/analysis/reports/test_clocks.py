"""The two times of a step: by the run's clock, and in its trace."""

from __future__ import annotations

import pytest

from perfkit.analysis.reports.clocks import by_both_clocks
from perfkit.schema.finding import APART, TRACE_TOTALS, Finding, Rule
from tests.runs import sample, saved

TOTALS = Finding(TRACE_TOTALS, APART.join(("12.00 ms a step (2 steps)", "forward 90.0%")))
OTHER = Finding(Rule("other", "trace", "another"), "12.00 ms a step")
RUN = saved(steps=(sample(0.009), sample(0.013)))


def test_the_first_line_says_both_times_of_a_step():
    """GIVEN steps of 9 and 13 ms by the run's clock, and of 11 and 13 ms in the trace THEN both means are said"""
    [totals, other] = by_both_clocks((TOTALS, OTHER), RUN, (11_000_000, 13_000_000))
    assert totals.what.split(APART) == [
        "12.00 ms a step (2 steps)", "11.00 ms by the run's clock, and the rest between steps", "forward 90.0%",
    ]  # fmt: skip
    assert other == OTHER


@pytest.mark.parametrize(
    ("record", "steps"),
    [
        (None, (11_000_000, 13_000_000)),
        (RUN, (9_000_000, 13_000_400)),  # the same in four digits
        (RUN, (13_000_000,)),  # one step was asked for
        (RUN, ()),
    ],
)
def test_where_they_read_alike_or_are_of_other_steps_nothing_is_said(record, steps):
    assert by_both_clocks((TOTALS, OTHER), record, steps) == [TOTALS, OTHER]
