"""`perfkit report`: one HTML file about a run, a trace or a sweep, or about two of them side by side."""

from __future__ import annotations

import shlex
import sys
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import perfkit
from perfkit.analysis.reports.page import runs
from perfkit.commands import sources
from perfkit.commands.console.progress import going_on
from perfkit.commands.inputs import completing, jobs, traces
from perfkit.commands.inputs.paths import Input, inputs_of, refuse_overwriting
from perfkit.commands.inputs.recordings import of_one_job
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema.page.sections import Page, Part
from perfkit.schema.printable import printable

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
    refuse_overwriting(options.output, *(input_.path for input_ in inputs))
    read: jobs.Read = partial(traces.load, use_cache=not options.no_cache)
    if len(inputs) == 2:
        read = cache(read)  # for the comparison too: standard input is there once
    parts = _comparison(inputs[0], inputs[1], read) if len(inputs) == 2 else []
    if ranks := of_one_job(inputs):
        parts.insert(0, sources.of_recordings(None, ranks, "", read=read).part())
    for input_, name in zip(inputs, paths, strict=True):
        parts.append(sources.source_of(input_, name, read=read).part())
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

    with going_on("writing the page"):
        data = document(page).encode()
    files.replace(options.output, data)
    print(f"wrote {printable(str(options.output))} ({len(data) / 1e6:.2f} MB)", file=sys.stderr)
    if options.open and not show(options.output.resolve().as_uri()):
        print(f"no browser was found: open {printable(str(options.output.resolve()))} in one", file=sys.stderr)
    return 0


def _comparison(a: Input, b: Input, read: jobs.Read) -> list[Part]:
    """B against A; none where they are a trace and a run. Where they cannot be compared, the reason in its place."""
    try:
        compared = sources.compared(a, b, read=read)
    except UsageError as error:
        return [runs.not_compared(str(error))]
    return [compared.part()] if compared else []
