"""Picture: one figure in a file of its own, with what must be said beside it; and what pictures there are.

The names stand here, away from what draws them, so that a flag can offer them without loading every analysis.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from perfkit.schema.chart import Chart
    from perfkit.schema.page.figures import Bars, HeatMap, Tree

Drawn: TypeAlias = "Chart | Bars | HeatMap | Tree"


class Picture(msgspec.Struct, frozen=True):
    """What `render.charts` draws."""

    figure: Drawn
    title: str = ""
    takeaway: str = ""
    """What it shows, with its numbers and units."""
    notes: tuple[str, ...] = ()
    """How to read it, and what is left out."""
    steps: int = 1
    """What the times of a tree or a heat map are divided by."""


OF_TRACES = {
    "roofline": "FLOP/s of each operator over its FLOPs per byte, below the roofs of the device",
    "icicle": "the time of a step by phase and module, each as wide as its time",
    "wall_time": "each step's wall time: what ran, and why nothing ran",
    "layers": "the time of each layer in each phase",
    "memory": "memory in use over time",
    "steps": "the time of every step, in order",
}
"""Pictures of a trace by name, and what each shows, for the documents."""
OF_RUNS = {"steps": "the time of every step, in order: warm-up, and which steps stand out"}
OF_SWEEPS = {
    "growth": "step time and peak memory over what was varied",
    "warmup": "every step, for each number of warm-up steps",
}
OF_COMPARISONS = {
    "ratio": "the time of B over that of A with its 95% interval, of the step and its phases",
    "sides": "the times of A and of B side by side",
}
OF_ATTENTION = {"growth": "times and memory of attention alone over the sequence, both axes logarithmic"}
OF_MEMORY = {"memory_timeline": "live bytes over time, by kind, with the phases and the peak"}
EXTENSIONS = (".png", ".svg", ".pdf")


def names_of(*some: Iterable[str]) -> tuple[str, ...]:
    """The names, each once."""
    return tuple(dict.fromkeys(name for names in some for name in names))


def default_file(name: str) -> Path:
    """Where a picture goes that was asked for by name alone."""
    return Path(f"{name}.png")
