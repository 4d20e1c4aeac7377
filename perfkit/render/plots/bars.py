"""Bars of times: their parts end to end, or side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from perfkit.render.plots import looks
from perfkit.schema.page.figures import BarPart, Bars

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_THICK = 0.76
_LEAST_INCHES, _INCHES = 0.45, 0.24
"""Height of the axes: at least, and for each bar."""
_LABEL = 36
"""Characters of a bar's label."""
COLUMNS = 3
"""Of a legend."""


def inches(bars: Bars) -> float:
    """Height of the axes."""
    many = len(bars.labels) * (1 if bars.stacked else len(bars.parts))
    return max(_LEAST_INCHES, _INCHES * many) + 0.25 * math.ceil(len(shown(bars)) / COLUMNS)


def shown(bars: Bars) -> list[BarPart]:
    """The parts that are seen: those that no bar has would be in the legend alone."""
    return [part for part in bars.parts if np.nansum(part.values) > 0]


def draw(axes: Axes, bars: Bars) -> None:
    """Level bars, the first at the top; a part differs from others of its colour by its hatch."""
    places = np.arange(len(bars.labels), dtype=float)
    left = np.zeros(len(places))
    parts = shown(bars)
    height = _THICK if bars.stacked else _THICK / max(len(parts), 1)
    for place, part in enumerate(parts):
        values = np.nan_to_num(np.asarray(part.values, dtype=float)) / 1e9
        at = places if bars.stacked else places + (place - (len(parts) - 1) / 2) * height
        face = looks.color_of(part.key, place)
        hatch = looks.HATCHES[place % len(looks.HATCHES)]
        axes.barh(
            at, values, height, left if bars.stacked else 0.0, label=part.name,
            color=looks.washed(face), edgecolor=looks.washed(face, 1.0), hatch=hatch, linewidth=0.6,
        )  # fmt: skip
        left += values
    axes.set_yticks(places, [label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…" for label in bars.labels])
    axes.set_ylim(len(places) - 0.5, -0.5)
    axes.set_xlim(0)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    looks.set_round_ticks(axes.xaxis, "s", log=False)
    axes.set_xlabel("time")
    if len(parts) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=COLUMNS, frameon=False, fontsize=8)
