"""What the writers for people show of a Table: headings, the first rows, a line for the rest, the total."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pandas as pd

from perfkit.render.cells import add, cells, floats
from perfkit.schema.table import Column

if TYPE_CHECKING:
    from perfkit.schema.table import Table


class Layout(msgspec.Struct, frozen=True):
    """Formatted text by row. `rest` and `total` hold the sums of the summed columns and blanks elsewhere."""

    headings: list[str]
    is_text: list[bool]
    """For each column: text, which is aligned left and may be shortened; else a number."""
    is_whole: list[bool]
    """For each column: never shortened."""
    is_short: list[bool]
    """For each column: it stands for a longer text, and is to be read in full if anything is."""
    rows: list[list[str]]
    rest: list[str] | None
    """What the rows left out add up to; None where all are shown."""
    rest_at: int
    """Its place among the rows: before the pinned ones."""
    total: list[str] | None
    """What all rows add up to; None where no column is summed, or one row says it already."""
    label: int
    """The column in which `rest` and `total` say what they are."""
    names: list[str] = msgspec.field(default_factory=list)
    """Of the columns, as the data has them."""
    share: int | None = None
    """The first column whose rows are shares of a whole."""
    shares: list[float] = msgspec.field(default_factory=list)
    """Of the rows, in that column."""

    @property
    def lines(self) -> list[list[str]]:
        """Rows, and the sums where there are any."""
        return [*self.rows, *(line for line in (self.rest, self.total) if line)]


def layout(table: Table, top: int | None = None) -> Layout:
    """The first `top` rows (all by default) and the pinned ones as text; the others are summed, not formatted."""
    free = len(table) - table.pinned
    first = free if top is None else min(top, free)
    if first < 0:
        raise ValueError(f"top {top}: must be 0 or more")
    columns, frame = _with_label(table)
    shown_frame = pd.concat((frame.iloc[:first], frame.iloc[free:])) if first < free else frame
    hidden_frame = frame.iloc[first:free]
    label = next(i for i, column in enumerate(columns) if column.kind == "text")

    pools = _pools(columns, shown_frame, hidden_frame)
    headings, texts, sums = [], [], []
    for column in columns:
        parts = (hidden_frame[column.name], frame[column.name]) if _is_summed(column) else ()
        summed = [add(floats(part)) for part in parts]
        heading, formatted = cells(column, shown_frame[column.name], summed, pools.get(column.scale))
        headings.append(heading)
        texts.append(formatted[: len(shown_frame)])
        sums.append(formatted[len(shown_frame) :] or ["", ""])

    share = next((i for i, column in enumerate(columns) if column.kind == "share" and _is_summed(column)), None)
    hidden = len(hidden_frame)
    rest, total = ([column[i] for column in sums] for i in (0, 1))
    rest[label], total[label] = f"… {hidden:,} more row{'s' if hidden > 1 else ''}", "total"
    return Layout(
        headings=headings,
        is_text=[column.kind == "text" for column in columns],
        is_whole=[column.whole for column in columns],
        is_short=[bool(column.short_for) for column in columns],
        rows=[list(row) for row in zip(*texts, strict=True)],
        rest=rest if hidden else None,
        rest_at=first,
        total=total if len(table) > 1 and any(_is_summed(column) for column in columns) else None,
        label=label,
        names=[column.name for column in columns],
        share=share,
        shares=[] if share is None else floats(shown_frame[columns[share].name]),
    )


def pools(table: Table) -> dict[str, list[float]]:
    """For each scale that columns share: the values in any of them."""
    return _pools(list(table.columns), table.frame, table.frame.iloc[:0])


def _pools(columns: list[Column], shown: pd.DataFrame, hidden: pd.DataFrame) -> dict[str, list[float]]:
    """For each scale that columns share: the values shown in any of them, and what their other rows add up to."""
    pools: dict[str, list[float]] = {}
    for column in columns:
        if column.scale:
            rest = add(floats(hidden[column.name])) if _is_summed(column) else 0.0
            pools.setdefault(column.scale, []).extend([*floats(shown[column.name]), rest])
    return pools


def _is_summed(column: Column) -> bool:
    return column.summed and column.kind != "text"


def _with_label(table: Table) -> tuple[list[Column], pd.DataFrame]:
    """The columns, led by a blank one where the table has no text column to name its sums in."""
    columns = list(table.columns)
    if any(column.kind == "text" for column in columns):
        return columns, table.frame
    blank = Column("")
    return [blank, *columns], table.frame.assign(**{"": ""})
