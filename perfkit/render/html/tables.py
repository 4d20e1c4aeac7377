"""Tables in a page: the first rows as HTML, and all of them, up to a limit, as data to be sorted and filtered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from perfkit.render.html.text import clean, escaped
from perfkit.render.layout import Layout, layout
from perfkit.render.shorten import shorten

if TYPE_CHECKING:
    from perfkit.schema.table import Table

FIRST = 20
"""Rows that stand in the HTML itself, and are there without JavaScript."""
MOST_ROWS = 2_000
"""Rows of a table that a page holds; the others are one row with their sum."""
LONG = 36
"""Characters from which a text may take several lines, as in tables.js."""
NAME_WIDTH = 72
"""Characters that a name may take in a cell; the rest is in its tip."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of cells."""

    texts: list[str]
    tips: dict[int, str]
    """Column -> the whole text of what was shortened."""
    kind: str = ""


def table(
    of: Table, number: int, caption: str, most_rows: int = MOST_ROWS, region: str = ""
) -> tuple[str, dict[str, Any] | None]:
    """The table as HTML, and its data where it has more rows than the HTML. `region`: its name, which no other has.

    The identifier is `table-NUMBER`; the data is {columns: [is text], rows: [[texts], ...], tips: [{column: text}]}.
    """
    shown, rows = body_of(of, most_rows)
    body = [row for row in rows if not row.kind]
    last = [row for row in rows if row.kind]
    has_more = len(body) > FIRST
    head = "".join(
        f'<th scope="col" aria-sort="none"{_align(is_text)}><button type="button" class="sort">{escaped(text)}'
        '<span class="arrow" aria-hidden="true"></span></button></th>'
        for text, is_text in zip(shown.headings, shown.is_text, strict=True)
    )
    lines = "".join(_line(row, shown.is_text) for row in body[:FIRST])
    ends = "".join(_line(row, shown.is_text) for row in last)
    notes = "".join(f"<li>{escaped(note)}</li>" for note in of.remarks)
    filtering = (
        f'<p class="tools"><label>Filter <input type="search" class="filter" data-table="table-{number}"'
        ' placeholder="part of a name" autocomplete="off" spellcheck="false"></label>'
        f' <span class="count" role="status">{FIRST} of {len(body):,} rows</span></p>'
        if has_more
        else ""
    )
    more = '<button type="button" class="more">Show more rows</button>' if has_more else ""
    markup = (
        f'<div class="table" id="table-{number}" data-name="{escaped(of.name)}">{filtering}'
        '<p class="beyond" hidden></p><div class="wide">'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(region or of.title)}"><table>'
        f"<caption><span>{escaped(caption)}</span></caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{lines}</tbody><tfoot>{ends}</tfoot></table></div></div>{more}"
        f"{f'<ul class=notes>{notes}</ul>' if notes else ''}</div>"
    )
    if not has_more:
        return markup, None
    data = {
        "id": f"table-{number}",
        "text": shown.is_text,
        "rows": [row.texts for row in body],
        "tips": [{str(column): tip for column, tip in row.tips.items()} for row in body],
    }
    return markup, data


def body_of(of: Table, most: int) -> tuple[Layout, list[Row]]:
    """What is shown of a table of which `most` rows are; without the column for the sums' names where it names none."""
    shown, names = _shown(of, most if len(of) > most else None)
    rows = _rows(shown, names)
    if not shown.headings[0] and shown.total is None and shown.rest is None:
        shown = msgspec.structs.replace(shown, headings=shown.headings[1:], is_text=shown.is_text[1:])
        rows = [replace(row, texts=row.texts[1:]) for row in rows]
    return shown, rows


def _shown(of: Table, capped: int | None) -> tuple[Layout, list[str] | None]:
    """Its text, and where it has short names the whole names that they stand for."""
    short = next((column for column in of.columns if column.short_for in of.frame), None)
    if short is None:
        return layout(of, capped), None
    whole = layout(replace(of, columns=(replace(short, name=short.short_for, short_for=""),)), capped)
    return layout(of, capped), [row[0] for row in whole.rows]


def _rows(shown: Layout, names: list[str] | None) -> list[Row]:
    """The rows with long texts shortened so that two that differ stay different; then the rest and the total."""
    columns = list(zip(*shown.rows, strict=True)) or [()] * len(shown.headings)
    texts: list[list[str]] = []
    for column, is_text, is_whole in zip(columns, shown.is_text, shown.is_whole, strict=True):
        texts.append(shorten(column, NAME_WIDTH) if is_text and not is_whole else [clean(text) for text in column])
    first = next((index for index, is_text in enumerate(shown.is_text) if is_text), 0)
    rows = []
    for number, line in enumerate(zip(*texts, strict=True)):
        tips = {
            column: clean(shown.rows[number][column])
            for column, text in enumerate(line)
            if text != shown.rows[number][column]
        }
        if names is not None and names[number] != line[first]:
            tips[first] = clean(names[number])
        rows.append(Row([clean(text) for text in line], tips))
    for ending, kind in ((shown.rest, "rest"), (shown.total, "total")):
        if ending is not None:
            rows.append(Row([clean(text) for text in ending], {}, kind))
    return rows


def _line(row: Row, is_text: list[bool]) -> str:
    cells = []
    for column, (text, left) in enumerate(zip(row.texts, is_text, strict=True)):
        tip = f' title="{escaped(row.tips[column])}"' if column in row.tips else ""
        shown = f"<bdi{tip}>{escaped(text)}</bdi>" if left else escaped(text)
        look = ' class="long"' if left and len(text) > LONG else _align(left)
        cells.append(f"<td{look}>{shown}</td>")
    kind = f' class="{row.kind}"' if row.kind else ""
    return f"<tr{kind}>{''.join(cells)}</tr>"


def _align(is_text: bool) -> str:
    return "" if is_text else ' class="number"'
