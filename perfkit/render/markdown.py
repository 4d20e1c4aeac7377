"""Tables as GitHub-flavoured Markdown whose source reads as a table too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.cells import cell_len

from perfkit.render.cells import MISSING
from perfkit.render.layout import layout
from perfkit.render.opening import AT_STAKE, NOTHING, TITLE, Change, Opening
from perfkit.render.shorten import shorten
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.schema.table import Table

NAME_WIDTH = 80
"""Characters that a name may take; CSV and JSON hold it whole."""

# What Markdown or HTML would act on: these characters anywhere, an underscore at the edge of a word.
_ACTIVE = re.compile(r"[`*<>\[\]\\~&$#!|]|(?<![^\W_])_|_(?![^\W_])")


def markdown(table: Table, *, top: int | None = None, name_width: int | None = NAME_WIDTH) -> str:
    """The table with its title as a heading and its notes as a list; values as on the terminal.

    top: show this many rows and sum up the rest. name_width: shorten names to this, but for columns that are never
    shortened; None keeps all whole.
    """
    parts = [f"### {_escaped(printable(table.title))}\n"]
    parts.append(_rows(table, top, name_width) if len(table) else "no rows\n")
    if table.remarks:
        parts.append("".join(f"- {_escaped(printable(note))}\n" for note in table.remarks))
    return "\n".join(parts)


def opening(shown: Opening) -> str:
    """What comes before the tables: what it is about, a numbered list of what to change, a list of notes."""
    parts = [f"**{_escaped(printable(sentence))}**\n" for sentence in shown.about]
    if shown.changes:
        parts.append(f"### {AT_STAKE if any(change.cost for change in shown.changes) else TITLE}\n")
        parts.append("".join(f"{number}. {_change(change)}\n" for number, change in enumerate(shown.changes, start=1)))
    if shown.more:
        parts.append(f"and {shown.more} more: `--table findings`\n")
    if shown.nothing_found:
        parts.append(f"{NOTHING}\n")
    if shown.notes:
        parts.append("".join(f"- {_escaped(printable(note))}\n" for note in shown.notes))
    return "\n".join(parts)


def _change(change: Change) -> str:
    known = [text for text in (change.cost.strip(), change.share.strip()) if text not in ("", MISSING)]
    stake = f"**{', '.join(known)}** " if known else ""
    advice = f"; try {change.advice}" if change.advice else ""
    return stake + _escaped(printable(change.what + advice))


def _rows(table: Table, top: int | None, name_width: int | None) -> str:
    shown = layout(table, top)
    columns = [list(column) for column in zip(*shown.rows, strict=True)] or [[] for _ in shown.headings]
    for index, is_text in enumerate(shown.is_text):
        if is_text:
            if name_width is None or shown.is_whole[index]:
                names = columns[index]
            else:
                names = shorten(columns[index], name_width)
            columns[index] = [_code(name) for name in names]
    lines = [list(row) for row in zip(*columns, strict=True)]
    if shown.rest:
        lines.insert(shown.rest_at, shown.rest)
    if shown.total:
        lines.append(_bold_label(shown.total, shown.label))
    headings = [_escaped(heading) for heading in shown.headings]
    widths = [max(3, *map(cell_len, column)) for column in zip(headings, *lines, strict=True)]
    rule = ["-" * w if text else "-" * (w - 1) + ":" for w, text in zip(widths, shown.is_text, strict=True)]
    return "".join(_line(line, widths, shown.is_text) for line in (headings, rule, *lines))


def _bold_label(total: list[str], label: int) -> list[str]:
    return [f"**{text}**" if index == label else text for index, text in enumerate(total)]


def _line(texts: list[str], widths: list[int], is_text: list[bool]) -> str:
    """One line of source, padded to the widths; a wide character counts as two."""
    padded = []
    for text, width, left in zip(texts, widths, is_text, strict=True):
        blanks = " " * (width - cell_len(text))
        padded.append(text + blanks if left else blanks + text)
    return f"| {' | '.join(padded)} |\n"


def _code(name: str) -> str:
    """A name that Markdown would misread as code, where only backticks and pipes still mean anything."""
    if not _ACTIVE.search(name):
        return name
    fence = "`" * (max(map(len, re.findall("`+", name)), default=0) + 1)
    space = " " if name.startswith("`") or name.endswith("`") else ""
    return f"{fence}{space}{name}{space}{fence}".replace("|", "\\|")


def _escaped(text: str) -> str:
    """Prose with a backslash before whatever Markdown would act on."""
    return _ACTIVE.sub(lambda match: "\\" + match.group(), text)
