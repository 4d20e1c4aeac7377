"""`perfkit memory`: where the memory of a snapshot or a run went, by kind and layer."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import perfkit
from perfkit import signals
from perfkit.analysis.memory.recorded import account as accounts
from perfkit.analysis.memory.recorded import categories
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.reports import recorded_memory
from perfkit.analysis.reports.page import live_memory, pictures
from perfkit.analysis.runs import ranks
from perfkit.commands.console import progress, show
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing, recorded
from perfkit.commands.inputs.paths import RunFolder, inputs_of, out_of_tables, refuse_overwriting
from perfkit.commands.pictures import Plots, plot_flag
from perfkit.commands.report import EXTENSIONS as PAGES
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.render.writers import EXTENSIONS, WRITERS
from perfkit.schema.finding import Finding
from perfkit.schema.page.pictures import OF_MEMORY
from perfkit.schema.page.sections import Page, Part
from perfkit.schema.printable import printable
from perfkit.schema.report import Report
from perfkit.trace.snapshot.timeline import is_timeline, read_timeline

_PATH = Parameter(
    allow_leading_hyphen=True,
    help="A snapshot of PyTorch's allocator (.pickle, also gzipped or zipped), a run's folder, a trace with memory"
    " events, or a memory timeline of torch.profiler.",
    completer=completing.paths,
)
_TABLE = Parameter(consume_multiple=(1, None), completer=completing.names(recorded_memory.NAMES))
_PICTURES = tuple(OF_MEMORY)
_KNOWN = (*recorded_memory.NAMES, ranks.NAME)
_OUTPUT = Parameter(
    alias="-o", help=f"Also write it here: .html for a page, or {EXTENSIONS}; .csv holds the table peak alone."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """What to show, and in which format."""

    at: str = "peak"
    """The moment that is looked at: peak, 12.5ms after the first event, or step:3 for the peak of step 3."""
    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: Annotated[tuple[str, ...], _TABLE] = ()
    """Show only these tables: kinds, peak, largest, ... (an unknown name lists them)."""
    top: int = 20
    """Show this many rows of each table (--format table and md); one more row has the sum of the others."""
    output: Annotated[Path | None, _OUTPUT] = None
    plot: Annotated[tuple[str, ...], plot_flag(_PICTURES)] = ()
    export_viewer: Path | None = None
    """Also write the recording for PyTorch's viewer (https://pytorch.org/memory_viz), with what each piece is for."""
    no_cache: bool = False
    """Do not use the cache. By default large parsed traces are kept in the user's cache directory."""

    def __post_init__(self) -> None:
        if self.top < 0:
            raise UsageError(f"--top {self.top}: must be 0 or more")
        if self.output is not None:
            files.check_place(self.output, (*PAGES, *(writer.extension for writer in WRITERS)))
        if self.export_viewer is not None:
            files.check_writable(self.export_viewer)


_DEFAULT = MemoryOptions()


def execute(
    path: Annotated[str | None, _PATH] = None,
    /,
    *more: Annotated[str, Parameter(show=False)],
    options: Annotated[MemoryOptions, Parameter(name="*")] = _DEFAULT,
) -> int:
    """Show what memory was for at its peak, from a snapshot of PyTorch's allocator or a run with --profiler memory.

    Example: perfkit memory snapshot.pickle --plot memory_timeline
    """
    tables, among_tables = out_of_tables(options.table, _KNOWN)
    options = replace(options, table=tables)
    plots = Plots(options.plot, _PICTURES)
    named = [*filter(None, (path,)), *more, *among_tables]
    if len(named) != 1:
        raise UsageError("name one snapshot, run or trace" + (": perfkit compare takes two" if named else ""))
    if is_timeline(Path(named[0])):
        return _of_timeline(Path(named[0]), options)
    [input_] = inputs_of(named)
    for written in filter(None, (options.output, options.export_viewer)):
        refuse_overwriting(written, input_.path)
    if isinstance(input_, RunFolder) and input_.record.ranks:
        return _of_ranks(input_, options)
    account = _at(recorded.account_of(input_, use_cache=not options.no_cache), options.at)
    report = recorded_memory.report(account, Path(named[0]).name, recorded.config_of(input_))
    plots.offer(pictures.OF_MEMORY, account)
    if options.export_viewer is not None:
        _export(account, options.export_viewer)
    reports = show.chosen([report], options.table)
    if options.output is not None and options.output.suffix.lower() in PAGES:
        _write_page(live_memory.part(account, report, named[0]), options.output)
    elif options.output is not None:
        files.write(options.output, reports[0].seen_by("scripts"))
    plots.draw()
    show.write(reports, options.format, top=options.top, asked=show.Asked(tables=options.table, source=named[0]))
    return 0


def _of_timeline(path: Path, options: MemoryOptions) -> int:
    """What torch.profiler wrote of categories over time: a peak, and nothing that could be drawn or taken apart."""
    _refuse_what_is_of_a_recording(options, "a memory timeline has the sums of kinds alone")
    with progress.reading(path.name) as advance:
        timeline = read_timeline(path, advance)
    reports = show.chosen([categories.report(timeline, path.name)], options.table)
    if options.output is not None:
        refuse_overwriting(options.output, path)
        files.write(options.output, reports[0].seen_by("scripts"))
    show.write(reports, options.format, top=options.top, asked=show.Asked(tables=options.table, source=str(path)))
    return 0


def _of_ranks(job: RunFolder, options: MemoryOptions) -> int:
    """The peaks of a job's ranks, a row each; what a rank recorded is shown of its own folder."""
    every = ranks.results(job.record)
    own = [str(job.path / Path(one.artifacts["memory"]).parent) for one in every if "memory" in one.artifacts]
    advice = f"name one of them: {', '.join(own[:3])}" if own else "perfkit run --profiler memory records one process"
    _refuse_what_is_of_a_recording(options, f"{job.path} has the peaks of {len(every)} ranks: {advice}")
    table, found = ranks.table(job.record), ranks.finding(job.record)
    says = Finding(ranks.MEMORY_OF_RANKS, f"what the memory was for is known of one process at a time: {advice}")
    report = Report(str(job.path), {"ranks": len(every)}, (table,), findings=[*filter(None, (found,)), says])
    reports = show.chosen([report], options.table)
    if options.output is not None:
        files.write(options.output, reports[0].seen_by("scripts"))
    show.write(reports, options.format, top=options.top, asked=show.Asked(tables=options.table, source=str(job.path)))
    return 0


def _refuse_what_is_of_a_recording(options: MemoryOptions, why: str) -> None:
    asked = {"--at": options.at != "peak", "--plot": bool(options.plot), "--export-viewer": options.export_viewer}
    is_page = options.output is not None and options.output.suffix.lower() in PAGES
    if refused := [flag for flag, given in (*asked.items(), ("-o page.html", is_page)) if given]:
        raise UsageError(f"{refused[0]} needs a snapshot or a run: {why}")


def _write_page(part: Part, path: Path) -> None:
    with signals.at_once():
        from perfkit.render.html.document import document

    command = printable(shlex.join(["perfkit", "memory", part.source, "-o", str(path)]))
    page = Page(title=part.title, parts=(part,), command=command, version=perfkit.__version__)
    files.replace(path, document(page).encode())


def _at(account: MemoryAccount, moment: str) -> MemoryAccount:
    try:
        return replace(account, at=accounts.moment(account.lives, moment))
    except UsageError as error:
        raise UsageError(f"--at {error}") from error


def _export(account: MemoryAccount, path: Path) -> None:
    with signals.at_once():
        from perfkit.export import memory_viewer

    with files.replacing(path) as file:
        memory_viewer.write(account.lives, account.snapshot, file)
    print(f"wrote {printable(str(path))}: drop it on https://pytorch.org/memory_viz", file=sys.stderr)
