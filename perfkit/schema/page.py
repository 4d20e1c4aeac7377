"""Page: what an HTML report shows, before anything is drawn. Analyses return Pages; `render.html` writes them.

Times are in ns. A `key` names a colour by what it stands for, a phase or a cause: `forward`, `launch-starved`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from perfkit.schema.chart import Chart
from perfkit.schema.finding import Finding
from perfkit.schema.table import Table

Ints: TypeAlias = npt.NDArray[np.int64]
LaneKind = Literal["band", "gaps", "device", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPart:
    """One part of every bar."""

    name: str
    values: tuple[float, ...]
    """One a bar; NaN for none."""
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars of times, one a label: their parts end to end, or side by side to be compared."""

    labels: tuple[str, ...]
    parts: tuple[BarPart, ...]
    stacked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Times by module and phase, for an icicle. The first node is the root; a parent comes before its children."""

    labels: tuple[str, ...]
    parents: tuple[int, ...]
    """Rows; -1 for the root."""
    phases: tuple[str, ...]
    own: tuple[tuple[int, ...], ...]
    """Of each node: its own time in each phase, without that of its children."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Times by row and column."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One line of a timeline. Columns have a row for each item, in the order of their starts."""

    title: str
    kind: LaneKind
    start: Ints
    """Since the timeline's begin."""
    length: Ints
    name: Ints
    """Index into the timeline's names."""
    depth: Ints
    """How many items it lies in: they are drawn below each other."""
    key: Ints
    """Index into the timeline's keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What ran when, in one step or in all of a recording."""

    span: int
    lanes: tuple[Lane, ...]
    names: tuple[str, ...]
    keys: tuple[str, ...]


Figure: TypeAlias = Chart | Bars | Tree | HeatMap | Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One question and its answer: a sentence, a figure, the tables behind it."""

    anchor: str
    """In the page's address: `wall-time`."""
    title: str
    takeaway: str = ""
    """The figure's caption: what it shows, with its numbers and units."""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """What is left out, and how to read the figure."""
    lacking: str = ""
    """What to record, where the evidence for the section is missing."""
    folded: bool = False
    """Closed until somebody opens it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What there is to say of one source, or of a comparison of two: the answer, then its sections."""

    title: str
    findings: Sequence[Finding]
    sections: tuple[Section, ...]
    source: str = ""
    """The path, for the command that shows it in a terminal; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A report: one part a source, a comparison first."""

    title: str
    parts: tuple[Part, ...]
    command: str
    """The command that made it."""
    version: str
