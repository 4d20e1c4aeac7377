"""Pictures: that they are files of their format, hold what the chart says, and come out the same each time."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from perfkit.render import charts
from perfkit.schema.chart import Chart, Missing, Panel, Series

LINE = Series(label="forward", x=(1.0, 10.0), y=(0.001, 0.2), low=(0.0009, math.nan), high=(0.0011, math.nan))
PANEL = Panel(
    series=(LINE, Series(label="train", x=(1.0,), y=(0.5,), look="marks", color=1)),
    missing=(Missing(x=10.0, label="out of memory", color=1),),
    x_title="batch", y_title="step time", y_quantity="s", x_ticks=((1.0, "one"), (10.0, "ten")), x_log=True, y_log=True,
)  # fmt: skip
MEMORY = Panel(series=(Series(label="forward", x=(1.0,), y=(3.0 * 2**30,)),), y_title="memory", y_quantity="B")
CHART = Chart(rows=((PANEL,), (MEMORY,)), notes=("bars: what they are",))


def texts(chart: Chart, monkeypatch) -> set[str]:
    """What the picture says: an SVG whose text is text."""
    monkeypatch.setitem(charts._STYLE, "svg.fonttype", "none")
    return set(re.findall(r"<text[^>]*>([^<]+)</text>", charts.draw(chart, ".svg").decode()))


@pytest.mark.parametrize(("extension", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_of_its_format_and_the_same_each_time(extension, start):
    data = charts.draw(CHART, extension)
    assert data.startswith(start)
    assert data == charts.draw(CHART, extension)


def test_a_picture_says_what_the_chart_says(monkeypatch):
    said = texts(CHART, monkeypatch)
    assert {"batch", "one", "ten", "step time", "forward", "train", "out of memory", "bars: what they are"} <= said
    assert {"10 ms", "100 ms", "2.0 GiB", "3.0 GiB"} <= said


def test_memory_is_marked_in_powers_of_two(monkeypatch):
    chart = Chart(rows=((MEMORY,),))
    assert {"0 B", "1.0 GiB", "2.0 GiB", "3.0 GiB"} <= texts(chart, monkeypatch)


def test_the_area_of_a_bubble_is_its_share(monkeypatch):
    """GIVEN points of 1% and 100% of the time below a roof THEN areas of 18 and 909 square points"""
    panel = Panel(
        series=(
            Series(label="fp32 roof", x=(0.1, 100.0), y=(1e10, 1e12), look="roof"),
            Series(label="matmul", x=(1.0, 10.0), y=(5e10, 5e11), share=(0.01, 1.0), look="bubbles"),
        ),
        title="a device", y_quantity="/s", x_ticks=((1.0, "1"), (10.0, "10")), x_log=True, y_log=True,
    )  # fmt: skip
    axes = Figure().subplots()
    charts._panel(axes, panel)
    bubbles = axes.collections[-1]
    assert isinstance(bubbles, PathCollection)
    assert np.asarray(bubbles.get_sizes()).tolist() == [18.0, 909.0]
    assert {"fp32 roof", "matmul", "a device", "100 G", "1 T"} <= texts(Chart(rows=((panel,),)), monkeypatch)


def test_a_chart_of_nothing_is_a_picture_too():
    empty = Panel(series=(), x_ticks=(), y_quantity="s")
    assert charts.draw(Chart(rows=((empty,),)), ".png").startswith(b"\x89PNG")
    assert charts.draw(Chart(rows=()), ".png").startswith(b"\x89PNG")


def test_an_interval_that_is_not_known_has_no_bar():
    assert charts._bars(Series(label="", x=(1.0,), y=(1.0,), low=(math.nan,), high=(math.nan,))) is None
    assert charts._bars(LINE) == [[pytest.approx(0.0001), 0.0], [pytest.approx(0.0001), 0.0]]
