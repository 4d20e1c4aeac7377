"""Shows reports on the terminal, in the same way for every command."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from perfkit.errors import PerfkitError, UsageError, did_you_mean
from perfkit.render import findings, opening, terminal
from perfkit.render.medium import Medium
from perfkit.render.writers import WRITERS
from perfkit.schema.finding import Finding
from perfkit.schema.printable import printable
from perfkit.schema.report import Report
from perfkit.schema.table import each_note_once

FORMS = {writer.form: writer for writer in WRITERS if writer.form}
if TYPE_CHECKING:
    Format = str
else:
    Format = Literal[("table", *FORMS)]  # a type checker cannot follow types made from values


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a command was asked for."""

    tables: tuple[str, ...] = ()
    """Names of tables; empty: all."""
    source: str = ""
    """The path; empty where the reports are by their titles, or where there is none to analyze again."""
    flags: tuple[str, ...] = ()
    """Those that choose what of the source is analysed."""

    def command(self, title: str) -> str:
        """What shows all findings."""
        again = shlex.join(("perfkit", "analyze", self.source or title, *self.flags, "--table", findings.FINDINGS))
        return printable(again)


EVERYTHING = Asked()


def write(
    reports: Sequence[Report], form: Format, *, top: int | None, by_title: bool = False, asked: Asked = EVERYTHING
) -> None:
    """Write reports to standard output: sentences, then tables. Formats without sentences have them on standard error.

    `by_title`: the reports have several sources; show each below its title.
    """
    if form == "table":
        print_reports(reports, top=top, by_title=by_title, asked=asked)
        return
    writer = FORMS[form]
    if not writer.has_sentences:
        for title, found in _sources(reports, by_title):
            for line, _ in opening.lines(opening.opening(found, asked.tables), None, asked.command(title)):
                print(f"{printable(title)}: {line}" if title and line else line, file=sys.stderr)
    shown = [report.seen_by(writer.viewer) for report in reports]
    medium = Medium(
        top=top,
        tables=asked.tables,
        by_title=by_title,
        is_terminal=sys.stdout.isatty(),
        encoding=sys.stdout.encoding or "utf-8",
    )
    document = writer.document(shown, medium)
    assert isinstance(document, str), f"--format {form}: no text"
    sys.stdout.write(document)
    if writer.holds_one_table:
        _name_other_tables(shown)


def width() -> int | None:
    """Characters in a line of standard output; None where nothing says how wide it is."""
    console = terminal.open_console(sys.stdout)
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None


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


def print_reports(
    reports: Sequence[Report],
    *,
    top: int | None,
    by_title: bool = False,
    asked: Asked = EVERYTHING,
    brief: bool = False,
) -> None:
    """Print what the reports are about, what to change first and what else to know; then their tables.

    `by_title`: each report below its title, with its own tables. `brief`: the first sentences alone.
    """
    console = terminal.open_console(sys.stdout)
    room = width()
    shown = [report.seen_by("people") for report in reports]
    for index, (title, found) in enumerate(_sources(shown, by_title)):
        if index:
            console.print()
        if title:
            console.print(printable(title), style="bold", markup=False, soft_wrap=True)
        sentences = opening.opening(found, asked.tables, brief=brief)
        for line, is_heading in opening.lines(sentences, room, asked.command(title)):
            console.print(
                terminal.encodable(line, console), style="bold" if is_heading else None, markup=False, soft_wrap=True
            )
        for place, report in enumerate([] if brief else [shown[index]] if by_title else shown):
            tables = [table for table in report.tables if table.name not in findings.MADE_OF_FINDINGS]
            if tables and (found or place):
                console.print()
            terminal.print_tables(console, each_note_once(tables), top=top)


def _sources(reports: Sequence[Report], by_title: bool) -> list[tuple[str, list[Finding]]]:
    """The title and the findings of each source; one without a title where all reports are of one source."""
    if by_title:
        return [(report.title, list(report.findings)) for report in reports]
    return [("", [finding for report in reports for finding in report.findings])] if reports else []


def chosen(
    reports: Sequence[Report],
    names: tuple[str, ...],
    where: str = "here",
    also: tuple[str, ...] = (),
    elsewhere: tuple[str, ...] = (),
) -> list[Report]:
    """Only the tables of these names (none: all), and the reports that have any. Raises UsageError for unknown names.

    `also` are tables that could be asked for, though no report has them; `elsewhere` those that other recordings have.
    Tables of findings collect the findings of all reports and go with the last report that is kept.
    """
    if not names:
        return [report for report in reports if report.names or report.findings]
    known = {name for report in reports for name in report.names}
    of_findings = findings.tables([finding for report in reports for finding in report.findings])
    known.update(table.name for table in of_findings)
    for name in names:
        if name not in known:
            if name in elsewhere:
                raise UsageError(f"--table {name}: nothing {where} is for it; choose from {', '.join(sorted(known))}")
            columns = _tables_with(name, reports) if name.isidentifier() else []
            raise UsageError(f"--table {name}: {_no_table(name, where, sorted({*known, *also}), columns)}")
    kept = [
        report.only(*names)
        for report in reports
        if report.only(*names).names
        or any(findings.is_of(name, finding) for name in names for finding in report.findings)
    ]
    return [*kept[:-1], kept[-1].plus(tables=(table for table in of_findings if table.name in names))]


def _no_table(name: str, where: str, known: list[str], with_column: Sequence[str] = ()) -> str:
    """Why there is no such table, and what was perhaps meant."""
    several = [part.strip() for part in name.split(",")]
    if len(several) > 1 and all(part in known for part in several):
        return f"put spaces between names, no commas: --table {' '.join(several)}"
    meant = did_you_mean(name, known)
    if with_column and not meant:
        return f"there is no table of that name {where}, but such a column: --table {with_column[0]} has it"
    return f"there is no table of that name {where}{meant}; choose from {', '.join(known) or 'none'}"


def _tables_with(column: str, reports: Sequence[Report]) -> list[str]:
    """Names of the tables with such a column, by its name in the data or as people read it."""
    found = (table for report in reports for table in report.tables)
    return [table.name for table in found if any(column in (one.name, one.title) for one in table.columns)]


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
