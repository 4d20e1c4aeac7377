"""What a comparison's tables and lines say: columns and notes by table, bounds that are none, copies, gates."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports.comparison import COMPARED_SIDE, DIFFERENT_WORK, FEW_PROCESSES, VERDICT
from perfkit.analysis.runs.comparison import Gate, compare
from perfkit.analysis.statistics import welch
from perfkit.render import cells
from perfkit.schema.finding import NO_COST
from perfkit.schema.parts.workloads import Own
from tests.analysis.sides import compared, five, record, side, sweep
from tests.reports import evidence_that_misses, lines_in, tables_for_people


def names(table) -> list[str]:
    return [column.name for column in table.columns]


def test_the_phases_have_a_column_for_the_phase_and_the_steps_none():
    _, steps, phases = comparison_report.report(compared(1.1)).tables
    assert (steps.name, phases.name) == ("comparison", "phases")
    assert names(steps)[:2] == ["processes", "a_s"]
    assert names(phases)[:3] == ["phase", "processes", "a_s"]
    assert phases.frame["phase"].tolist() == ["forward", "backward", "rest"]
    assert list(steps.frame) == names(steps)


def test_each_table_has_its_own_notes():
    _, steps, phases = comparison_report.report(compared(1.1)).tables
    assert [note.split(";")[0] for note in steps.notes] == [
        "A, B: geometric mean of the processes' medians",
        "detectable: the difference that 4 of 5 comparisons would find at this spread",
    ]
    assert phases.notes == (
        "medians of phases do not add up to the step's; forward includes the loss, rest zero_grad;"
        " verdicts adjusted for 3 rows (Holm)",
    )


def test_one_step_row_is_not_adjusted_and_two_are():
    one = comparison_report.report(compared(1.1)).main_table
    two = comparison_report.report(compare(side("A", sweep()), side("B", sweep(1.1)))).main_table
    assert one.notes[1].endswith("verdicts at the 5% level")
    assert two.notes[1].endswith("verdicts at the 5% level, adjusted for 2 rows (Holm)")


@pytest.mark.parametrize(
    ("n_a", "n_b", "note"),
    [
        (1, 1, "A, B: median of the one process's steps"),
        (1, 2, "A, B: geometric mean of the processes' medians"),
        (2, 1, "A, B: geometric mean of the processes' medians"),
    ],
)
def test_without_an_interval_the_note_says_what_the_times_are(n_a, n_b, note):
    """GIVEN one process on a side or both THEN a median, or a mean of medians as soon as one side has two"""
    found = compare(side("A", five()[:n_a]), side("B", five(1.1, first=1)[:n_b]))
    _, steps, phases = comparison_report.report(found).tables
    assert steps.notes == (note,)
    assert phases.notes == ("medians of phases do not add up to the step's; forward includes the loss, rest zero_grad",)
    shown = tables_for_people(comparison_report.report(found))[-2]
    assert not {"low", "high", "detectable"} & set(names(shown))


@pytest.mark.parametrize(("n_a", "n_b", "text"), [(2, 2, "2"), (2, 3, "2, 3")])
def test_processes_are_counted_by_side_where_they_are_not_as_many(n_a, n_b, text):
    found = compare(side("A", five()[:n_a]), side("B", five(1.1, first=1)[:n_b]))
    assert comparison_report.report(found).main_table.frame["processes"].tolist() == [text]


def test_the_cells_are_the_rows_own():
    found = compared(1.1)
    [row] = found.steps
    cells = comparison_report.report(found).main_table.frame.iloc[0]
    assert (cells["a_s"], cells["b_s"]) == (row.a_s, row.b_s)
    assert cells["difference_s"] == pytest.approx(0.1 * row.a_s)
    assert cells["ratio"] == pytest.approx(1.1)
    assert (cells["low"], cells["high"]) == row.interval
    assert cells["low"] < 1.1 < cells["high"]
    assert (cells["spread_a"], cells["spread_b"], cells["p"]) == (row.spread_a, row.spread_b, row.p)
    assert (cells["interleaved"], cells["changes"], cells["later"]) == ("yes", 9, 15 / 25)


@pytest.mark.parametrize(
    ("high", "detectable", "shown"),
    [(100.0, 10.0, ("100", "1,000.0%")), (100.1, 10.1, (">100", ">1,000%"))],
)
def test_people_read_no_bound_above_a_hundred_times(high, detectable, shown):
    table = comparison_report.report(compared(1.1)).main_table
    frame = table.frame.assign(high=high, detectable=detectable)
    seen = dataclasses.replace(table, frame=frame).seen_by("people")
    assert tuple(cells_of(seen, name) for name in ("high", "detectable")) == shown
    assert not {"p", "spread_a", "spread_b", "interleaved", "changes", "later"} & set(names(seen))
    assert {"low", "high", "ratio", "verdict"} <= set(names(seen))


def cells_of(table, name: str) -> str:
    [column] = [column for column in table.columns if column.name == name]
    [text] = cells.cells(column, table.frame[name])[1]
    return text


def test_a_bound_that_is_not_known_stays_unknown():
    table = comparison_report.report(compared(1.1)).main_table
    assert cells_of(dataclasses.replace(table, frame=table.frame.assign(high=math.nan)), "high") == cells.MISSING


def test_scripts_get_the_interval_even_where_no_row_has_one():
    found = comparison_report.report(compare(side("A", five()[:1]), side("B", five(1.1, first=1)[:1])))
    assert {"low", "high", "detectable", "p"} <= set(names(found.seen_by("scripts").main_table))


def test_the_verdict_costs_what_b_takes_longer():
    found = compared(1.1)
    [row] = found.steps
    [verdict] = [one for one in comparison_report.report(found).findings if one.rule is VERDICT]
    assert (verdict.cost.ns, verdict.cost.share) == (round((row.b_s - row.a_s) * 1e9), pytest.approx(0.1))
    several = compare(side("A", sweep()), side("B", sweep(1.1)))
    assert comparison_report.report(several).findings[-1].cost == NO_COST


def test_evidence_is_in_the_tables():
    found = comparison_report.report(compare(side("A", five()), side("B", five(2.0, batch_size=4))))
    assert [one.rule for one in found.findings if one.evidence] == [DIFFERENT_WORK]
    assert evidence_that_misses(found) == []


@pytest.mark.parametrize(("count", "said"), [(4, True), (5, False)])
def test_fewer_than_five_processes_are_said_to_be_few(count, said):
    found = compare(side("A", five()[:count]), side("B", five(1.1, first=1)[:count]))
    remarks = " ".join(lines_in(comparison_report.report(found)))
    assert ("intervals are wide with so few" in remarks) == said


def test_the_same_number_of_processes_is_a_sides_and_another_one_sides():
    same = compare(side("A", five()[:2]), side("B", five(1.1, first=1)[:2]))
    other = compare(side("A", five()[:2]), side("B", five(1.1, first=1)[:3]))
    assert any(line.startswith("2 processes a side:") for line in lines_in(comparison_report.report(same)))
    assert any(line.startswith("2 processes on a side:") for line in lines_in(comparison_report.report(other)))


def test_one_process_on_one_side_only():
    found = compare(side("A", [record()]), side("B", five(1.1, first=1)[:2]))
    assert ", by one process on a side: " in lines_in(comparison_report.report(found))[-1]


def test_copies_are_counted():
    """GIVEN one record three times against two others THEN five runs hold three measurements"""
    found = compare(side("A", [record()] * 3), side("B", five(1.1, first=1)[:2]), force=True)
    remarks = lines_in(comparison_report.report(found))
    assert any(line.startswith("copies of records: 5 runs hold 3 measurements,") for line in remarks)
    all_one = compare(side("A", [record()] * 2), side("B", [record()] * 2), force=True)
    assert any("4 runs hold 1 measurement," in line for line in lines_in(comparison_report.report(all_one)))
    assert not any("copies" in line for line in lines_in(comparison_report.report(compared(1.1))))


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ("pass", "pass: B is shown to be not more than 2.00% slower"),
        ("slower", "fail: B is shown to be more than 2.00% slower"),
    ],
)
def test_the_line_of_a_gate(outcome, line):
    assert comparison_report.gate_finding(compared(1.0), Gate(outcome), 0.02).what == line


def test_a_gate_that_does_not_pass_lists_what_a_alone_has():
    a = [*sweep(), *five(context_length=64)]
    b = [*sweep(1.1), *five(context_length=128)]
    found = compare(side("A", a), side("B", b))
    line = comparison_report.gate_finding(found, Gate("inconclusive", ("lacking", "one process")), 0.02).what
    assert line == ("no pass: B lacks what A has (context length 64); a side with one process has no interval")
    remarks = lines_in(comparison_report.report(found))
    assert "A only, not compared: context length 64" in remarks
    assert "B only, not compared: context length 128" in remarks


def test_a_side_of_several_configurations_is_said_by_its_number_of_runs():
    """GIVEN two configurations of five processes each THEN 10 runs; of one, what was measured"""

    def sides(found):
        return [one.what for one in comparison_report.report(found).findings if one.rule is COMPARED_SIDE]

    two = sides(compare(side("A", sweep()), side("B", sweep(1.1))))
    assert [text.rpartition(": ")[2] for text in two] == ["10 runs", "10 runs"]
    assert all("parameters" in text for text in sides(compared(1.1)))


@pytest.mark.parametrize(("margin", "difference"), [(0.02, "2.00%"), (0.0, "0.60%")])
def test_what_would_settle_it_is_about_the_margin_or_else_the_difference_seen(margin, difference):
    """GIVEN a difference of 0.6% that spreads hide THEN processes are counted for the margin, without one for 0.6%"""
    found = welch.Welch(*map(np.float64, (math.log(1.006), 0.01, 2.0)))
    [row] = compared(1.1).steps
    row = dataclasses.replace(row, welch=found, spread_a=0.01, spread_b=0.01, n_a=2, n_b=2)
    text, advice = comparison_report._needed(row, margin)
    assert text.startswith(f"finding a difference of {difference} at this spread takes about ")
    assert advice == f"--repeats {text.split()[-4]}"


@pytest.mark.parametrize(
    ("each", "rule", "advice"),
    [(1, VERDICT, "5 such runs, which gives an interval"), (2, FEW_PROCESSES, "5 such runs or more")],
)
def test_two_loops_are_told_of_more_runs_and_not_of_a_flag(each, rule, advice):
    """GIVEN few processes a side, of somebody's loop, WHEN compared THEN no flag is advised: no command measures it"""
    own = [dataclasses.replace(one, config=dataclasses.replace(one.config, workload=Own(name="Net"))) for one in five()]
    found = comparison_report.report(compare(side("A", own[:each]), side("B", own[each : 2 * each])))
    [said] = [finding for finding in found.findings if finding.rule is rule]
    assert said.advice == advice
