"""The roofline as a picture: FLOP/s over FLOPs per byte, below the roofs of the precisions that were used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.costs.flops import precision
from perfkit.analysis.costs.hardware.model import Hardware
from perfkit.analysis.costs.roofline.roofs import PRODUCT_KINDS, SUMS, Devices, devices_of, roofed
from perfkit.analysis.kernels import kinds
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.trace_table import View
from perfkit.errors import UsageError
from perfkit.schema.chart import Chart, Panel, Series

_COLORS = 6
"""Categories with most time have a colour each; the rest share one."""
_LEAST = 0.0005
"""Share of the time below which a point is left out."""
_TICKS = (
    (1e-3, "0.001"),
    (1e-2, "0.01"),
    (0.1, "0.1"),
    (1.0, "1"),
    (10.0, "10"),
    (100.0, "100"),
    (1e3, "1,000"),
    (1e4, "10,000"),
)
_POINTS = "each point: an operator with one set of shapes; its area: its share of the time"
_LINES = "lines: the roofs, by bandwidth and by peak; "
_NO_POINT = "work that computes nothing, such as copies, has no point"


def chart(partial: Partial, view: View) -> Chart:
    """A panel for each device. Raises UsageError where the trace has no shapes, or nothing with FLOPs and bytes."""
    devices = devices_of(partial.facts, view.mhz)
    if not partial.facts.has_shapes:
        raise UsageError("a roofline needs shapes: record with record_shapes=True (perfkit run --profiler torch)")
    keys = ["name", "shapes", "kind", "precision", "device"]
    frame = roofed(partial, devices).groupby(keys)[list(SUMS)].sum().reset_index()
    total = frame.groupby("device")["total_ns"].transform("sum")
    done = frame["flops"] - frame["masked_flops"]
    shown = (done > 0) & (frame["bytes"] > 0) & (frame["count_without_bytes"] == 0) & (frame["total_ns"] > 0)
    points = frame.assign(
        x=done / frame["bytes"].where(frame["bytes"] > 0),
        y=done / frame["total_ns"].where(frame["total_ns"] > 0) * 1e9,
        share=frame["total_ns"] / total.where(total > 0),
    )[shown & (frame["total_ns"] >= _LEAST * total)]
    if not len(points):
        raise UsageError("nothing in the trace has counted operations and bytes: --table work shows what there is")
    names = partial.facts.names
    points = points.assign(text=[names[name] for name in points["name"]])
    panels = tuple(
        _panel(points[points["device"] == number], devices, number, partial) for number in points["device"].unique()
    )
    has_roofs = any(one.look == "roof" for panel in panels for one in panel.series)
    return Chart(
        rows=tuple((panel,) for panel in panels), notes=(_POINTS, f"{_LINES}{_NO_POINT}" if has_roofs else _NO_POINT)
    )


def _panel(points: pd.DataFrame, devices: Devices, number: int, partial: Partial) -> Panel:
    hardware = devices.of[number]
    label = "" if number == NONE else partial.facts.device_labels[number]
    title = hardware.name if hardware else f"device {label}: peaks are not known" if label else "peaks are not known"
    low, high = float(points["x"].min()), float(points["x"].max())
    return Panel(
        series=(*_roofs(points, hardware, low / 2, high * 2), *_series(points)),
        title=title,
        x_title="FLOPs per byte",
        y_title="FLOP/s",
        y_quantity="/s",
        x_ticks=tuple(tick for tick in _TICKS if low / 4 <= tick[0] <= high * 4),
        x_log=True,
        y_log=True,
    )


def _series(points: pd.DataFrame) -> tuple[Series, ...]:
    """One for each of the categories with most time, and one for the others."""
    times = points.groupby("kind")["total_ns"].sum().sort_values(ascending=False, kind="stable")
    largest = [int(str(kind)) for kind in times.index[:_COLORS]]
    groups = [(kinds.ALL[kind], points[points["kind"] == kind]) for kind in largest]
    groups.append(("others", points[~points["kind"].isin(largest)]))
    return tuple(
        Series(
            label=name,
            x=tuple(rows["x"]),
            y=tuple(rows["y"]),
            share=tuple(rows["share"]),
            look="bubbles",
            color=color,
            texts=tuple(rows["text"]),
        )
        for color, (name, rows) in enumerate(groups)
        if len(rows)
    )


def _roofs(points: pd.DataFrame, hardware: Hardware | None, low: float, high: float) -> tuple[Series, ...]:
    """A line for each precision of the products: along the bandwidth up to the ridge, then along the peak."""
    if hardware is None:
        return ()
    used = sorted({int(code) for code in points["precision"][points["kind"].isin(PRODUCT_KINDS)]} - {NONE})
    names = [precision.ALL[code] for code in used] or ["fp32"]
    found = []
    for dash, name in enumerate(names):
        peak = hardware.peak(name)
        if peak is None:
            continue
        x = _corners(hardware, peak.flops_per_s, low, high)
        speed = hardware.bandwidth.bytes_per_s if hardware.bandwidth else np.inf
        y = tuple(min(peak.flops_per_s, speed * place) for place in x)
        found.append(Series(label=f"{name} roof", x=tuple(x), y=y, look="roof", color=_COLORS, dash=dash))
    return tuple(found)


def _corners(hardware: Hardware, peak: float, low: float, high: float) -> Sequence[float]:
    ridge = peak / hardware.bandwidth.bytes_per_s if hardware.bandwidth else low
    return [low, ridge, high] if low < ridge < high else [low, high]
