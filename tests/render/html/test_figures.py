"""Figures as data for the page."""

from __future__ import annotations

import json
import math

import numpy as np

from perfkit.render.html import figures
from perfkit.schema.chart import Chart, Missing, Panel, Series
from perfkit.schema.page.figures import BarPart, Bars, HeatMap, Lane, Timeline, Tree


def test_charts_keep_six_digits_and_no_nan():
    """GIVEN points with an interval of which one end is not known THEN null there, and numbers of six digits"""
    series = Series(label="<a>", x=(1.0,), y=(1 / 3,), low=(math.nan,), high=(1.0,), texts=("one\n",))
    panel = Panel(series=(series,), missing=(Missing(x=2.0, label="gone"),), shaded=((0.0, 1.0, "warm-up"),),
                  x_ticks=((1.0, "small\n1M"),))  # fmt: skip
    [[found]] = json.loads(json.dumps(figures.data(Chart(rows=((panel,),))), allow_nan=False))["rows"]
    assert found["series"][0]["y"] == [0.333333]
    assert (found["series"][0]["low"], found["series"][0]["high"]) == ([None], [1.0])
    assert (found["series"][0]["label"], found["series"][0]["texts"]) == ("<a>", ["one\\n"])
    assert found["x_ticks"] == [[1.0, "small, 1M"]]
    assert found["missing"] == [{"x": 2.0, "label": "gone", "color": 0}]


def test_bars_keep_every_nanosecond():
    """GIVEN bars of 1 s and 1 ns, and of a mean THEN whole nanoseconds, which add up as the table's do"""
    parts = (BarPart(name="a", values=(1_000_000_001.0, 10 / 3), key="other"),)
    found = figures.data(Bars(labels=("one", "mean"), parts=parts, stacked=True))
    assert found["parts"][0]["values"] == [1_000_000_001, 3]


def test_a_timeline_has_differences_of_starts():
    """GIVEN items at 5, 8 and 20 THEN 5, 3, 12, and texts by number"""
    numbers = np.array([0, 1, 0])
    lane = Lane(title="stream", kind="device", start=np.array([5, 8, 20]), length=numbers, name=numbers, depth=numbers,
                key=numbers)  # fmt: skip
    found = figures.data(Timeline(span=30, lanes=(lane,), names=("a", "b\x00"), keys=("forward", "backward")))
    assert found["lanes"][0]["start"] == [5, 3, 12]
    assert found["names"] == ["a", "b\\x00"]
    assert (found["kind"], found["span"]) == ("timeline", 30)


def test_the_other_kinds_are_named():
    tree = Tree(labels=("all", "a"), parents=(-1, 0), phases=("forward",), own=((0,), (5,)))
    assert figures.data(tree)["own"] == [[0], [5]]
    assert figures.data(HeatMap(rows=("a",), columns=("forward",), values=((1,),)))["kind"] == "heat"
    bars = Bars(labels=("a",), parts=(BarPart(name="b", values=(math.nan,), key="other"),), stacked=True)
    assert figures.data(bars)["parts"] == [{"name": "b", "values": [None], "key": "other"}]


def test_times_are_shown_by_step():
    """GIVEN totals of two steps THEN half of them are drawn"""
    heat = HeatMap(rows=("a",), columns=("forward",), values=((5_000,),), steps=2)
    assert figures.data(heat)["values"] == [[2_500]]
