"""Pictures to PNG, SVG or PDF, with matplotlib. Computes only the layout."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from perfkit.render.plots import bars, heat, icicle, looks, stack
from perfkit.schema.chart import Chart
from perfkit.schema.page.figures import Bars, HeatMap, Tree
from perfkit.schema.page.pictures import Picture
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from perfkit.schema.chart import Look, Panel, Series

_PANEL_INCHES = (4.2, 3.0)
_LEAST_WIDTH, _WIDTH = 6.0, 8.0
"""Inches: of panels at least, and of other figures."""
_DPI = 160
_LINE_INCHES, _TITLE_INCHES, _AXIS_INCHES = 0.165, 0.27, 0.5
_LEGEND_INCHES = 0.2
_LETTERS_ABOVE, _LETTERS_BELOW = 16.5, 18.5
"""Characters in an inch of the small text."""
_LEGEND_WIDTH = 58
"""Characters of the labels that stand side by side in a legend."""
LOG = ", log scale"
"""After the title of a logarithmic axis."""
_LOOKS: dict[Look, dict[str, Any]] = {
    "line": {"markersize": 4.5, "linewidth": 1.4},
    "marks": {"linestyle": "none", "marker": "_", "markersize": 12, "markeredgewidth": 1.5, "zorder": 3},
    "dots": {"linestyle": "none", "markersize": 3.5, "markeredgewidth": 0.9},
    "circles": {"linestyle": "none", "marker": "o", "markersize": 3.5, "markeredgewidth": 0.9},
    "bubbles": {"alpha": 0.65, "linewidths": 0.6, "edgecolors": "white", "zorder": 3},
    "roof": {"linewidth": 1.2},
    "steps": {"linewidth": 1.2, "drawstyle": "steps-post"},
    "stack": {},
}
_LEAST_AREA, _WHOLE_AREA = 9.0, 900.0
"""Of a bubble, in square points: of a share of 0, and what a share of 1 adds."""
_LEGEND_AREA = 36.0
_BARS: Any = {"capsize": 4.5, "capthick": 1.1, "elinewidth": 1.1}
"""Ends that are wider than the marker: also a short bar is seen."""
_CLIP = re.compile(rb'((?:clipPath id="|url\(#))(p[0-9a-f]{10})(["\)])')
_MISSING: Any = {
    "marker": "x",
    "markersize": 8,
    "markeredgewidth": 2,
    "linestyle": "none",
    "clip_on": False,
    "zorder": 4,
}


def draw(shown: Picture | Chart, extension: str) -> bytes:
    """The picture as a file's content; extension: .png, .svg or .pdf."""
    picture = shown if isinstance(shown, Picture) else Picture(figure=shown, notes=shown.notes)
    with mpl.rc_context(looks.STYLE):
        width, height, fill = _sized(picture)
        above = _wrapped((picture.takeaway,), width * _LETTERS_ABOVE)
        below = _wrapped(picture.notes, width * _LETTERS_BELOW)
        header = _TITLE_INCHES * bool(picture.title) + _LINE_INCHES * len(above) + 0.08 * bool(above)
        footer = _LINE_INCHES * len(below) + 0.1 * bool(below)
        whole = header + height + footer
        figure = Figure(figsize=(width, whole))
        figure.set_layout_engine("constrained", rect=(0, footer / whole, 1, height / whole))
        fill(figure)
        small: Any = {"x": 0.08 / width, "ha": "left", "va": "top", "parse_math": False}
        figure.text(y=1 - 0.08 / whole, s=printable(picture.title), fontsize=11, fontweight="bold", **small)
        top = whole - _TITLE_INCHES * bool(picture.title) - 0.06
        figure.text(y=top / whole, s="\n".join(above), fontsize=8.5, **small)
        figure.text(y=(footer - 0.03) / whole, s="\n".join(below), fontsize=7.5, color=looks.MUTED, **small)
        buffer = io.BytesIO()
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(extension)
        figure.savefig(buffer, format=extension.removeprefix("."), dpi=_DPI, metadata=metadata)
    return clips_by_place(buffer.getvalue()) if extension == ".svg" else buffer.getvalue()


def clips_by_place(svg: bytes) -> bytes:
    """Its regions named in order: matplotlib names them by their last digits, which its layout leaves to chance."""
    places: dict[bytes, bytes] = {}

    def named(match: re.Match[bytes]) -> bytes:
        return match[1] + places.setdefault(match[2], b"clip%d" % len(places)) + match[3]

    return _CLIP.sub(named, svg)


def _wrapped(texts: tuple[str, ...], letters: float) -> list[str]:
    return [line for text in texts if text for line in textwrap.wrap(printable(text), max(20, int(letters)))]


def _sized(picture: Picture) -> tuple[float, float, Callable[[Figure], None]]:
    """Width and height of the figure alone, in inches, and what draws it."""
    figure, steps = picture.figure, picture.steps
    match figure:
        case Chart(rows=rows):
            width = max(_PANEL_INCHES[0] * max(map(len, rows), default=1), _LEAST_WIDTH)
            height = _PANEL_INCHES[1] * max(1, len(rows)) + _LEGEND_INCHES * _legend_lines(figure)
            return width, height, lambda into: _panels(into, figure)
        case Bars():
            return _WIDTH, _AXIS_INCHES + bars.inches(figure), lambda into: bars.draw(into.subplots(), figure)
        case Tree():
            high = _AXIS_INCHES + icicle.inches(figure, steps)
            return _WIDTH, high, lambda into: icicle.draw(into.subplots(), figure, steps)
        case HeatMap():
            return _WIDTH, _AXIS_INCHES + heat.inches(figure), lambda into: heat.draw(into.subplots(), figure, steps)


def _panels(figure: Figure, chart: Chart) -> None:
    columns = max(map(len, chart.rows), default=1)
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


def _panel(axes: Axes, panel: Panel) -> None:
    stacked = [series for series in panel.series if series.look == "stack"]
    stack.draw(axes, stacked)
    for series in panel.series:
        if series.look != "stack":
            _series(axes, series)
    axes.margins(x=0.01 if stacked else 0.08)
    _scales(axes, panel)
    stack.strip(axes, panel.strip)
    for left, right, text in panel.shaded:
        axes.axvspan(left, right, color="#ededed", zorder=0)
        axes.annotate(
            text, ((left + right) / 2, 1), xycoords=axes.get_xaxis_transform(), xytext=(0, 2),
            textcoords="offset points", ha="center", fontsize=7.5, color=looks.MUTED,
        )  # fmt: skip
    edge = axes.get_xaxis_transform()  # x as data, y as a share of the height
    for missing in panel.missing:
        color, label = looks.color(missing.color), missing.label
        axes.plot([missing.x], [1.0], transform=edge, color=color, label=label, **_MISSING)
    axes.set_title(panel.title, fontsize=9, parse_math=False)
    axes.set_xlabel(panel.x_title + LOG * panel.x_log)
    axes.set_ylabel(panel.y_title + LOG * panel.y_log)


def _series(axes: Axes, series: Series) -> None:
    color, label, look = looks.color(series.color), series.label, dict(_LOOKS[series.look])
    if series.look in ("line", "roof", "steps"):
        look["linestyle"] = looks.DASHES[series.dash % len(looks.DASHES)]
    if series.look in ("line", "dots", "bubbles"):  # in grey, colours differ by these
        look["marker"] = looks.MARKERS[(series.color + series.dash) % len(looks.MARKERS)]
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
    if panel.x_ticks:
        axes.xaxis.set_major_locator(FixedLocator([x for x, _ in panel.x_ticks]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda _, place: panel.x_ticks[place or 0][1]))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        looks.set_round_ticks(axes.xaxis, panel.x_quantity, log=panel.x_log)
    if panel.y_log:
        axes.set_yscale("log")
        axes.set_ylim(top=axes.get_ylim()[1] * 1.2)
    elif panel.y_from_zero:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    looks.set_round_ticks(axes.yaxis, panel.y_quantity, log=panel.y_log)


def _legend(axes: Axes, panel: Panel) -> None:
    """Above a column of panels, which share their looks; none where there is only one look."""
    drawn = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    labels = [label for label in _labels(panel) if label in drawn]
    if len(labels) > 1 or panel.missing:
        above = 1.1 if panel.title or panel.strip else 1.02
        place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, above)}
        columns = _legend_columns(labels)
        handles = [drawn[label] for label in labels]
        legend = axes.legend(handles, labels, ncols=columns, frameon=False, fontsize=8, **place)
        for handle in legend.legend_handles:
            if isinstance(handle, PathCollection):  # the largest of a category may be as large as the legend
                handle.set_sizes([_LEGEND_AREA])


def _labels(panel: Panel) -> list[str]:
    named = [*(series.label for series in panel.series), *(gap.label for gap in panel.missing)]
    return [label for label in dict.fromkeys(named) if label]


def _legend_columns(labels: list[str]) -> int:
    return max(1, min(len(labels), 3, _LEGEND_WIDTH // (max(map(len, labels), default=0) + 6)))


def _legend_lines(chart: Chart) -> int:
    """Of the longest legend."""
    legends = [_labels(panel) for panel in (chart.rows[0] if chart.rows else ())]
    return max((math.ceil(len(labels) / _legend_columns(labels)) for labels in legends), default=0)
