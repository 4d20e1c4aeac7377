"""TraceTable: a table of a trace by name: what its rows are, and the function that computes it when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import msgspec
import pandas as pd

from perfkit.analysis.attribution.captures import Captures
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.account import Selection
from perfkit.analysis.time.cells import BY_STEP
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.schema.report import LazyTable
from perfkit.schema.table import Audience, Column, Steps, Table

_LITTLE = 0.01
"""A share of the time that may be from outside the steps without being said."""

By = Literal["layer", "module", "class", "component", "phase", "op", "kernel"]


class View(msgspec.Struct, frozen=True):
    """How to look at a trace."""

    selection: Selection = Selection()
    by: By = "component"
    depth: int | None = None
    fold: bool = True
    modules: dict[str, str] | None = None
    """The model's tree, path -> class, for a trace that does not carry it."""
    captures: Captures | None = None
    """The captures of the trace's CUDA graphs, from another trace."""
    by_device: bool = False
    """Tables of device work have rows for each device."""
    mhz: float | None = None
    """The clock of the device that was measured: peaks are then at that clock."""


def everyone(_: Facts) -> Audience:
    """The audience of a table that every trace has and everyone sees."""
    return "everyone"


class TraceTable(msgspec.Struct, frozen=True):
    """A table of a trace."""

    name: str
    """As `--table` takes it."""
    row: str
    """What a row is, for the documents."""
    columns: str
    """Its columns, for the documents."""
    build: Callable[[Partial, View], Table]
    """Computes it from a partial."""
    audience: Callable[[Facts], Audience | None] = everyone
    """Its audience for such a trace; None where it is not made."""
    divides: bool = True
    """Its rows are sums of device work, which can be told by device. Tables of the host, and of devices, do not."""
    adds_up_steps: bool = False
    """Its rows are sums of what the steps launched, of which people read the mean of a step."""

    def of(self, partial: Partial, view: View) -> LazyTable | None:
        """The table of one trace, to be computed when asked for; None where such a trace has none."""
        audience = self.audience(partial.facts)
        build = self._by_device if self.divides and view.by_device and partial.facts.on_device else self.build
        if audience is None:
            return None

        def table() -> Table:
            chosen = view.selection.steps
            steps = steps_of(partial, chosen if isinstance(chosen, int) else None) if self.adds_up_steps else None
            return replace(build(partial, view), brief=True, steps=steps)

        return LazyTable(self.name, table, audience)

    def _by_device(self, partial: Partial, view: View) -> Table:
        """The tables of the devices as one, the longest rows of all first; rows that are pinned stay at the end."""
        whole, labels = self.build(partial, view), partial.facts.device_labels
        parts = [(self.build(partial.on(labels.index(label)), view), label) for label in sorted(labels, key=by_numbers)]
        frames = [part.frame.assign(device=pd.Series(label, part.frame.index, dtype=object)) for part, label in parts]
        upper = pd.concat([frame[: len(frame) - part.pinned] for frame, (part, _) in zip(frames, parts, strict=True)])
        pinned = pd.concat([frame[len(frame) - part.pinned :] for frame, (part, _) in zip(frames, parts, strict=True)])
        upper = upper.sort_values("total_ns", ascending=False, kind="stable")
        frame = pd.concat([upper, pinned], ignore_index=True)
        if "share" in frame:
            total = frame["total_ns"].sum()
            frame["share"] = frame["total_ns"] / total if total else 0.0
        columns = (Column("device"), *whole.columns)
        return replace(whole, columns=columns, frame=frame, pinned=sum(part.pinned for part, _ in parts))


def steps_of(partial: Partial, only: int | None = None) -> Steps | None:
    """The steps of which sums are; sums have more where over 1% of the time was launched outside all of them.

    only: the number of the one step that was asked for.
    """
    if not partial.facts.steps:
        return None
    rows = partial.of(BY_STEP)
    outside = int(rows["total_ns"][rows["step"] == NONE].sum())
    return Steps(len(partial.facts.steps), has_more=outside > _LITTLE * int(rows["total_ns"].sum()), only=only)


def by_numbers(label: str) -> list[tuple[bool, int, str]]:
    """Sorts labels of devices by the numbers in them: 9 before 10."""
    return [(at % 2 == 1, len(part) * (at % 2), part) for at, part in enumerate(re.split(r"0*(\d+)", label))]
