"""Reports to the terminal, the same way for every command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from perfkit.analysis.report import Report
from perfkit.errors import PerfkitError, UsageError
from perfkit.render import files, markdown, text
from perfkit.schema.printable import printable
from perfkit.schema.table import Table

Format = Literal["table", "json", "csv", "md"]


def write(reports: Sequence[Report], form: Format, *, top: int | None) -> None:
    """Reports on standard output; their remarks below them, or on standard error beside documents."""
    if form == "table":
        print_reports(reports, top=top)
    elif form == "json":
        summary = {key: value for report in reports for key, value in report.summary.items()}
        document = files.json_document(summary, [table for report in reports for table in report.tables])
        sys.stdout.write(document if _can_write(document) else files.ascii_json(document))
    elif form == "csv":
        _print_csv([table for report in reports for table in report.tables])
    else:
        tables = _each_note_once([table for report in reports for table in report.display])
        print("\n\n".join(markdown.markdown(table, top=top) for table in tables))
    if form != "table":
        for report in reports:
            for line in report.remarks:
                print(printable(line), file=sys.stderr)


@contextmanager
def and_then(ending: PerfkitError | None) -> Iterator[None]:
    """Raise an error after the body has shown what there is; also where nobody is there to see it any more."""
    try:
        yield
    except (OSError, KeyboardInterrupt):
        if ending is None:
            raise
    if ending is not None:
        raise ending


def _can_write(document: str) -> bool:
    try:
        document.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def print_reports(reports: Sequence[Report], *, top: int | None) -> None:
    """Tables for people, then remarks, report by report."""
    console = text.open_console(sys.stdout)
    for index, report in enumerate(reports):
        if index:
            console.print()
        text.print_tables(console, _each_note_once(report.display), top=top)
        console.print()
        for line in report.remarks:
            console.print(printable(line), markup=False, soft_wrap=True)


def _each_note_once(tables: Sequence[Table]) -> list[Table]:
    """The tables, without notes that one before them has."""
    said: set[str] = set()
    shown = []
    for table in tables:
        shown.append(replace(table, notes=tuple(note for note in table.notes if note not in said)))
        said.update(table.notes)
    return shown


def chosen(reports: Sequence[Report], names: tuple[str, ...]) -> list[Report]:
    """Only the tables of these names (none: all), and the reports that have any; UsageError where there is none."""
    found = {table.name for report in reports for table in report.tables}
    for name in names:
        if name not in found:
            raise UsageError(
                f"--table {name}: there is no such table here; choose from {', '.join(sorted(found)) or 'none'}"
            )
    return [report for one in reports if (report := _with_tables(one, names)).tables]


def _with_tables(report: Report, names: tuple[str, ...]) -> Report:
    if not names:
        return report
    tables = tuple(table for table in report.tables if table.name in names)
    for_people = {table.name: table for table in report.display}
    display = tuple(for_people.get(table.name, table) for table in tables)
    return Report(report.summary, tables, display, report.remarks)


def _print_csv(tables: list[Table]) -> None:
    sys.stdout.write(files.csv(tables[0], readable=sys.stdout.isatty()))
    if len(tables) > 1:
        others = ", ".join(table.name for table in tables[1:])
        print(f"this is the table {tables[0].name}; --table gives another: {others}", file=sys.stderr)
