"""The growth plot: which points are where."""

from __future__ import annotations

import pytest

from perfkit.analysis.attention.chart import chart
from perfkit.errors import UsageError
from tests.analysis.attention.cells import cell, result, without_times


def test_points_are_times_by_sequence_and_what_did_not_fit_is_marked():
    lacking = without_times(cell(sequence=400), "oom")
    ahead, back = chart([result(cell(sequence=200), 4, 8), result(cell(), held_bytes=7), lacking]).rows[0]
    [series] = ahead.series
    assert (series.label, series.x, series.y) == ("eager, head width 10", (100.0, 200.0), (1, 4))
    assert back.series[0].y == (2, 8)
    assert (ahead.missing[0].x, ahead.missing[0].label) == (400.0, "out of memory")
    assert ahead.x_log
    assert ahead.y_log


def test_one_cell_is_drawn_and_none_is_refused():
    assert not chart([result(cell())]).rows[0][0].x_log
    with pytest.raises(UsageError, match="no cell of the grid has times"):
        chart([without_times(cell(), "error")])
