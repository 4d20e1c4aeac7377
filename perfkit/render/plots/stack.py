"""Areas upon each other, and the strip above them that says what was going on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from perfkit.render.plots import looks
from perfkit.schema.chart import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HIGH = 0.045
"""Of the strip, as a share of the axes' height."""
_LETTER = 0.013
"""Width of a letter in the strip, as a share of the axes' width."""
Edges = npt.NDArray[np.float64]


def edges(series: Sequence[Series]) -> Iterator[tuple[Series, Edges, Edges]]:
    """The series of a stack, each with where its area begins and ends at each of its x."""
    base: Edges | None = None
    for one in series:
        own = np.asarray(one.y, dtype=float)
        base = np.zeros(len(own)) if base is None else base
        yield one, base, base + own
        base = base + own


def draw(axes: Axes, series: Sequence[Series]) -> None:
    """The areas, the first at the bottom; in grey they differ by their hatches."""
    for one, low, high in edges(series):
        face, hatch = looks.color(one.color), looks.HATCHES[one.color % len(looks.HATCHES)]
        axes.fill_between(
            one.x, low, high, step="post", label=one.label, facecolor=looks.washed(face),
            edgecolor=looks.washed(face, 1.0), hatch=hatch, linewidth=0.3,
        )  # fmt: skip


def strip(axes: Axes, parts: Sequence[tuple[float, float, str]]) -> None:
    """A strip above the axes: parts by their colours, and by their names where there is room for them."""
    low, high = axes.get_xlim()
    edge: Any = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    for begin, end, name in parts:
        axes.fill_between(
            [begin, end], 1.01, 1.01 + _HIGH, facecolor=looks.washed(looks.color_of(name, 7)), linewidth=0, **edge
        )
        if len(name) * _LETTER < (end - begin) / (high - low):
            place = ((begin + end) / 2, 1.01 + _HIGH / 2)
            axes.text(*place, name, ha="center", va="center_baseline", fontsize=7, **edge)
