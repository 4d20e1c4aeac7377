"""Figures as the data that the page's JavaScript draws."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from perfkit.render.html.text import clean
from perfkit.schema.chart import Chart, Panel
from perfkit.schema.page.figures import Bars, Figure, HeatMap, Ints, Lane, Timeline, Tree


def data(figure: Figure) -> dict[str, Any]:
    """{kind, ...}: numbers, and texts that are clean. NaN is null."""
    match figure:
        case Chart():
            return {"kind": "chart", "rows": [[_panel(panel) for panel in row] for row in figure.rows]}
        case Bars():
            parts = [
                {"name": clean(part.name), "values": _whole(part.values), "key": part.key} for part in figure.parts
            ]
            return {"kind": "bars", "labels": _texts(figure.labels), "parts": parts, "stacked": figure.stacked}
        case Tree():
            return {
                "kind": "tree",
                "labels": _texts(figure.labels),
                "parents": figure.parents,
                "phases": figure.phases,
                "own": [[round(ns / figure.steps) for ns in row] for row in figure.own],
            }
        case HeatMap():
            return {
                "kind": "heat",
                "rows": _texts(figure.rows),
                "columns": _texts(figure.columns),
                "values": [[round(ns / figure.steps) for ns in row] for row in figure.values],
            }
        case Timeline():
            return {
                "kind": "timeline",
                "span": figure.span,
                "names": _texts(figure.names),
                "labels": {str(place): clean(text) for place, text in figure.labels.items()},
                "keys": figure.keys,
                "lanes": [_lane(lane) for lane in figure.lanes],
            }


def _panel(panel: Panel) -> dict[str, Any]:
    series = [
        {
            **{name: _numbers(getattr(one, name)) for name in ("x", "y", "low", "high", "share")},
            "label": clean(one.label),
            "look": one.look,
            "color": one.color,
            "dash": one.dash,
            "texts": _texts(one.texts),
        }
        for one in panel.series
    ]
    missing = [{**asdict(one), "label": clean(one.label)} for one in panel.missing]
    return {
        "series": series,
        "missing": missing,
        "title": clean(panel.title),
        "x_title": clean(panel.x_title),
        "y_title": clean(panel.y_title),
        "x_quantity": panel.x_quantity,
        "y_quantity": panel.y_quantity,
        "x_ticks": [[place, clean(text.replace("\n", ", "))] for place, text in panel.x_ticks],
        "x_log": panel.x_log,
        "y_log": panel.y_log,
        "shaded": [[begin, end, clean(text)] for begin, end, text in panel.shaded],
        "strip": [[begin, end, clean(text)] for begin, end, text in panel.strip],
    }


def _lane(lane: Lane) -> dict[str, Any]:
    """Starts as differences, which pack better."""
    return {
        "title": clean(lane.title),
        "kind": lane.kind,
        "start": np.diff(lane.start, prepend=0).tolist(),
        **{name: _ints(getattr(lane, name)) for name in ("length", "name", "depth", "key")},
    }


def _ints(values: Ints) -> list[int]:
    return values.tolist()


def _numbers(values: Iterable[float]) -> list[float | None]:
    """Six significant digits: more cannot be seen."""
    return [float(f"{value:.6g}") if math.isfinite(value) else None for value in values]


def _whole(times: Iterable[float]) -> list[int | None]:
    """Times of bars to the nanosecond: they are few, and add up to a table's."""
    return [round(time) if math.isfinite(time) else None for time in times]


def _texts(texts: Iterable[str]) -> list[str]:
    return [clean(text) for text in texts]
