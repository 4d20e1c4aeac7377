"""Tables as Typst figures with three rules, as booktabs draws them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from perfkit.render.cells import MISSING, encodable
from perfkit.render.layout import layout
from perfkit.render.shorten import shortened_rows
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.schema.table import Table

NAME_WIDTH = 48
"""Characters that a name may take in a column that cannot wrap; CSV and JSON hold it whole."""

_HEAVY, _LIGHT = "0.08em", "0.05em"
"""Widths of booktabs' rules."""


def typst(table: Table, *, top: int | None = None, name_width: int | None = NAME_WIDTH) -> str:
    """A `#figure` with caption and label `<tab:name>`, numbers aligned right, notes below in small print.

    Every text is a Typst string, in which no character is markup. top: show this many rows and sum up the rest.
    name_width: shorten names to this; None keeps them whole.
    """
    shown = layout(table, top)
    body = [_cells(row, shown.is_text) for row in shortened_rows(shown, name_width)]
    if shown.rest:
        body.insert(shown.rest_at, _cells(shown.rest, shown.is_text))
    if not body:
        body = [f'table.cell(colspan: {len(shown.headings)}, "no rows")']
    if shown.total:
        body += [f"table.hline(stroke: {_LIGHT})", _cells(shown.total, shown.is_text)]
    lines = [
        "#figure(",
        f"  caption: {string(printable(table.title))},",
        "  kind: table,",
        "  {",
        "    table(",
        f"      columns: {len(shown.headings)},",
        f"      align: ({''.join('left, ' if is_text else 'right, ' for is_text in shown.is_text)}),",
        "      stroke: none,",
        f"      table.hline(stroke: {_HEAVY}),",
        f"      table.header({_cells(shown.headings, [True] * len(shown.headings))}),",
        f"      table.hline(stroke: {_LIGHT}),",
        *(f"      {line}," for line in body),
        f"      table.hline(stroke: {_HEAVY}),",
        "    )",
        *(f"    text(size: 0.8em, {string(printable(note))})\n    linebreak()" for note in table.remarks),
        "  },",
        f") <tab:{re.sub('[^A-Za-z0-9]+', '-', table.name).strip('-') or 'table'}>",
    ]
    return "\n".join(lines) + "\n"


def string(text: str) -> str:
    """Text as a Typst string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{encodable(escaped)}"'


def _cells(texts: list[str], is_text: list[bool]) -> str:
    return ", ".join(string(text if left else _number(text)) for text, left in zip(texts, is_text, strict=True))


def _number(text: str) -> str:
    """A number with a minus sign, not a hyphen; a dash where there is none."""
    return "–" if text == MISSING else text.replace("-", "−", 1)  # noqa: RUF001
