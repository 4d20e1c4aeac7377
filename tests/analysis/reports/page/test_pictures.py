"""Pictures by name: what each holds, and what it says where there is nothing to show."""

from __future__ import annotations

import math

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports.page import pictures
from perfkit.analysis.reports.page.pictures import Compared, Swept, Traced
from perfkit.analysis.runs.comparison import compare
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from perfkit.schema.chart import Chart, Panel
from perfkit.schema.page.figures import Bars, HeatMap, Tree
from perfkit.schema.page.pictures import Picture
from perfkit.schema.report import Report
from tests import runs, sweeps
from tests.analysis.reports.page.test_layers import model
from tests.analysis.sides import compared, side


def drawn(name: str) -> Picture:
    """The picture of this name of a trace of one step with two layers."""
    trace = model().build()
    traced = Traced(account_for(trace, attribute(trace)), View())
    [plot] = (plot for plot in pictures.OF_TRACES if plot.name == name)
    return plot.build(traced)


@pytest.mark.parametrize(
    ("name", "kind"), [("icicle", Tree), ("layers", HeatMap), ("wall_time", Bars), ("steps", Chart)]
)
def test_a_trace_has_its_pictures(name, kind):
    picture = drawn(name)
    assert isinstance(picture.figure, kind)
    assert picture.title
    assert picture.takeaway


@pytest.mark.parametrize(("name", "why"), [("roofline", "needs shapes"), ("memory", "profile_memory=True")])
def test_what_a_trace_lacks_is_said(name, why):
    with pytest.raises(UsageError, match=why):
        drawn(name)


def ratio(of: Compared) -> tuple[Panel, tuple[str, ...]]:
    picture = pictures.OF_COMPARISONS[0].build(of)
    assert isinstance(picture.figure, Chart)
    [[panel]] = picture.figure.rows
    return panel, picture.notes


def test_a_ratio_has_its_interval():
    """GIVEN B at 1.1 of A in five processes THEN a point at 1.1 within its bar, and the margin round 1"""
    found = compared(1.1, 0.01)
    panel, notes = ratio((comparison_report.report(found), found))
    same, below, above, points = panel.series
    assert (same.y, below.y, above.y) == ((1, 1), (0.99, 0.99), (1.01, 1.01))
    assert points.y[0] == pytest.approx(1.1)
    assert points.low[0] < points.y[0] < points.high[0]
    assert panel.x_ticks[0] == (0.0, "step")
    assert "bars: 95% interval" in notes[0]


def test_one_process_a_side_promises_no_bar():
    found = compare(side("A", [runs.saved()]), side("B", [runs.saved(created="2026-01-02")]))
    panel, notes = ratio((comparison_report.report(found), found))
    assert all(map(math.isnan, panel.series[-1].low))
    assert notes == ("below 1, B is faster", "no bar: one process a side has no interval of the ratio")


def test_traces_have_no_ratio():
    with pytest.raises(UsageError, match="two traces give no interval"):
        ratio((Report("", {}), None))


def test_a_sweep_of_warm_up_shows_it_first():
    assert [plot.name for plot in pictures.of_sweep(("warmup_steps",))] == ["warmup", "growth"]
    rows = [sweeps.row(runs.quick(), 0.1)]
    with pytest.raises(UsageError, match="vary it, as in --warmup-steps"):
        pictures.of_sweep(("seed",))[1].build(Swept(rows, ("seed",), list))
