"""Parts of runs, sweeps and comparisons."""

from __future__ import annotations

import pandas as pd

from perfkit.analysis.reports import sweep as sweep_report
from perfkit.analysis.reports.page import runs as pages
from perfkit.schema.finding import Finding, Rule, in_reading_order
from perfkit.schema.page.figures import Bars
from perfkit.schema.page.sections import Part
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from tests import sweeps
from tests.runs import quick, saved

_TIMES = (Column("phase"), Column("a_s", "s", "time"), Column("b_s", "s", "time"))


def table(name: str, *rows: tuple[str, float, float]) -> Table:
    return Table(name, name, _TIMES, pd.DataFrame(rows, columns=["phase", "a_s", "b_s"]))


def test_a_run_without_a_trace_says_what_to_record():
    """GIVEN a record alone THEN its steps, four sections that ask for --profiler torch, and where it ran"""
    part = pages.run(saved(), source="here")
    assert [section.anchor for section in part.sections] == [
        "step-times", "wall-time", "modules", "kernels", "timeline", "environment",
    ]  # fmt: skip
    assert all("--profiler torch" in section.lacking for section in part.sections[1:5])


def test_the_findings_of_a_trace_come_with_those_of_its_run():
    rule = Rule("own", "trace", "")
    part = pages.run(saved(), Part(title="", findings=(Finding(rule, "from the trace"),), sections=()))
    assert part.findings[-1].what == "from the trace"
    assert len(part.findings) > 1


def test_a_run_says_its_own_time_before_that_of_its_trace():
    """GIVEN a trace with a first sentence WHEN shown with its run THEN the run's clock comes first, as on a terminal"""
    first = Rule("own", "trace", "", read="first")
    part = pages.run(saved(), Part(title="", findings=(Finding(first, "from the trace"),), sections=()))
    said = [finding.what for finding in in_reading_order(part.findings) if finding.rule.read == "first"]
    assert said[-1] == "from the trace"
    assert "steps" in said[0]


def test_a_comparison_has_pairs_of_bars_the_step_first():
    """GIVEN a step of 30 and 45 ms with a phase of 10 and 20 THEN two pairs, in ns, and the largest change"""
    report = Report("a and b", {}, (table("comparison", ("", 0.03, 0.045)), table("phases", ("forward", 0.01, 0.02))))
    part = pages.comparison(report)
    [section] = part.sections
    [bars] = section.figures
    assert isinstance(bars, Bars)
    assert bars.labels == ("step", "forward")
    assert [part.values for part in bars.parts] == [(30e6, 10e6), (45e6, 20e6)]
    assert section.takeaway == "step changed most: B takes 15.00 ms more"
    assert [table.name for table in section.tables] == ["comparison", "phases"]


def test_very_many_pairs_are_cut(monkeypatch):
    monkeypatch.setattr(pages, "MOST_BARS", 1)
    report = Report("", {}, (table("phases", ("one", 1, 1), ("two", 2, 2)),))
    [bars] = pages.comparison(report).sections[0].figures
    assert isinstance(bars, Bars)
    assert bars.labels == ("one",)


def test_sides_that_cannot_be_compared_say_why():
    assert pages.not_compared("other work").sections[0].lacking == "not compared: other work"


def test_a_sweep_has_its_chart_and_says_its_range():
    """GIVEN two points of 10 and 30 ms THEN the sentence has both"""
    rows = [sweeps.row(quick(context_length=length), *[seconds] * 3) for length, seconds in ((16, 0.01), (32, 0.03))]
    varied = sweep_report.varied(rows)
    [section] = pages.sweep(sweep_report.report(rows, varied), rows, varied, "sweep.csv").sections
    assert section.takeaway == "2 points measured: median step from 10.00 ms to 30.00 ms"
    [alone] = pages.sweep(sweep_report.report(rows[:1], []), rows[:1], [], "sweep.csv").sections
    assert alone.takeaway == "1 point measured: median step 10.00 ms"
    assert len(section.figures) == 1
