"""`perfkit report`: one HTML file about a run, a trace or a sweep, or about two of them side by side."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import perfkit
from perfkit.analysis.costs.roofline.clock import clock_mhz
from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports import overhead, repeats
from perfkit.analysis.reports import sweep as sweep_report
from perfkit.analysis.reports import two_traces as trace_comparison
from perfkit.analysis.reports.page import runs, trace
from perfkit.analysis.reports.trace import View
from perfkit.analysis.runs import comparison
from perfkit.commands.console.progress import attributing
from perfkit.commands.inputs import completing, traces
from perfkit.commands.inputs.paths import (
    Input,
    RecordFile,
    RunFolder,
    RunsFolder,
    SweepResults,
    TraceFile,
    inputs_of,
    side,
)
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema import record as records
from perfkit.schema.page.sections import Page, Part
from perfkit.schema.printable import printable
from perfkit.schema.record import RunRecord

_MORE = Parameter(
    name="MORE", help="More paths; of two, the report begins with a comparison.", completer=completing.paths
)
EXTENSIONS = (".html", ".htm")
MOST_SOURCES = 8
"""Sources in one file: with more it would grow without bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Where the report goes."""

    output: Annotated[Path, Parameter(alias="-o")] = Path("report.html")
    """The file to write: .html, complete in itself."""
    open: bool = False
    """Open the file in the browser."""
    no_cache: bool = False
    """Do not use the cache. By default large parsed traces are kept in the user's cache directory."""


_DEFAULT = ReportOptions()


def execute(
    path: Annotated[str, Parameter(allow_leading_hyphen=True, completer=completing.paths)],
    /,
    *more: Annotated[str, _MORE],
    options: Annotated[ReportOptions, Parameter(name="*")] = _DEFAULT,
    show: Annotated[Callable[[str], bool], Parameter(parse=False)] = webbrowser.open,
) -> int:
    """Write one HTML file about a run's folder, a record, a trace, or a sweep's .csv: charts, tables, a timeline.

    It needs no network, and can be sent to somebody as it is.

    Example: perfkit report traces/20261123-101500_small_train -o report.html --open
    """
    files.check_place(options.output, EXTENSIONS)
    paths = (path, *more)
    if len(paths) > MOST_SOURCES:
        raise UsageError(f"a report holds {MOST_SOURCES} sources, not {len(paths)}: write several reports")
    inputs = inputs_of(paths)
    parts = [_part(input_, name, use_cache=not options.no_cache) for input_, name in zip(inputs, paths, strict=True)]
    if len(inputs) == 2 and (compared := _compared(*inputs, use_cache=not options.no_cache)) is not None:
        parts.insert(0, compared)
    command = printable(shlex.join(["perfkit", "report", *paths, "-o", str(options.output)]))
    title = (
        parts[0].title
        if len(parts) == 1
        else " and ".join(Path(name).name for name in paths)
        if len(paths) == 2
        else f"{len(paths)} sources"
    )
    page = Page(title=title, parts=tuple(parts), command=command, version=perfkit.__version__)
    from perfkit.render.html.document import document  # packing what draws takes a moment

    data = document(page).encode()
    files.replace(options.output, data)
    print(f"wrote {printable(str(options.output))} ({len(data) / 1e6:.2f} MB)", file=sys.stderr)
    if options.open and not show(options.output.resolve().as_uri()):
        raise UsageError(f"no browser could be started: open {options.output} yourself")
    return 0


def _part(input_: Input, name: str, *, use_cache: bool) -> Part:
    match input_:
        case TraceFile(source):
            return _of_trace(source, use_cache=use_cache)
        case RecordFile(record=saved):
            return runs.run(saved, source=name)
        case RunFolder(folder, saved):
            return _of_run(saved, folder, name, use_cache=use_cache)
        case RunsFolder(folder, saved_runs) if len(saved_runs) == 1:
            return _of_trace(folder, use_cache=use_cache)
        case RunsFolder(folder, saved_runs):
            if len({saved.config for _, saved in saved_runs}) > 1:
                raise UsageError(
                    f"{folder} holds runs of several configurations: name one run, or the sweep's results (.csv)"
                )
            return runs.processes(repeats.report(side(input_, "")), saved_runs[0][1], name)
        case SweepResults(rows=rows):
            varied = sweep_report.varied(rows)
            return runs.sweep(sweep_report.report(rows, varied), rows, varied, name)


def _of_run(saved: RunRecord, folder: Path, name: str, *, use_cache: bool) -> Part:
    """A run with its plain steps and its trace, as far as its folder holds them."""
    plain, traced = (records.artifact(saved, folder, kind) for kind in ("plain", "trace"))
    plains = [records.load(plain)] if plain is not None and plain.exists() else []
    part = None
    if traced is not None:
        part = _of_trace(traced, View(mhz=clock_mhz(saved, *plains)), saved, use_cache=use_cache)
    return runs.run(saved, part, [overhead.report(saved, one) for one in plains], name)


def _of_trace(path: Path | str, view: View | None = None, record: RunRecord | None = None, *, use_cache: bool) -> Part:
    loaded = traces.load(path, use_cache=use_cache)
    with attributing(loaded.facts.events):
        return replace(trace.part(loaded, view, record=record), source=str(path))


def _compared(a: Input, b: Input, *, use_cache: bool) -> Part | None:
    """B against A; None where they are a trace and a run. Runs that cannot be compared have the reason in its place."""
    if isinstance(a, TraceFile) and isinstance(b, TraceFile):
        before, after = (traces.load(one.path, use_cache=use_cache) for one in (a, b))
        with attributing(before.facts.events + after.facts.events):
            return runs.comparison(trace_comparison.report(before, after))
    if isinstance(a, TraceFile) or isinstance(b, TraceFile):
        return None
    try:
        return runs.comparison(comparison_report.report(comparison.compare(side(a, "A"), side(b, "B"))))
    except UsageError as error:
        return runs.not_compared(str(error))
