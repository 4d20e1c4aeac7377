"""What the writers for people show of a Table: headings, the first rows, a line for the rest, the total."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from perfkit.render.cells import add, cells, floats
from perfkit.schema.table import Column

if TYPE_CHECKING:
    from perfkit.schema.table import Table


@dataclass(frozen=True, slots=True)
class Grid:
    """Formatted text by row. `rest` and `total` hold the sums of the summed columns and blanks elsewhere."""

    headings: list[str]
    is_text: list[bool]
    """For each column: text, which is aligned left and may be shortened; else a number."""
    rows: list[list[str]]
    rest: list[str] | None
    """What the rows left out add up to; None where all are shown."""
    total: list[str] | None
    """What all rows add up to; None where no column is summed, or one row says it already."""
    label: int
    """The column in which `rest` and `total` say what they are."""


def grid(table: Table, top: int | None = None) -> Grid:
    """The first `top` rows (all by default) as text. Only those are formatted; the others are summed."""
    shown = len(table) if top is None else min(top, len(table))
    if shown < 0:
        raise ValueError(f"top {top}: must be 0 or more")
    columns, frame = _with_label(table)
    label = next(i for i, column in enumerate(columns) if column.kind == "text")

    headings, texts, sums = [], [], []
    for column in columns:
        series = frame[column.name]
        summed = [add(floats(part)) for part in (series.iloc[shown:], series)] if _is_summed(column) else []
        heading, formatted = cells(column, series.iloc[:shown], summed)
        headings.append(heading)
        texts.append(formatted[:shown])
        sums.append(formatted[shown:] or ["", ""])

    hidden = len(table) - shown
    rest, total = ([column[i] for column in sums] for i in (0, 1))
    rest[label], total[label] = f"… {hidden:,} more row{'s' if hidden > 1 else ''}", "total"
    return Grid(
        headings=headings,
        is_text=[column.kind == "text" for column in columns],
        rows=[list(row) for row in zip(*texts, strict=True)],
        rest=rest if hidden else None,
        total=total if len(table) > 1 and any(_is_summed(column) for column in columns) else None,
        label=label,
    )


def _is_summed(column: Column) -> bool:
    return column.summed and column.kind != "text"


def _with_label(table: Table) -> tuple[list[Column], pd.DataFrame]:
    """The columns, led by a blank one where the table has no text column to name its sums in."""
    columns = list(table.columns)
    if any(column.kind == "text" for column in columns):
        return columns, table.frame
    blank = Column("")
    return [blank, *columns], table.frame.assign(**{"": ""})
