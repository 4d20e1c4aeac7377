"""A table as HTML that stands in another page, such as a notebook, in that page's own style: no script, no rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.render.html.tables import body_of
from perfkit.render.html.text import escaped

if TYPE_CHECKING:
    from perfkit.schema.table import Table


def inline(of: Table, top: int) -> str:
    """The first `top` rows, a row with the sum of the others, the total, the notes."""
    shown, rows = body_of(of, top)
    aligned = [f' style="text-align: {"left" if is_text else "right"}"' for is_text in shown.is_text]
    head = "".join(f"<th{look}>{escaped(text)}</th>" for text, look in zip(shown.headings, aligned, strict=True))
    lines = []
    for row in rows:
        tips = [f' title="{escaped(row.tips[place])}"' if place in row.tips else "" for place in range(len(aligned))]
        cells = zip(row.texts, aligned, tips, strict=True)
        lines.append("".join(f"<td{look}{tip}><bdi>{escaped(text)}</bdi></td>" for text, look, tip in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    notes = "".join(f"<p>{escaped(note)}</p>" for note in of.notes)
    return (
        f"<table><caption>{escaped(of.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"{notes}"
    )
