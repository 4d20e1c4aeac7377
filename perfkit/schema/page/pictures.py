"""Picture: one figure in a file of its own, with what must be said beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from perfkit.schema.chart import Chart
from perfkit.schema.page.figures import Bars, HeatMap, Tree

Drawn: TypeAlias = Chart | Bars | HeatMap | Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What `render.charts` draws."""

    figure: Drawn
    title: str = ""
    takeaway: str = ""
    """What it shows, with its numbers and units."""
    notes: tuple[str, ...] = ()
    """How to read it, and what is left out."""
    steps: int = 1
    """What the times of a tree or a heat map are divided by."""
