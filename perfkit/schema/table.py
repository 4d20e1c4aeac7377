"""Table: a pandas DataFrame with a meaning for each column. Analyses return Tables; every writer takes one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

Unit = Literal["", "ns", "s", "B", "1", "params", "/s", "FLOP"]
Kind = Literal["text", "count", "time", "bytes", "share", "rate", "params", "flops"]
Viewer = Literal["people", "scripts"]
Audience = Literal["everyone", Viewer, "asked"]
"""asked: whoever asks for it by name, and nobody else, since it costs more than others."""


_TOTALS: tuple[Kind, ...] = ("count", "time", "bytes", "flops")


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps that the totals of a table are of."""

    count: int
    has_more: bool = False
    """The totals have so much of what ran outside the steps that they say little of a step."""
    in_total: bool = False
    """People asked for totals."""
    only: int | None = None
    """The number of the step that was asked for, from 0; None where all are shown."""

    @property
    def are_divided(self) -> bool:
        """Whether people read the mean of a step."""
        return not (self.has_more or self.in_total)

    @property
    def text(self) -> str:
        """What is shown: `mean of 6 steps`."""
        if self.count == 1 and not self.has_more:
            return "1 step" if self.only is None else f"step {self.only} alone"
        number = "1 step" if self.count == 1 else f"{self.count:,} steps"
        if self.are_divided:
            return f"mean of {number}"
        return f"total of {number}" + (" and of what ran outside them" if self.has_more else "")


@dataclass(frozen=True, slots=True)
class Column:
    """What a column holds: its key in the frame, the unit of the raw values, and how to show them.

    unit: "ns" and "s" are times, "B" bytes, "1" a ratio (0.058 is shown as 5.80%), "/s" a rate,
    "params" a parameter count, "FLOP" floating-point operations, "" a plain count or text.
    """

    name: str
    unit: Unit = ""
    kind: Kind = "text"
    title: str = ""
    """Heading for people; default: the name with spaces for underscores."""
    summed: bool = False
    """True where the rows add up to something: writers for people show that total in a last line."""
    scale: str = ""
    """Columns of a table that share a non-empty scale are shown in one unit, to be compared across."""
    whole: bool = False
    """True for text that is of no use in part, such as flags to paste: never shortened, lines get longer instead."""
    spare: bool = False
    """True where a narrow terminal may leave the column out, and say so: the last such one first."""
    audience: Audience = "everyone"
    """Who the column is for: writers leave it out for the others."""
    short_for: str = ""
    """The column whose texts these stand for, in short: people read these, and the full ones if they ask for them."""
    endless: float = math.inf
    """Above this, people read that it is above it: the raw value would suggest a precision that it does not have."""
    divided: bool | None = None
    """A total over the steps, which people read divided by their number; None: where it is summed."""
    read: Literal["always", "in total", "per step"] = "always"
    """When people read it, in a table whose totals are of steps: some columns say the same as others per step."""
    repeats: str = ""
    """The column that may say the same; people do not read this one where it does in every row."""
    note: str = ""
    """What to know of it, shown under the table after its heading, wherever the column itself is shown."""

    @property
    def is_divided(self) -> bool:
        """Whether it is a total over the steps."""
        return self.kind in _TOTALS and (self.summed if self.divided is None else self.divided)

    @property
    def heading(self) -> str:
        """What people see over the column."""
        return self.title or self.name.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Table:
    """Rows with typed columns. `frame` holds raw values (ns, s, bytes, ratios), never formatted text."""

    name: str
    title: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    notes: tuple[str, ...] = field(default=())
    """Remarks on the whole table, one line each."""
    pinned: int = 0
    """The last so many rows are shown however few rows are asked for: what is unattributed must not be hidden."""
    audience: Audience = "everyone"
    """Who sees the table without asking for it by name: some facts are one table for scripts and several for people."""
    brief: bool = False
    """People are shown no row whose numbers are all zero or missing, such as a phase that does not occur."""
    steps: Steps | None = None
    """None where nothing in it is a total over steps. Scripts get totals whatever it says."""

    def __post_init__(self) -> None:
        missing = [c.name for c in self.columns if c.name not in self.frame.columns]
        if missing:
            raise ValueError(f"table {self.name}: no such column in its frame: {', '.join(missing)}")

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What stands under the table: a line on those of its columns that have a note, and its own notes."""
        headings: dict[str, list[str]] = {}
        for column in self.columns:
            if column.note:
                headings.setdefault(column.note, []).append(column.heading)
        of_columns = "; ".join(f"{', '.join(names)}: {note}" for note, names in headings.items())
        return (of_columns, *self.notes) if of_columns else self.notes

    def seen_by(self, viewer: Viewer) -> Table:
        """The table without the columns that are for others; for people per step, without what is empty or repeats."""
        columns = tuple(column for column in self.columns if column.audience in ("everyone", viewer))
        seen = replace(self, columns=columns)
        return seen._by_step()._without_nothing()._without_repeats() if viewer == "people" else seen

    def in_total(self) -> Table:
        """The same, for people who asked for totals."""
        return replace(self, steps=replace(self.steps, in_total=True)) if self.steps else self

    def _by_step(self) -> Table:
        """With means of a step in place of totals, where they say something; the title says which they are."""
        if self.steps is None:
            return replace(self, columns=tuple(column for column in self.columns if column.read != "per step"))
        unread = "in total" if self.steps.are_divided else "per step"
        columns = tuple(column for column in self.columns if column.read != unread)
        frame = self.frame
        if self.steps.are_divided and self.steps.count > 1:
            divided = [column.name for column in columns if column.is_divided]
            frame = frame.assign(**{name: _numbers(frame[name]) / self.steps.count for name in divided})
        return replace(self, title=f"{self.title}, {self.steps.text}", columns=columns, frame=frame, steps=None)

    def in_full(self) -> Table:
        """People are shown all columns and whole texts, and full ones where they would read short ones for them."""
        full = {column.short_for for column in self.columns if column.short_for}
        return replace(self, columns=tuple(
            replace(column, whole=True, spare=False, audience="scripts" if column.short_for
                    else "everyone" if column.name in full else column.audience)
            for column in self.columns
        ))  # fmt: skip

    def _without_nothing(self) -> Table:
        """Without columns of zeros or of nothing and, if it is to be brief, rows of zeros; unless nothing is left."""
        numbers = {column.name for column in self.columns if column.kind != "text"}
        says = {name: _numbers(self.frame[name]).fillna(0).to_numpy() != 0 for name in numbers}
        rows = np.any([np.zeros(len(self), dtype=bool), *says.values()], axis=0)
        if not rows.any():
            return self
        columns = tuple(c for c in self.columns if says.get(c.name, self.frame[c.name].notna()).any())
        if not self.brief:
            return replace(self, columns=columns)
        pinned = int(rows[len(rows) - self.pinned :].sum())
        return replace(self, columns=columns, frame=self.frame[rows].reset_index(drop=True), pinned=pinned)

    def _without_repeats(self) -> Table:
        """Without columns that say in each row what another one says already."""
        names = {column.name for column in self.columns}
        kept = tuple(c for c in self.columns if c.repeats not in names or not self._are_equal(c.name, c.repeats))
        return replace(self, columns=kept)

    def _are_equal(self, *names: str) -> bool:
        one, other = (_numbers(self.frame[name]) for name in names)
        return one.equals(other)


def _numbers(column: pd.Series[Any]) -> pd.Series[float]:
    """The numbers of a column; NaN for what is none."""
    return pd.to_numeric(column, errors="coerce").astype(float)


def each_note_once(tables: Iterable[Table]) -> list[Table]:
    """The tables, without notes that one before them has."""
    said: set[str] = set()
    shown = []
    for table in tables:
        columns = tuple(replace(c, note="") if _of_column(c) in said else c for c in table.columns)
        shown.append(replace(table, columns=columns, notes=tuple(note for note in table.notes if note not in said)))
        said.update(table.notes, map(_of_column, filter(lambda column: column.note, table.columns)))
    return shown


def _of_column(column: Column) -> str:
    return f"{column.heading}: {column.note}"
