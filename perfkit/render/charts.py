"""Charts to PNG, SVG or PDF, with matplotlib. Computes only the layout."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    MultipleLocator,
    NullLocator,
)

from perfkit.schema import units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ticker import Formatter

    from perfkit.schema.chart import Chart, Look, Panel, Series

_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe and Ito's colours (2008), which colour-blind readers can tell apart; without yellow: too light on white."""
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_PANEL_INCHES = (4.2, 3.0)
_DPI = 160
_LINE_INCHES = 0.2
_STEPS = 6
"""Marks on a linear axis, at most."""
_LEGEND_WIDTH = 58
"""Characters of the labels that stand side by side in a legend."""
_LOOKS: dict[Look, dict[str, Any]] = {
    "line": {"markersize": 5, "linewidth": 1.4},
    "marks": {"linestyle": "none", "marker": "_", "markersize": 12, "markeredgewidth": 1.5, "zorder": 3},
    "dots": {"linestyle": "none", "marker": "o", "markersize": 3.5, "markeredgewidth": 0.9},
    "circles": {"linestyle": "none", "marker": "o", "markersize": 3.5, "markeredgewidth": 0.9},
    "bubbles": {"alpha": 0.6, "linewidths": 0.4, "edgecolors": "white", "zorder": 3},
    "roof": {"linewidth": 1.2},
    "steps": {"linewidth": 1.2, "drawstyle": "steps-post"},
}
_LEAST_AREA, _WHOLE_AREA = 9.0, 900.0
"""Of a bubble, in square points: of a share of 0, and what a share of 1 adds."""
_BARS: Any = {"capsize": 3, "elinewidth": 1.1}
_MISSING: Any = {
    "marker": "x",
    "markersize": 8,
    "markeredgewidth": 2,
    "linestyle": "none",
    "clip_on": False,
    "zorder": 4,
}
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "svg.hashsalt": "perfkit",  # the same chart gives the same file
}


def draw(chart: Chart, extension: str) -> bytes:
    """The picture as a file's content; extension: .png, .svg or .pdf."""
    with mpl.rc_context(_STYLE):
        columns = max(map(len, chart.rows), default=1)
        width, height = _PANEL_INCHES
        lines = len(chart.notes) + 1 + _legend_lines(chart)
        size = (max(width * columns, 6.0), height * max(1, len(chart.rows)) + _LINE_INCHES * lines)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(max(1, len(chart.rows)), columns, squeeze=False)
        for row, axes in enumerate(grid):
            for column, subplot in enumerate(axes):
                panels = chart.rows[row] if row < len(chart.rows) else ()
                if column >= len(panels):
                    subplot.set_axis_off()
                    continue
                _panel(subplot, panels[column])
                if row == 0:
                    _legend(subplot, panels[column])
        figure.supxlabel("\n".join(chart.notes), fontsize=7.5, color="#555555", x=0.01, ha="left")
        buffer = io.BytesIO()
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(extension)
        figure.savefig(buffer, format=extension.removeprefix("."), dpi=_DPI, metadata=metadata)
    return buffer.getvalue()


def _panel(axes: Axes, panel: Panel) -> None:
    for series in panel.series:
        _series(axes, series)
    _scales(axes, panel)
    edge = axes.get_xaxis_transform()  # x as data, y as a share of the height
    for missing in panel.missing:
        color, label = _color(missing.color), missing.label
        axes.plot([missing.x], [1.0], transform=edge, color=color, label=label, **_MISSING)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.x_title)
    axes.set_ylabel(panel.y_title)


def _series(axes: Axes, series: Series) -> None:
    color, label, look = _color(series.color), series.label, dict(_LOOKS[series.look])
    if series.look in ("line", "roof", "steps"):
        look["linestyle"] = _DASHES[series.dash % len(_DASHES)]
    if series.look == "line":
        look["marker"] = _MARKERS[(series.color + series.dash) % len(_MARKERS)]
    if series.look == "bubbles":
        areas = [_LEAST_AREA + _WHOLE_AREA * share for share in series.share]
        axes.scatter(series.x, series.y, s=areas, color=color, label=label, **look)
    elif series.look in ("line", "marks", "roof", "steps"):
        axes.errorbar(series.x, series.y, yerr=_bars(series), color=color, label=label, **_BARS, **look)
    else:
        face = color if series.look == "dots" else "none"
        axes.plot(series.x, series.y, color=color, markerfacecolor=face, label=label, **look)


def _bars(series: Series) -> list[list[float]] | None:
    """Lengths below and above; zero where no interval is known."""
    if not series.low or all(map(math.isnan, series.low)):
        return None
    below = [0.0 if math.isnan(low) else max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)]
    above = [0.0 if math.isnan(high) else max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)]
    return [below, above]


def _scales(axes: Axes, panel: Panel) -> None:
    if panel.x_log:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([x for x, _ in panel.x_ticks]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _, place: panel.x_ticks[place or 0][1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.08)
    if panel.y_log:
        axes.set_yscale("log")
        axes.set_ylim(top=axes.get_ylim()[1] * 1.2)
        bytewise = panel.y_quantity == "B"
        steps = LogLocator(base=2, numticks=9) if bytewise else LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12)
        axes.yaxis.set_major_locator(steps)
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        high = axes.get_ylim()[1] * 1.05
        axes.set_ylim(0, high)
        # Bytes are counted in powers of two, and so are their steps.
        power = 2.0 ** math.ceil(math.log2(high / _STEPS)) if high > 0 else 1.0
        axes.yaxis.set_major_locator(MultipleLocator(power) if panel.y_quantity == "B" else MaxNLocator(nbins=_STEPS))
    axes.yaxis.set_major_formatter(_formatter(panel))


def _formatter(panel: Panel) -> Formatter:
    if panel.y_quantity == "s":
        return EngFormatter(unit="s")
    if panel.y_quantity == "/s":
        return EngFormatter()
    if panel.y_quantity == "B":
        return FuncFormatter(lambda value, _: units.size(value))
    return FuncFormatter(lambda value, _: units.count(value))


def _legend(axes: Axes, panel: Panel) -> None:
    """Above a column of panels, which share their looks; none where there is only one look."""
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [label for label in _labels(panel) if label in drawn]
    if labels:
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.1 if panel.title else 1.02)}
        columns = _legend_columns(labels)
        axes.legend([drawn[label] for label in labels], labels, ncols=columns, frameon=False, fontsize=8, **place)


def _labels(panel: Panel) -> list[str]:
    named = [*(series.label for series in panel.series), *(gap.label for gap in panel.missing)]
    return [label for label in dict.fromkeys(named) if label]


def _legend_columns(labels: list[str]) -> int:
    return max(1, min(len(labels), 3, _LEGEND_WIDTH // (max(map(len, labels), default=0) + 6)))


def _legend_lines(chart: Chart) -> int:
    """Of the longest legend."""
    legends = [_labels(panel) for panel in (chart.rows[0] if chart.rows else ())]
    return max((math.ceil(len(labels) / _legend_columns(labels)) for labels in legends), default=0)


def _color(index: int) -> str:
    return _PALETTE[index % len(_PALETTE)]
