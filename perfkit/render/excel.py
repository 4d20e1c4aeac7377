"""Tables as an Excel workbook: numbers are numbers, in the unit that the heading names."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import xlsxwriter

from perfkit.errors import UsageError
from perfkit.render import cells
from perfkit.render.layout import pools
from perfkit.schema.printable import printable

if TYPE_CHECKING:
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

    from perfkit.schema.table import Column, Table

_ROWS = 1_048_576
_SHEET_NAME = 31
_CELL_TEXT = 32_767
"""Limits of the format (Microsoft: Excel specifications and limits)."""
_WIDEST = 60
"""Initial width of a column, at most, in characters."""


def workbook(tables: Sequence[Table]) -> bytes:
    """One sheet a table: headings, rows, and the notes below. Text is written as text, never as a formula.

    Raises UsageError for more rows than a sheet can hold.
    """
    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True})
    bold = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "bottom"})
    taken: set[str] = set()
    for table in tables:
        if len(table) + len(table.remarks) + 2 > _ROWS:
            raise UsageError(f"table {table.name}: {len(table):,} rows do not fit into an Excel sheet: write .csv")
        _fill(book, book.add_worksheet(_sheet_name(table.name, taken)), table, bold)
    book.close()
    return buffer.getvalue()


def _sheet_name(name: str, taken: set[str]) -> str:
    r"""At most 31 characters, none of []:*?/\, no apostrophe at an end, and no other sheet's."""
    stem = re.sub(r"[\[\]:*?/\\]", "-", printable(name)).strip("'")[:_SHEET_NAME] or "table"
    title, number = stem, 2
    while title.lower() in taken:
        title, number = f"{stem[: _SHEET_NAME - 4]} {number}", number + 1
    taken.add(title.lower())
    return title


def _fill(book: Workbook, sheet: Worksheet, table: Table, bold: Format) -> None:
    shared = pools(table)
    for index, column in enumerate(table.columns):
        series = table.frame[column.name]
        if column.kind == "text":
            heading, width = cells.cells(column, series)[0], _write_texts(sheet, index, series.tolist())
        else:
            numbers = cells.numbers(column, series, shared.get(column.scale))
            heading, width = numbers.heading, _write_numbers(sheet, index, numbers, _format(book, column, numbers))
        sheet.write_string(0, index, heading, bold)
        longest_word = max(map(len, heading.split(" ")))
        sheet.set_column(index, index, min(_WIDEST, max(width, longest_word) + 2))
    for offset, note in enumerate(table.remarks):
        sheet.write_string(len(table) + 2 + offset, 0, printable(note))
    sheet.freeze_panes(1, 0)


def _write_texts(sheet: Worksheet, index: int, values: Sequence[Any]) -> int:
    """Write the texts; returns the length of the longest."""
    widest = 0
    for row, value in enumerate(values, start=1):
        text = cells.encodable(cells.text(value))[:_CELL_TEXT]
        sheet.write_string(row, index, text)
        widest = max(widest, len(text))
    return widest


def _write_numbers(sheet: Worksheet, index: int, numbers: cells.Numbers, look: Format) -> int:
    """Write the numbers; missing ones stay empty, and infinities, which Excel has no number for, are text."""
    widest = 0
    for row, value in enumerate(numbers.values, start=1):
        if math.isnan(value):
            continue
        if math.isinf(value):
            sheet.write_string(row, index, str(value))
        else:
            sheet.write_number(row, index, value, look)
        widest = max(widest, len(f"{value:,.{numbers.decimals}f}"))
    return widest


def _format(book: Workbook, column: Column, numbers: cells.Numbers) -> Format:
    decimals = f".{'0' * numbers.decimals}" if numbers.decimals else ""
    number = f"0{decimals}%" if column.kind == "share" else f"#,##0{decimals}"
    return book.add_format({"num_format": number})
