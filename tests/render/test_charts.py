"""Pictures: that they are files of their format, hold what the chart says, and come out the same each time."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from perfkit.render import charts
from perfkit.render.plots import looks, stack
from perfkit.schema.chart import Chart, Missing, Panel, Series
from perfkit.schema.page.pictures import Picture

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
    monkeypatch.setitem(looks.STYLE, "svg.fonttype", "none")
    return set(re.findall(r"<text[^>]*>([^<]+)</text>", charts.draw(chart, ".svg").decode()))


@pytest.mark.parametrize(("extension", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_a_picture_is_of_its_format_and_the_same_each_time(extension, start):
    data = charts.draw(CHART, extension)
    assert data.startswith(start)
    assert data == charts.draw(CHART, extension)


def test_regions_are_named_by_place():
    """GIVEN two files that differ in names of regions alone WHEN renamed THEN they are equal, and consistent"""
    one = b'<a clip-path="url(#p0123456789)"/><b clip-path="url(#pabcdefabcd)"/><clipPath id="p0123456789">pabcdefabcd'
    other = one.replace(b"#p0123456789", b"#pe63c9c4dfb").replace(b'"p0123456789', b'"pe63c9c4dfb')
    renamed = b'<a clip-path="url(#clip0)"/><b clip-path="url(#clip1)"/><clipPath id="clip0">pabcdefabcd'
    assert charts.clips_by_place(one) == charts.clips_by_place(other) == renamed
    drawn = charts.draw(CHART, ".svg")
    used, defined = (set(re.findall(form, drawn)) for form in (rb"url\(#(\w+)\)", rb'clipPath id="(\w+)"'))
    assert used == defined == {b"clip0", b"clip1"}


def test_a_picture_says_what_the_chart_says(monkeypatch):
    said = texts(CHART, monkeypatch)
    assert {
        "batch, log scale",
        "one",
        "ten",
        "step time, log scale",
        "forward",
        "train",
        "out of memory",
        "bars: what they are",
    } <= said
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


def bars_of(panel: Panel) -> list[int]:
    """How many bars longer than nothing each series has in the picture."""
    axes = Figure().subplots()
    charts._panel(axes, panel)
    segments = [collection.get_segments() for collection in axes.collections if isinstance(collection, LineCollection)]
    return [sum(bool(abs(one[0, 1] - one[1, 1])) for one in some) for some in segments]


def test_as_many_bars_are_drawn_as_there_are_intervals():
    """GIVEN an interval at one of two points, and a series without THEN one bar is drawn"""
    assert bars_of(PANEL) == [1]


def test_a_bar_is_wider_than_the_marker_on_it():
    assert 2 * charts._BARS["capsize"] > charts._LOOKS["line"]["markersize"]


def test_looks_differ_without_colour():
    """GIVEN three colours of bubbles and of lines THEN three markers each"""
    for look in ("line", "dots"):
        axes = Figure().subplots()
        for color in range(3):
            charts._series(axes, Series(label="", x=(1.0,), y=(1.0,), look=look, color=color))
        assert len({line.get_marker() for line in axes.lines}) == 3


def test_an_axis_without_ticks_of_its_own_has_round_ones(monkeypatch):
    """GIVEN a line over 0 to 0.35 s THEN marks at 0.1, 0.2 and 0.3 s, and the shaded stretch has its word"""
    line = Series(label="CPU", x=(0.0, 0.35), y=(1.0, 2.0), look="roof")
    panel = Panel(series=(line,), x_title="time", x_quantity="s", shaded=((0.0, 0.1, "warm-up"),))
    assert {"100 ms", "200 ms", "300 ms", "warm-up"} <= texts(Chart(rows=((panel,),)), monkeypatch)


def test_a_logarithmic_axis_says_so():
    axes = Figure().subplots()
    charts._panel(axes, Panel(series=(LINE,), x_title="context", y_title="step time", y_log=True))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("context", "step time, log scale")


def test_a_ratio_is_not_drawn_from_zero():
    axes = Figure().subplots()
    points = Series(label="", x=(0.0, 1.0), y=(0.99, 1.02))
    charts._panel(axes, Panel(series=(points,), y_from_zero=False))
    assert axes.get_ylim()[0] > 0.9


def test_a_picture_has_its_title_and_what_it_shows(monkeypatch):
    """GIVEN a picture with a name that holds a formula's dollars THEN its words are there as they are"""
    monkeypatch.setitem(looks.STYLE, "svg.fonttype", "none")
    picture = Picture(figure=CHART, title="Cost $a_1$ and $b", takeaway="forward takes 60%", notes=("read it so",))
    said = charts.draw(picture, ".svg").decode()
    for words in ("Cost $a_1$ and $b", "forward takes 60%", "read it so"):
        assert words in said


STACK = Panel(
    series=(
        Series(label="parameters", x=(0.0, 1.0, 2.0), y=(4.0, 4.0, 4.0), look="stack"),
        Series(label="activations", x=(0.0, 1.0, 2.0), y=(0.0, 3.0, 1.0), look="stack", color=4),
        Series(label="peak", x=(1.0,), y=(7.0,), look="circles", color=6),
    ),
    strip=((0.0, 1.9, "forward"), (1.9, 2.0, "backward")),
)  # fmt: skip


def test_areas_stand_upon_each_other():
    """GIVEN 4, 4, 4 and upon it 0, 3, 1 THEN the upper area lies between 4 and 4, 7, 5, and the axis holds them all."""
    edges = [(low.tolist(), high.tolist()) for _, low, high in stack.edges(STACK.series[:2])]
    assert edges == [([0.0, 0.0, 0.0], [4.0, 4.0, 4.0]), ([4.0, 4.0, 4.0], [4.0, 7.0, 5.0])]
    axes = Figure().subplots()
    charts._panel(axes, STACK)
    assert axes.get_ylim()[1] >= 7


def test_a_strip_names_what_there_is_room_for(monkeypatch):
    """GIVEN forward over most of the width and backward over a sliver THEN only forward is written."""
    said = texts(Chart(rows=((STACK,),)), monkeypatch)
    assert {"parameters", "activations", "peak", "forward"} <= said
    assert "backward" not in said
