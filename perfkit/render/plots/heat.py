"""Times by row and column: the darker, the more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from perfkit.render.plots import looks
from perfkit.schema import units
from perfkit.schema.page.figures import HeatMap

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.22
_LABEL = 40
_DARK = 0.8
"""Share of the largest from which text is white."""


def inches(heat: HeatMap) -> float:
    """Height of the axes."""
    return max(0.6, _ROW_INCHES * len(heat.rows))


def draw(axes: Axes, heat: HeatMap, steps: int) -> None:
    """A cell each, with its time in it."""
    values = np.asarray(heat.values, dtype=float).reshape(len(heat.rows), len(heat.columns)) / 1e9 / max(steps, 1)
    most = float(values.max(initial=0.0)) or 1.0
    shades = LinearSegmentedColormap.from_list("time", ["#ffffff", looks.PALETTE[0]])
    axes.imshow(np.sqrt(values / most), cmap=shades, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if value:
            shade = "white" if np.sqrt(value / most) > _DARK else "black"
            axes.text(column, row, units.duration(value), ha="center", va="center", fontsize=7.5, color=shade)
    axes.set_xticks(range(len(heat.columns)), heat.columns)
    axes.set_yticks(range(len(heat.rows)), [_short(label) for label in heat.rows])
    axes.tick_params(length=0, top=False)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel(f"time in each phase, mean of {steps:,} steps" if steps > 1 else "time in each phase")


def _short(label: str) -> str:
    return label if len(label) <= _LABEL else f"…{label[1 - _LABEL :]}"
