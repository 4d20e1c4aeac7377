"""Several processes of one configuration, from medians by hand."""

from __future__ import annotations

import math

import pytest

from perfkit.analysis.reports import repeats
from perfkit.analysis.runs.processes import LeftOut, Process, Side
from perfkit.errors import UsageError
from perfkit.render import terminal
from tests.reports import lines_in, tables_for_people
from tests.runs import ENVIRONMENT, quick

T_ONE = 12.7062
"""Student's t at 97.5% with one degree of freedom: tan(0.475 pi)."""


def process(
    name: str, median_s: float, within: float, steps: int = 3, minute: int = 0, **phases: tuple[float, float]
) -> Process:
    """A process with the median and spread of its step, and those of its phases."""
    every = {"step": (median_s, within), **phases}
    return Process(
        name,
        quick(),
        ENVIRONMENT,
        f"2026-01-02T03:{minute:02}:00+00:00",
        {phase: median for phase, (median, _) in every.items()},
        {phase: spread for phase, (_, spread) in every.items()},
        steps,
    )


def side(*processes: Process, left_out: tuple[LeftOut, ...] = ()) -> Side:
    return Side("", "runs", processes, left_out)


TWO = [
    process("late", 0.08, 0.2, steps=6, minute=2, forward=(0.02, math.nan)),
    process("early", 0.02, 0.1, steps=3, minute=1, forward=(0.02, math.nan)),
]


def test_the_mean_is_geometric_with_students_interval_and_the_spreads_are_of_logarithms():
    # WHEN
    row = repeats.spread_table(TWO).frame.iloc[0]

    # THEN the logarithms differ by ln 4, so that their standard deviation is ln 4 / sqrt 2
    assert row["mean_s"] == pytest.approx(0.04)
    assert row["between"] == pytest.approx(math.log(4) / math.sqrt(2))
    width = math.exp(T_ONE * math.log(4) / 2)
    assert (row["low_s"], row["high_s"]) == pytest.approx((0.04 / width, 0.04 * width), rel=1e-4)


def test_the_spread_within_is_pooled_by_degrees_of_freedom():
    """GIVEN 0.2 over 6 steps, 0.1 over 3, and one step WHEN pooled THEN sqrt((5 x 0.04 + 2 x 0.01) / 7)"""
    row = repeats.spread_table([*TWO, process("one", 0.02, math.nan, steps=1)]).frame.iloc[0]
    assert row["within"] == pytest.approx(math.sqrt(0.22 / 7))
    assert row["processes"] == 3


def test_a_phase_that_a_process_lacks_has_no_mean():
    row = repeats.spread_table([TWO[0], process("other", 0.02, 0.1)]).frame.iloc[1]
    assert row["phase"] == "forward"
    assert math.isnan(row["mean_s"])
    assert math.isnan(row["within"])


def test_each_process_has_its_line_in_the_order_they_ran():
    assert terminal.render(repeats.process_table(TWO), color=False, width=120, top=1).splitlines() == [
        "Processes",
        "process  started                    steps  median step (ms)  spread of steps",
        "────────────────────────────────────────────────────────────────────────────",
        "early    2026-01-02T03:01:00+00:00      3             20.00            10.0%",
        "late     2026-01-02T03:02:00+00:00      6             80.00            20.0%",
    ]


def test_the_spreads_are_shown_whole_for_the_step_and_each_phase():
    near = [process("a", 0.0200, 0.01, forward=(0.0100, 0.03)), process("b", 0.0200, 0.01, forward=(0.0100, 0.03))]
    lines = terminal.render(repeats.spread_table(near), color=False, width=120, top=1).splitlines()
    assert lines[:5] == [
        "Spread between and within processes",
        "phase    processes  mean (ms)  95% low (ms)  95% high (ms)  between processes  within a process",
        "───────────────────────────────────────────────────────────────────────────────────────────────",
        "step             2      20.00         20.00          20.00               0.0%             1.00%",
        "forward          2      10.00         10.00          10.00               0.0%             3.00%",
    ]


def test_the_report_says_both_spreads_and_what_was_left_out():
    # WHEN
    found = repeats.report(side(*TWO, left_out=(LeftOut("run3 (oom)", quick()),)))

    # THEN ln 4 / sqrt 2 = 0.980, sqrt(0.22 / 7) = 0.177
    assert lines_in(found)[1].startswith("2 processes differ by 98.0%, the steps of one process by 17.7%")
    assert lines_in(found)[2:] == ("left out because they did not finish: run3 (oom)",)
    assert (found.summary["processes"], found.summary["left_out"]) == (2, ["run3 (oom)"])
    assert found.summary["between"] == pytest.approx(math.log(4) / math.sqrt(2))
    assert found.summary["within"] == pytest.approx(math.sqrt(0.22 / 7))
    assert found.main_table.name == "spread"
    assert [table.name for table in tables_for_people(found)] == ["processes", "spread"]


@pytest.mark.parametrize(
    ("processes", "line"),
    [
        ([process("a", 0.02, 0.1)], "one finished process"),
        ([process("a", 0.02, math.nan, steps=1), process("b", 0.02, math.nan, steps=1)], "2 processes differ by 0.00%"),
    ],
)
def test_a_spread_that_is_not_known_is_not_said(processes, line):
    found = repeats.report(side(*processes))
    assert lines_in(found)[1].startswith(line)
    assert "steps of one" not in lines_in(found)[1]
    assert len(lines_in(found)) == 2


def test_without_a_finished_run_there_is_no_report():
    with pytest.raises(UsageError, match=r"runs: no finished run: run0 \(oom\), run1 \(interrupted\)"):
        repeats.report(side(left_out=(LeftOut("run0 (oom)", quick()), LeftOut("run1 (interrupted)", quick()))))
