"""The registry of writers, from which `--format` and the extension of `--output` choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from perfkit.render import markdown
from perfkit.render.csv import csv
from perfkit.render.findings import MADE_OF_FINDINGS
from perfkit.render.json import ascii_json, json_document
from perfkit.render.latex import latex
from perfkit.render.medium import Medium, main_table
from perfkit.render.opening import opening
from perfkit.render.typst import typst
from perfkit.schema.table import each_note_once

if TYPE_CHECKING:
    from perfkit.schema.report import Report
    from perfkit.schema.table import Table, Viewer


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """A format."""

    extension: str
    """Of files, in lower case."""
    document: Callable[[Sequence[Report], Medium], str | bytes]
    """Turns reports into text, or into bytes where the format is for files only."""
    form: str = ""
    """Its name for --format; empty where it is for files only."""
    viewer: Viewer = "scripts"
    """Who reads it on standard output."""
    holds_one_table: bool = False
    has_sentences: bool = False
    """Findings are part of the document, for people to read before the tables."""


def _json(reports: Sequence[Report], medium: Medium) -> str:
    document = json_document(reports, by_title=medium.by_title)
    return document if medium.can_hold(document) else ascii_json(document)


def _csv(reports: Sequence[Report], medium: Medium) -> str:
    table = main_table(reports)
    return "" if table is None else csv(table, readable=medium.is_terminal)


def _markdown(reports: Sequence[Report], medium: Medium) -> str:
    if medium.by_title:
        each = Medium(top=medium.top, tables=medium.tables)
        return "\n".join(f"## {report.title}\n\n{_markdown([report], each)}" for report in reports)
    found = [finding for report in reports for finding in report.findings]
    sentences = markdown.opening(opening(found, medium.tables))
    tables = [table for table in each_note_once(_tables(reports)) if table.name not in MADE_OF_FINDINGS]
    return "\n".join(filter(None, (sentences, *(markdown.markdown(table, top=medium.top) for table in tables))))


def _latex(reports: Sequence[Report], medium: Medium) -> str:
    return "\n".join(latex(table, top=medium.top) for table in _tables(reports))


def _typst(reports: Sequence[Report], medium: Medium) -> str:
    return "\n".join(typst(table, top=medium.top) for table in _tables(reports))


def _excel(reports: Sequence[Report], medium: Medium) -> bytes:  # noqa: ARG001 - a workbook holds every row
    from perfkit.render.excel import workbook  # noqa: PLC0415 - XlsxWriter costs 50 ms and few callers get here

    return workbook(_tables(reports))


def _tables(reports: Sequence[Report]) -> list[Table]:
    return [table for report in reports for table in report.tables]


WRITERS = (
    Writer(extension=".json", document=_json, form="json"),
    Writer(extension=".csv", document=_csv, form="csv", holds_one_table=True),
    Writer(extension=".md", document=_markdown, form="md", viewer="people", has_sentences=True),
    Writer(extension=".tex", document=_latex),
    Writer(extension=".typ", document=_typst),
    Writer(extension=".xlsx", document=_excel),
)
*_MOST, _LAST = (writer.extension for writer in WRITERS)
EXTENSIONS = f"{', '.join(_MOST)} or {_LAST}"
"""In words, for the help of flags that name a file."""
