"""A table as HTML that stands in another page, such as a notebook, in that page's own style: no script, no rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.render.html.tables import Row, body_of
from perfkit.render.html.text import escaped

if TYPE_CHECKING:
    from perfkit.schema.table import Table

_BOLD = "font-weight: bold"
_SIDES = {True: "text-align: left", False: "text-align: right"}


def inline(of: Table, top: int) -> str:
    """The first `top` rows, a row with the sum of the others, the total, the notes."""
    shown, rows = body_of(of, top)
    heading = zip(shown.headings, shown.is_text, strict=True)
    head = "".join(f'<th style="{_SIDES[is_text]}">{escaped(text)}</th>' for text, is_text in heading)
    body = "".join(_line(row, shown.is_text) for row in rows)
    notes = "".join(f"<p>{escaped(note)}</p>" for note in of.remarks)
    return (
        f'<table><caption style="{_BOLD}; {_SIDES[True]}">{escaped(of.title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"
    )


def _line(row: Row, is_text: list[bool]) -> str:
    cells = []
    for place, (text, left) in enumerate(zip(row.texts, is_text, strict=True)):
        tip = f' title="{escaped(row.tips[place])}"' if place in row.tips else ""
        look = f"{_SIDES[left]}; {_BOLD}" if row.kind == "total" else _SIDES[left]
        cells.append(f'<td style="{look}"{tip}><bdi>{escaped(text)}</bdi></td>')
    return f"<tr>{''.join(cells)}</tr>"
