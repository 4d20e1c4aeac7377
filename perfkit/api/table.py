"""Tables in Python: a DataFrame that says its units, and a table that shows itself."""

from __future__ import annotations

from dataclasses import dataclass, fields

from perfkit.render import terminal
from perfkit.render.html.inline import inline
from perfkit.schema.table import Table

ROWS = 20
"""Rows that are shown; the frame has all."""


@dataclass(frozen=True, slots=True, repr=False)
class FramedTable(Table):
    """A table that shows itself, at a prompt and in a notebook.

    `frame` is the reader's own copy: raw values, with each column's unit in `frame.attrs`: `{"total_ns": "ns"}`. The
    units are ns, s, B (bytes), 1 (a ratio), params, /s and FLOP; that of a count or a text is empty.
    """

    def __repr__(self) -> str:
        return terminal.render(self.seen_by("people"), top=ROWS, color=False).rstrip("\n")

    def _repr_html_(self) -> str:
        return inline(self.seen_by("people"), ROWS)


def framed(table: Table) -> FramedTable:
    """The table with a frame of its described columns alone, and their units in its `attrs`."""
    frame = table.frame[[column.name for column in table.columns]].copy()
    frame.attrs = {column.name: column.unit for column in table.columns}
    return FramedTable(**{one.name: getattr(table, one.name) for one in fields(table)} | {"frame": frame})
