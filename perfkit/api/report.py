"""`perfkit.report` and `perfkit.compare`: what the commands say, as objects that show themselves."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import perfkit
from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.time.account import Selection, StepChoice
from perfkit.analysis.time.trace_table import By, View
from perfkit.api.table import FramedTable, framed
from perfkit.commands import sources
from perfkit.commands.console import show
from perfkit.commands.inputs import traces
from perfkit.commands.inputs.paths import inputs_of
from perfkit.commands.sources import Source
from perfkit.errors import UsageError, did_you_mean
from perfkit.render import files, findings
from perfkit.render.html.document import document
from perfkit.render.html.embedded import embedded
from perfkit.render.medium import Medium
from perfkit.render.writers import WRITERS
from perfkit.schema.finding import Finding, in_reading_order
from perfkit.schema.page.sections import Page
from perfkit.schema.printable import printable
from perfkit.schema.record import RunRecord
from perfkit.trace.columns import Trace

PathLike: TypeAlias = "str | os.PathLike[str]"
PAGES = (".html", ".htm")
"""Extensions of a report with charts; the others are those of the registry of writers."""
_WRITERS = {writer.extension: writer for writer in WRITERS}


class SourceReport:
    """What there is to say of a trace, a run or a sweep, or of two that are compared.

    In a notebook it shows itself. Tables are computed when they are asked for, the page when it is shown or saved.
    """

    def __init__(self, source: Source, call: str) -> None:
        """`call`: the Python that makes it, for the foot of its page."""
        self._source = source
        self._call = call
        self._page: Page | None = None

    def __repr__(self) -> str:
        return f"<{self._call}: {len(self.names)} tables; .show() prints it, .save('report.html') writes it>"

    def _repr_html_(self) -> str:
        return embedded(self._made())

    @property
    def title(self) -> str:
        """What it is about: a trace's file, a run."""
        return printable(self._source.reports[0].title)

    @property
    def summary(self) -> dict[str, Any]:
        """Scalars; units are in the names: `total_ns`, `mean_s`. The keys are in docs/record_format.md."""
        return {key: value for report in self._source.reports for key, value in report.summary.items()}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What to know and what to change, in the order of reading."""
        return in_reading_order([finding for report in self._source.reports for finding in report.findings])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its tables. Computes none."""
        return (*(name for report in self._source.reports for name in report.names), *findings.MADE_OF_FINDINGS)

    def table(self, name: str) -> FramedTable:
        """The table of this name. Raises UsageError where there is none."""
        tables = (report.table(name) for report in self._source.reports)
        if (found := next((table for table in tables if table is not None), None)) is not None:
            return framed(found)
        if name in findings.MADE_OF_FINDINGS:
            for table in findings.tables(self.findings):
                if table.name == name:
                    return framed(table)
        meant = did_you_mean(name, self.names)
        raise UsageError(f"there is no table {name!r} here{meant}: choose from {', '.join(self.names)}")

    def show(self, *tables: str, top: int = 20) -> None:
        """Print what `perfkit analyze` prints: sentences, then these tables (none named: all), `top` rows of each.

        Raises UsageError where there is no such table.
        """
        for name in tables:
            self.table(name)
        shown = show.chosen(self._source.reports, tables)
        show.write(shown, "table", top=top, asked=show.Asked(tables=tables, source=self._source.name))

    def save(self, path: PathLike) -> Path:
        """Write it to a file, whose extension chooses the format, and return the file.

        .html has charts, tables and a timeline, complete in itself; .json everything; .csv the main table alone; .md,
        .tex, .typ and .xlsx tables. Raises UsageError for another extension, or where the file cannot be written.
        """
        file = Path(path)
        files.check_place(file, (*PAGES, *_WRITERS))
        suffix = file.suffix.lower()
        if suffix in PAGES:
            data: str | bytes = document(self._made())
        else:
            writer = _WRITERS[suffix]
            data = writer.document([report.seen_by(writer.viewer) for report in self._source.reports], Medium())
        files.replace(file, data.encode() if isinstance(data, str) else data)
        return file

    def _made(self) -> Page:
        if self._page is None:
            part = self._source.part()
            self._page = Page(title=part.title, parts=(part,), command=self._call, version=perfkit.__version__)
        return self._page


def report(
    source: PathLike | Trace | RunRecord,
    *,
    steps: StepChoice = "auto",
    phase: str | None = None,
    by: By = "component",
    depth: int | None = None,
    fold: bool = True,
    modules: Mapping[str, str] | None = None,
    use_cache: bool = True,
) -> SourceReport:
    """What there is to say of a trace, a run's folder, a record, a folder of runs, or a sweep's results (.csv).

    `source` is a path, or what `perfkit.load` or a run returned. The others are of traces, and as the flags of
    `perfkit analyze` of these names: `steps` is "auto", "all" or a step's number; `phase` leaves out the others; `by`,
    `depth` and `fold` are of the table `groups`; `modules` is {path: class}, as `perfkit.module_tree` returns it.

    Raises UsageError where the source cannot be read, or has no such step or phase.
    """
    view = _view(steps, phase, by, depth, fold, modules)
    if isinstance(source, Trace):
        name = str(source.source)
        made = sources.of_trace(source, name, view)
    elif isinstance(source, RunRecord):
        name = source.config.workload.name
        made = sources.of_record(source, "")
    else:
        name = os.fspath(source)
        [input_] = inputs_of([name])
        made = sources.source_of(input_, name, view, read=partial(traces.load, use_cache=use_cache))
    return SourceReport(made, f"perfkit.report({printable(name)!r})")


def compare(
    a: PathLike, b: PathLike, *, margin: float = 0.01, force: bool = False, use_cache: bool = True
) -> SourceReport:
    """B against A: runs with a verdict, or two traces side by side, as `perfkit compare` does.

    margin: runs are the same where the interval of their ratio is within 1 +- this; 0.01 is 1%. force: compare runs
    despite another GPU, driver, version or precision. Raises UsageError where they cannot be compared.
    """
    names = (os.fspath(a), os.fspath(b))
    made = sources.compared(
        *inputs_of(names), margin=margin, force=force, read=partial(traces.load, use_cache=use_cache)
    )
    if made is None:
        raise UsageError(f"of {names[0]} and {names[1]} one is a trace: compare traces with traces, runs with runs")
    return SourceReport(made, f"perfkit.compare({', '.join(repr(printable(name)) for name in names)})")


def _view(
    steps: StepChoice, phase: str | None, by: By, depth: int | None, fold: bool, modules: Mapping[str, str] | None
) -> View:
    """The arguments as the analysis expects them. Raises UsageError for a value that there is not."""
    phases = [one.name.lower() for one in Phase]
    for what, value, known in (("phase", phase, phases), ("by", by, typing.get_args(By))):
        if value is not None and value not in known:
            raise UsageError(f"{what}={value!r}{did_you_mean(str(value), known)}: choose from {', '.join(known)}")
    if not (steps in ("auto", "all") or (isinstance(steps, int) and steps >= 0)):
        raise UsageError(f"steps={steps!r}: choose 'auto', 'all', or a step's number, counted from 0")
    if depth is not None and depth < 1:
        raise UsageError(f"depth={depth}: must be at least 1")
    selection = Selection(Phase[phase.upper()] if phase else None, steps)
    return View(selection, by, depth, fold, dict(modules) if modules else None)
