"""The heat map: a cell with its time for each that has any."""

from __future__ import annotations

from matplotlib.figure import Figure

from perfkit.render.plots import heat
from perfkit.schema.page.figures import HeatMap


def test_cells_say_their_times_a_step():
    axes = Figure().subplots()
    heat.draw(axes, HeatMap(rows=("a", "b"), columns=("forward", "backward"), values=((2_000, 0), (4_000, 6_000))), 2)
    assert [text.get_text() for text in axes.texts] == ["1.000 us", "2.000 us", "3.000 us"]
    assert axes.get_xlabel() == "time in each phase, mean of 2 steps"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
