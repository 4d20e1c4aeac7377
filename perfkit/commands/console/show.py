"""Shows reports on the terminal, in the same way for every command."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from perfkit.errors import PerfkitError, UsageError
from perfkit.render import findings, terminal
from perfkit.render.medium import Medium
from perfkit.render.writers import WRITERS
from perfkit.schema.printable import printable
from perfkit.schema.report import Report
from perfkit.schema.table import each_note_once

FORMS = {writer.form: writer for writer in WRITERS if writer.form}
if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[("table", *FORMS)]  # a type checker cannot follow types made from values


def write(reports: Sequence[Report], form: Format, *, top: int | None, by_title: bool = False) -> None:
    """Write reports to standard output, with findings before the tables, or on standard error for other formats.

    `by_title`: the reports have several sources; show each below its title.
    """
    if form == "table":
        print_reports(reports, top=top, by_title=by_title)
        return
    for report in reports:
        for line in findings.lines(report.findings):
            print(printable(f"{report.title}: {line}" if by_title else line), file=sys.stderr)
    writer = FORMS[form]
    shown = [report.seen_by(writer.viewer) for report in reports]
    medium = Medium(
        top=top, by_title=by_title, is_terminal=sys.stdout.isatty(), encoding=sys.stdout.encoding or "utf-8"
    )
    document = writer.document(shown, medium)
    assert isinstance(document, str), f"--format {form}: no text"
    sys.stdout.write(document)
    if writer.holds_one_table:
        _name_other_tables(shown)


@contextmanager
def and_then(ending: PerfkitError | None) -> Iterator[None]:
    """Raise `ending` after the body has shown the results, even if showing them failed."""
    try:
        yield
    except (OSError, KeyboardInterrupt, PerfkitError):
        if ending is None:
            raise
    if ending is not None:
        raise ending


def print_reports(reports: Sequence[Report], *, top: int | None, by_title: bool = False) -> None:
    """Print each report: its findings, one line each, then its tables."""
    console = terminal.open_console(sys.stdout)
    for index, report in enumerate(reports):
        if index:
            console.print()
        if by_title:
            console.print(printable(report.title), style="bold", markup=False, soft_wrap=True)
        for line in findings.lines(report.findings):
            console.print(printable(line), markup=False, soft_wrap=True)
        tables = report.seen_by("people").tables
        if tables and report.findings:
            console.print()
        terminal.print_tables(console, each_note_once(tables), top=top)


def chosen(
    reports: Sequence[Report], names: tuple[str, ...], where: str = "here", also: tuple[str, ...] = ()
) -> list[Report]:
    """Only the tables of these names (none: all), and the reports that have any. Raises UsageError for unknown names.

    `also` are tables that could be asked for, though no report has them. Tables of findings collect the findings of all
    reports and go with the last report that is kept.
    """
    if not names:
        return [report for report in reports if report.names or report.findings]
    known = {name for report in reports for name in report.names}
    of_findings = findings.tables([finding for report in reports for finding in report.findings])
    known.update(table.name for table in of_findings)
    for name in names:
        if name not in known:
            raise UsageError(f"--table {name}: {_no_table(name, where, sorted({*known, *also}))}")
    kept = [
        report.only(*names)
        for report in reports
        if report.only(*names).names
        or any(findings.is_of(name, finding) for name in names for finding in report.findings)
    ]
    return [*kept[:-1], kept[-1].plus(tables=(table for table in of_findings if table.name in names))]


def _no_table(name: str, where: str, known: list[str]) -> str:
    """Why there is no such table, and what was perhaps meant."""
    several = [part.strip() for part in name.split(",")]
    if len(several) > 1 and all(part in known for part in several):
        return f"put spaces between names, no commas: --table {' '.join(several)}"
    close = difflib.get_close_matches(name.lower(), known, 1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"there is no table of that name {where}{meant}; choose from {', '.join(known) or 'none'}"


def _name_other_tables(reports: Sequence[Report]) -> None:
    """For a format that holds one table: say which table it is, and which others there are."""
    main = next((report for report in reports if report.names), None)
    if main is None:
        return
    others = [name for report in reports for name in report.names]
    others.remove(main.main_table.name)
    if others:
        print(
            f"this is the table {main.main_table.name}; --table chooses another: {', '.join(others)}", file=sys.stderr
        )
