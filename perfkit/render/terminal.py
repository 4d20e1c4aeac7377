"""Tables for a terminal, with rich: numbers whole, names shortened to fit, plain ASCII where needed."""

from __future__ import annotations

import io
import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import msgspec
from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Text

from perfkit.render import colours
from perfkit.render.bars import BAR, with_bars
from perfkit.render.layout import Layout, layout
from perfkit.render.shorten import shorten
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from perfkit.schema.table import Table

DEFAULT_WIDTH = 120
"""Characters in a line where no terminal says otherwise."""

_GAP = 2  # characters between columns
_COMFORTABLE = 40  # a text column gets this much before headings of numbers stay on one line
_READABLE = 24  # below this a text column makes spare columns give way
_NARROWEST = 12  # no text column is shortened below this; a narrower terminal wraps the lines
_NARROWEST_PROSE = 40  # title and notes are not wrapped below this
_ASCII = str.maketrans({"…": "...", "–": "-", "—": "-", "×": "x", "±": "+-", "µ": "u", "·": "|"})  # noqa: RUF001
_TRAILING_BLANKS = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)


def render(table: Table, *, width: int | None = None, top: int | None = None, color: bool, unicode: bool = True) -> str:
    """The table as text that ends in a newline: title, headings, rows, the rest, the total, notes.

    width: characters in a line (default 120). Spare columns are left out and names shortened to fit it; numbers never.
    top: show this many rows and sum up the rest in one line.
    color: bold and dim ANSI styles. unicode: False writes pure ASCII, with anything else spelled out.
    """
    width = DEFAULT_WIDTH if width is None else width
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=max(width, _NARROWEST_PROSE),
        height=100,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        force_jupyter=False,
        highlight=False,
    )
    for part in _parts(table, width, top, unicode):
        console.print(part, crop=False, no_wrap=part.no_wrap, overflow=part.overflow)  # print does not ask the text
    return _TRAILING_BLANKS.sub(r"\1", buffer.getvalue())


def open_console(stream: IO[str], *, width: int | None = None, color: bool | None = None) -> Console:
    """A console on `stream`: as wide as its terminal, or 120 characters without one.

    color: None lets the terminal and NO_COLOR decide.
    """
    if width is None and not stream.isatty() and "COLUMNS" not in os.environ:
        width = DEFAULT_WIDTH
    no_color = None if color is None else not color
    return _Console(
        file=stream, width=width, force_terminal=color, no_color=no_color, highlight=False, force_jupyter=False
    )


class _Console(Console):
    """A console that lets the command line handle a pipe whose reader has gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_tables(console: Console, tables: Iterable[Table], *, top: int | None = None) -> None:
    """Write the tables with an empty line between them, as wide, colourful and ASCII as the console is."""
    color = console.color_system is not None and not console.no_color
    unicode = not console.options.ascii_only
    for index, table in enumerate(tables):
        text = render(table, width=console.width, top=top, color=color, unicode=unicode)
        console.out("\n" + text if index else text, end="", highlight=False)


def _parts(table: Table, width: int, top: int | None, unicode: bool) -> Iterable[Text]:
    """The lines of the table as rich shows them, from its title to its notes."""
    yield Text(_encodable(printable(table.title), unicode), style="bold")
    left_out: list[str] = []
    if len(table):
        shown, left_out, table = _fitting(table, width, top, unicode)
        yield _grid(shown if left_out else with_bars(shown, width, unicode=unicode), width, unicode)
    else:
        yield Text("no rows")
    for note in table.remarks:
        yield Text(_encodable(printable(note), unicode), style="dim")
    if left_out:
        yield Text(f"no room in {width} columns for: {', '.join(left_out)}", style="dim")


def _fitting(table: Table, width: int, top: int | None, unicode: bool) -> tuple[Layout, list[str], Table]:
    """What is shown of the table in this width, the headings of the spare columns left out for it, and the rest."""
    columns, left_out = list(table.columns), list[str]()
    while True:
        fitting = replace(table, columns=tuple(columns))
        shown = _encodable_layout(layout(fitting, top), unicode)
        spare = [index for index, column in enumerate(columns) if column.spare]
        if not spare or _least_width(shown) <= width:
            return shown, left_out, fitting
        left_out.insert(0, columns.pop(spare[-1]).heading)


def _least_width(shown: Layout) -> int:
    """Characters in a line of the narrowest form that can still be read."""
    least = _GAP * (len(shown.headings) - 1)
    for index, content in enumerate(_contents(shown)):
        heading = shown.headings[index]
        if shown.is_text[index]:
            readable = _COMFORTABLE if shown.is_short[index] else _READABLE
            least += max(content if shown.is_whole[index] else min(content, readable), min(len(heading), _NARROWEST))
        else:
            least += max(content, *map(cell_len, heading.split(" ")))
    return least


def _contents(shown: Layout) -> list[int]:
    """Characters of the longest cell of each column."""
    return [max(map(cell_len, column)) for column in zip(*shown.lines, strict=True)]


def _grid(shown: Layout, width: int, unicode: bool) -> Text:
    """The headings, the rows and the total, with a rule above and below the rows."""
    widths = _widths(shown, width)
    mark = "…" if unicode else "..."
    columns = [list(column) for column in zip(*shown.rows, strict=True)] or [[] for _ in widths]
    for index, is_text in enumerate(shown.is_text):
        if is_text:
            columns[index] = shorten(columns[index], widths[index], mark)
    styles = (_styles(shown, row) for row in shown.rows)
    lines: list[tuple[Sequence[str], Sequence[str]]] = list(zip(zip(*columns, strict=True), styles, strict=True))
    if shown.rest:
        lines.insert(shown.rest_at, (shown.rest, ["dim"] * len(widths)))
    rule = ("─" if unicode else "-") * (sum(widths) + _GAP * (len(widths) - 1))
    bold = ["bold"] * len(widths)

    grid = Text(no_wrap=True, overflow="ignore")
    headings = [_lines(heading, width) for heading, width in zip(shown.headings, widths, strict=True)]
    for line in range(-max(map(len, headings)), 0):  # they end on one line
        _append(grid, shown, widths, [texts[line] if line >= -len(texts) else "" for texts in headings], bold)
    grid.append(rule + "\n", "dim")
    for texts, style in lines:
        _append(grid, shown, widths, texts, style)
    if shown.total is not None:
        grid.append(rule + "\n", "dim")
        _append(grid, shown, widths, shown.total, bold)
    grid.right_crop()  # the last line's end, which print adds
    return grid


def _append(grid: Text, shown: Layout, widths: Sequence[int], texts: Sequence[str], styles: Sequence[str]) -> None:
    """One line of the table, each text in its column."""
    for index, (text, width) in enumerate(zip(texts, widths, strict=True)):
        blanks = " " * (width - cell_len(text))
        before, after = ("", blanks) if shown.is_text[index] else (blanks, "")
        grid.append(" " * _GAP * (index > 0) + before)
        grid.append(text, styles[index])
        grid.append(after)
    grid.append("\n")


def _styles(shown: Layout, row: Sequence[str]) -> list[str]:
    """The style of each text of a row: categories, phases and bars in their colour."""
    coloured = _coloured(shown)
    colour = next(filter(None, (colours.of(row[index]) for index in coloured)), None)
    return [colour.ansi if colour and index in coloured else "" for index in range(len(row))]


def _coloured(shown: Layout) -> list[int]:
    return [index for index, name in enumerate(shown.names) if name in (*colours.COLUMNS, BAR)]


def _widths(shown: Layout, width: int) -> list[int]:
    """Characters for each column: numbers take what they need, the widest text column gives way first.

    Short forms of names give way last, once they are at a comfortable width.
    """
    contents = _contents(shown)
    widths = [max(content, cell_len(heading)) for content, heading in zip(contents, shown.headings, strict=True)]
    texts = [i for i, is_text in enumerate(shown.is_text) if is_text and not shown.is_whole[i]]
    room = width - _GAP * (len(widths) - 1)
    if sum(widths) - room > sum(max(0, widths[i] - _COMFORTABLE) for i in texts):
        for i, heading in enumerate(shown.headings):
            if not shown.is_text[i]:
                widths[i] = max(contents[i], *map(cell_len, heading.split(" ")))
    floors = [_NARROWEST] * len(widths)
    floors[shown.label] = max(
        [_NARROWEST, *(cell_len(line[shown.label]) for line in (shown.rest, shown.total) if line)]
    )
    if sum(widths) > room:  # the result of the loop, however long a name is
        for i in texts:
            widths[i] = min(widths[i], max(room, floors[i]))
    while sum(widths) > room:
        shrinkable = [i for i in texts if widths[i] > floors[i]]
        if not shrinkable:
            break
        spared = [shown.is_short[i] and widths[i] <= _COMFORTABLE for i in range(len(widths))]
        widths[max(shrinkable, key=lambda i: (not spared[i], widths[i]))] -= 1
    return widths


def _lines(heading: str, width: int) -> list[str]:
    """The heading in lines of at most `width` characters, broken between words where it can be."""
    lines = textwrap.wrap(heading, max(width, 1), break_on_hyphens=False)
    return [part for line in lines for part in chop_cells(line, max(width, 2))] or [heading]  # wide ones take two


def encodable(line: str, console: Console) -> str:
    """A line as the console can show it: in ASCII where it has no more."""
    return _encodable(line, unicode=not console.options.ascii_only)


def _encodable(text: str, unicode: bool) -> str:
    r"""The text itself, or in pure ASCII: `…` as `...`, any other character as its escape, such as `\xe9`."""
    if unicode or text.isascii():
        return text
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _encodable_layout(shown: Layout, unicode: bool) -> Layout:
    if unicode:
        return shown

    def line(texts: list[str]) -> list[str]:
        return [_encodable(text, unicode) for text in texts]

    return msgspec.structs.replace(
        shown,
        headings=line(shown.headings),
        rows=[line(row) for row in shown.rows],
        rest=line(shown.rest) if shown.rest else None,
        total=line(shown.total) if shown.total else None,
    )
