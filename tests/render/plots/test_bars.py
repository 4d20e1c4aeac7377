"""Bars: a legend entry and a hatch for each part that is there, and times on a round axis."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from perfkit.render.plots import bars
from perfkit.schema.page.figures import BarPart, Bars

WALL = Bars(
    labels=("step 0", "step 1"),
    parts=(
        BarPart(name="compute", values=(60e6, 50e6), key="compute"),
        BarPart(name="idle: blocking", values=(30e6, 20e6), key="blocking"),
        BarPart(name="idle: unknown", values=(10e6, math.nan), key="unknown"),
        BarPart(name="exposed copies", values=(0.0, 0.0), key="exposed copies"),
    ),
    stacked=True,
)


def test_parts_end_to_end_can_be_told_apart_in_grey():
    """GIVEN two steps of 100 and 70 ms THEN their ends, three hatches, and no entry for a part that is nowhere"""
    axes = Figure(figsize=(8, 3)).subplots()
    bars.draw(axes, WALL)
    drawn = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    ends = [round(bar.get_x() + bar.get_width(), 9) for bar in drawn]
    assert ends == [0.06, 0.05, 0.09, 0.07, 0.1, 0.07]
    assert len({bar.get_hatch() for bar in drawn}) == 3
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["compute", "idle: blocking", "idle: unknown"]
    assert [tick for tick in axes.get_xticks() if tick <= 0.1] == [0, 0.02, 0.04, 0.06, 0.08, 0.1]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["step 0", "step 1"]


def test_sides_stand_below_each_other():
    pair = Bars(
        labels=("step",), stacked=False,
        parts=tuple(BarPart(name=name, values=(1e6,), key=f"side-{name.lower()}") for name in "AB"),
    )  # fmt: skip
    axes = Figure().subplots()
    bars.draw(axes, pair)
    a, b = (patch for patch in axes.patches if isinstance(patch, Rectangle))
    assert a.get_y() + a.get_height() <= b.get_y() + 1e-9
    assert a.get_facecolor() != b.get_facecolor()
