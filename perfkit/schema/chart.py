"""Chart: what a picture shows, before anything is drawn. Analyses return Charts; `render.charts` draws them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Quantity = Literal["s", "B", "/s", ""]
"""Seconds, bytes, a rate, or a plain number."""
Look = Literal["line", "dots", "circles", "marks", "bubbles", "roof", "steps", "stack"]
"""line: markers joined by a line; dots: small filled; circles: small hollow; marks: a short level line each; bubbles:
filled, of the area that `share` says; roof: a line without markers; steps: one that stays until the next point; stack:
areas upon each other in the order of the series, which have the same x, each as high as its own y until the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one look. Those with an interval get a bar from `low` to `high`; nan: none is known."""

    label: str
    """In the legend, once for all panels."""
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    share: tuple[float, ...] = ()
    """Of bubbles: which part of a whole each point is."""
    look: Look = "line"
    color: int = 0
    dash: int = 0
    """Places in the palette and among the dash patterns."""
    texts: tuple[str, ...] = ()
    """What each point is, for a reader who points at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Where a point should be that could not be measured: drawn at the top edge."""

    x: float
    label: str
    color: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One pair of axes."""

    series: tuple[Series, ...]
    missing: tuple[Missing, ...] = ()
    title: str = ""
    x_title: str = ""
    y_title: str = ""
    y_quantity: Quantity = ""
    x_ticks: tuple[tuple[float, str], ...] = ()
    """Where and how x is written; these are all."""
    x_log: bool = False
    y_log: bool = False
    y_from_zero: bool = True
    """False: around the points alone, where a ratio or a change is small against the whole."""
    x_quantity: Quantity = ""
    shaded: tuple[tuple[float, float, str], ...] = ()
    """Stretches of x with a word for each: from, to, `warm-up`."""
    strip: tuple[tuple[float, float, str], ...] = ()
    """Stretches of x in a strip above all: from, to, and what has a colour of its own, such as a phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Panels in rows, and what must be known to read them."""

    rows: tuple[tuple[Panel, ...], ...]
    notes: tuple[str, ...] = field(default=())
