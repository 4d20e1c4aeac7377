"""What pictures look like: colours, and what tells things apart where there is no colour; ticks at round numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from matplotlib.colors import to_rgb
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullLocator

from perfkit.render import colours
from perfkit.schema import units

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.ticker import Formatter, Locator

    from perfkit.schema.chart import Quantity

PALETTE = tuple(colour.hex for colour in colours.PALETTE)
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "oo", "++++")
"""In grey, bars differ by these. The first of a colour is plain."""
MUTED = "#555555"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "perfkit",  # the same chart gives the same file
}
_STEPS = 6
"""Marks on a linear axis, at most."""
_FEW_DECADES = 3
"""A logarithmic axis of no more decades has marks at 1, 2 and 5 of each."""
_WASHED = 0.55
"""How much of a colour is left where black text stands on it."""


def color(index: int) -> str:
    """A place in the palette."""
    return PALETTE[index % len(PALETTE)]


def color_of(key: str, place: int) -> str:
    """By what it stands for, a phase or what a device did; by its place where that has no colour of its own."""
    known = colours.of(key)
    return known.hex if known else color(place)


def washed(shade: str, kept: float = _WASHED) -> tuple[float, float, float]:
    """A colour mixed with white, on which black text can be read."""
    red, green, blue = (1 - kept + kept * part for part in to_rgb(shade))
    return red, green, blue


def formatter(quantity: Quantity) -> Formatter:
    """Numbers with their units."""
    if quantity == "s":
        return EngFormatter(unit="s")
    if quantity == "/s":
        return EngFormatter()
    if quantity == "B":
        return FuncFormatter(lambda value, _: units.size(value))
    return FuncFormatter(lambda value, _: units.count(value) if float(value).is_integer() else f"{value:g}")


def set_round_ticks(axis: Axis, quantity: Quantity, *, log: bool) -> None:
    """Ticks at 1, 2 and 5 times a power of ten; of bytes, at powers of two. The axis has its limits already."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(_log_locator(low, high, quantity) if log else _linear_locator(high - low, quantity))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(formatter(quantity))


def _log_locator(low: float, high: float, quantity: Quantity) -> Locator:
    if quantity == "B":
        return LogLocator(base=2, numticks=9)
    if high / low > 10**_FEW_DECADES:
        return LogLocator(base=10, numticks=9)
    return LogLocator(base=10, subs=(1.0, 2.0, 5.0), numticks=12)


def _linear_locator(span: float, quantity: Quantity) -> Locator:
    if quantity == "B":  # bytes are counted in powers of two, and so are their steps
        return MultipleLocator(2.0 ** math.ceil(math.log2(span / _STEPS)) if span > 0 else 1.0)
    return MaxNLocator(nbins=_STEPS, steps=[1, 2, 5, 10])
