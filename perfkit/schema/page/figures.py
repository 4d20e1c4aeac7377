"""Figures of a report beside schema.chart's, before anything is drawn.

Times are in ns. A `key` names a colour by what it stands for, a phase or a cause: `forward`, `launch-starved`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from perfkit.schema.chart import Chart

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
    """Of each node: its own time in each phase, ns, without that of its children."""
    steps: int = 1
    """What the times are divided by where they are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Times by row and column."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    """ns."""
    steps: int = 1
    """What the times are divided by where they are shown."""


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
    labels: Mapping[int, str] = field(default_factory=dict)
    """Of names: what people read in place of one."""


Figure: TypeAlias = Chart | Bars | Tree | HeatMap | Timeline
