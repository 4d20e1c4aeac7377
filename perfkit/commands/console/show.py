"""Reports to the terminal, the same way for every command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

from perfkit.errors import PerfkitError, UsageError
from perfkit.render import files, findings, markdown, text
from perfkit.schema.printable import printable
from perfkit.schema.report import Report
from perfkit.schema.table import Table

Format = Literal["table", "json", "csv", "md"]


def write(reports: Sequence[Report], form: Format, *, top: int | None) -> None:
    """Reports on standard output; their findings before the tables, or on standard error beside documents."""
    if form == "table":
        print_reports(reports, top=top)
        return
    for line in (line for report in reports for line in findings.lines(report.findings)):
        print(printable(line), file=sys.stderr)
    shown = [report.seen_by("people" if form == "md" else "scripts") for report in reports]
    if form == "json":
        document = files.json_document(shown)
        sys.stdout.write(document if _can_write(document) else files.ascii_json(document))
    elif form == "csv":
        _print_csv([report for report in shown if report.names])
    else:
        tables = _each_note_once([table for report in shown for table in report.tables])
        print("\n\n".join(markdown.markdown(table, top=top) for table in tables))


@contextmanager
def and_then(ending: PerfkitError | None) -> Iterator[None]:
    """Raise an error after the body has shown what there is; also where it cannot be shown, or nobody is there."""
    try:
        yield
    except (OSError, KeyboardInterrupt, PerfkitError):
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
    """Report by report: what to know, a line each, then the tables for people."""
    console = text.open_console(sys.stdout)
    for index, report in enumerate(reports):
        if index:
            console.print()
        for line in findings.lines(report.findings):
            console.print(printable(line), markup=False, soft_wrap=True)
        tables = report.seen_by("people").tables
        if tables and report.findings:
            console.print()
        text.print_tables(console, _each_note_once(tables), top=top)


def _each_note_once(tables: Sequence[Table]) -> list[Table]:
    """The tables, without notes that one before them has."""
    said: set[str] = set()
    shown = []
    for table in tables:
        shown.append(replace(table, notes=tuple(note for note in table.notes if note not in said)))
        said.update(table.notes)
    return shown


def chosen(reports: Sequence[Report], names: tuple[str, ...]) -> list[Report]:
    """Only the tables of these names (none: all), and the reports that have any; UsageError where there is none.

    The tables that are made of findings are made of those of all reports, and go with the last one that has any.
    """
    if not names:
        return [report for report in reports if report.names or report.findings]
    known = {name for report in reports for name in report.names}
    of_findings = findings.tables([finding for report in reports for finding in report.findings])
    known.update(table.name for table in of_findings)
    for name in names:
        if name not in known:
            raise UsageError(
                f"--table {name}: there is no such table here; choose from {', '.join(sorted(known)) or 'none'}"
            )
    kept = [
        report.only(*names)
        for report in reports
        if report.only(*names).names or any(findings.is_of(name, one) for name in names for one in report.findings)
    ]
    return [*kept[:-1], kept[-1].plus(tables=(table for table in of_findings if table.name in names))]


def _print_csv(reports: list[Report]) -> None:
    if not reports:
        return
    table = reports[0].main_table
    sys.stdout.write(files.csv(table, readable=sys.stdout.isatty()))
    others = [name for report in reports for name in report.names]
    others.remove(table.name)  # reports[0] has it
    if others:
        print(f"this is the table {table.name}; --table gives another: {', '.join(others)}", file=sys.stderr)
