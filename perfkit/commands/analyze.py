"""`perfkit analyze`: tables from a trace file, a run's folder or a record, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

from cyclopts import Group, Parameter

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.reports import kernels as kernel_summary
from perfkit.analysis.reports.trace import NAMES
from perfkit.analysis.time import breakdown
from perfkit.analysis.time.account import Selection
from perfkit.analysis.time.steps import STEPS
from perfkit.analysis.time.trace_table import By, View
from perfkit.commands import exports, reports
from perfkit.commands.console import show
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing, recordings, traces
from perfkit.commands.inputs.addresses import How, is_remote
from perfkit.commands.inputs.paths import (
    Input,
    RecordFile,
    RunFolder,
    RunsFolder,
    SnapshotFile,
    SweepResults,
    TraceFile,
    expanded,
    inputs_of,
    out_of_tables,
    records_of,
    refuse_overwriting,
    shown,
    side,
    with_runs_of_their_own,
)
from perfkit.commands.inputs.recordings import RecordingFile
from perfkit.commands.pictures import Plots, out_of_pictures, plot_flag
from perfkit.errors import UsageError
from perfkit.render import files
from perfkit.schema import module_tree
from perfkit.schema.page.pictures import OF_RUNS, OF_SWEEPS, OF_TRACES, names_of
from perfkit.schema.report import Report, joined
from perfkit.trace import foreign
from perfkit.trace.columns import Content

if TYPE_CHECKING:
    from perfkit.analysis.time.account import Account
    from perfkit.schema.record import RunRecord
    from perfkit.schema.sweep import SweepRow

_ONE_EXPORT = "--export-perfetto writes one trace: name one trace, or a run that has one"
_ONE_SOURCE = "--plot draws pictures of one trace, run or sweep: name one"
_MORE = Parameter(
    name="MORE", help="More paths; each is shown separately, ranks in one table.", completer=completing.paths
)
_PATH = Parameter(
    allow_leading_hyphen=True,
    help="A trace, a run's folder or record.json, a sweep's .csv, or a folder or pattern of those.",
    completer=completing.paths,
)
_TABLE = Parameter(consume_multiple=(1, None), completer=completing.names((*NAMES, kernel_summary.NAME, "findings")))
_MANY = Parameter(group=Group("Many", sort_key=1))
_PICTURES = names_of(OF_TRACES, OF_RUNS, OF_SWEEPS)

PhaseName = Literal["forward", "recompute", "backward", "optimizer", "communication", "other", "unlaunched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeOptions:
    """What to show, and in which format."""

    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: Annotated[tuple[str, ...], _TABLE] = ()
    """Show only these tables: groups, kernels, phases, findings, ... (an unknown name lists those of the file)."""
    top: int = 20
    """Show this many rows of each table (--format table and md); one more row has the sum of the others."""
    by: By = "component"
    """What each row of the table `groups` stands for: layer, module, class, component (a place in all layers), ..."""
    depth: int | None = None
    """Cut module paths to this many components; deeper modules are added to the one that contains them."""
    no_fold: bool = False
    """Show one row for every layer, instead of one for all layers that differ only in their number."""
    wide: bool = False
    """Show every column and kernels' full names, however wide the tables get: nothing is left out or cut."""
    by_device: bool = False
    """Show rows for each device in every table of device work, instead of their sums."""
    phase: PhaseName | None = None
    """Show only this phase, in every table."""
    steps: str = "auto"
    """auto (the measured steps of perfkit's own traces, all of any other trace), all, or one step's number, from 0."""

    total: bool = False
    """Show totals over the steps, instead of the mean of a step. JSON and CSV always have totals."""
    plot: Annotated[tuple[str, ...], plot_flag(_PICTURES)] = ()
    export_perfetto: Path | None = None
    """Also write the trace for ui.perfetto.dev, with layers, phases, idle gaps, findings and counters as tracks of
    their own: protobuf, or JSON for .json; compressed if .gz follows."""

    export_tensorboard: Path | None = None
    """Also write results, tables and figures into this folder, for TensorBoard; of a sweep, a folder for each run."""

    modules: Path | None = None
    """JSON file with the model's tree, {path: class}, as from perfkit.module_tree(model); names nn.Module frames."""
    capture: Path | None = None
    """Trace of the capture of the CUDA graphs that this trace replays; their kernels get the modules that it shows."""
    workers: Annotated[int | None, _MANY] = None
    """Add up all traces, each read by one of this many processes; needs perfkit[cluster], unless it is 1."""
    scheduler: Annotated[str | None, _MANY] = None
    """Have the workers of a Dask scheduler add up all traces: its address, such as tcp://10.0.0.5:8786."""
    resume: Annotated[Path | None, _MANY] = None
    """Keep what is made of each trace in this folder, and take from there what was made before."""
    no_cache: bool = False
    """Do not use the cache. By default large parsed traces are kept in the user's cache directory."""

    @property
    def wants_summary_only(self) -> bool:
        """Whether only the kernel summary is wanted: it needs no attribution, so only kernels are read."""
        if kernel_summary.NAME not in self.table:
            return False
        if self.table != (kernel_summary.NAME,):
            raise UsageError(f"--table {kernel_summary.NAME} cannot be combined with other tables: name it alone")
        if self.phase or self.steps != "auto" or self.by_device:
            raise UsageError(
                f"--table {kernel_summary.NAME} has no phases, steps or devices: drop --phase, --steps and --by-device,"
                " or choose kernels"
            )
        return True

    @property
    def narrowing(self) -> tuple[str, ...]:
        """The flags that choose what is analysed, as they were given."""
        given = {"--steps": self.steps if self.steps != "auto" else None, "--modules": self.modules,
                 "--capture": self.capture}  # fmt: skip
        return tuple(str(part) for flag, value in given.items() if value is not None for part in (flag, value))

    def many(self, paths: Sequence[str]) -> How | None:
        """How to add up all traces, where that is asked for; None where each path is shown by itself.

        Raises UsageError for flags that are of one trace.
        """
        asked = {"--workers": self.workers, "--scheduler": self.scheduler, "--resume": self.resume}
        flag = next((flag for flag, value in asked.items() if value is not None), "")
        if not (flag or is_remote(paths)):
            return None
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"--workers {self.workers}: must be at least 1")
        if self.workers is not None and self.scheduler is not None:
            raise UsageError("--workers and --scheduler: the scheduler has its own workers: leave --workers out")
        self.refuse_exports()
        others = {"--plot": self.plot, "--capture": self.capture, "--by-device": self.by_device}
        if one := next((other for other, value in others.items() if value), ""):
            raise UsageError(f"{one} is of one trace, and {flag or paths[0]} adds up several: leave it out")
        return How(workers=self.workers or 1, scheduler=self.scheduler, resume=self.resume)

    def refuse_exports(self) -> None:
        """Raise UsageError where what is for one path alone was asked for."""
        if self.export_perfetto is not None:
            raise UsageError(_ONE_EXPORT)
        if self.export_tensorboard is not None:
            raise UsageError("--export-tensorboard writes one run, trace or sweep: name one path")

    def view(self) -> View:
        """The options as the analysis expects them."""
        phase = Phase[self.phase.upper()] if self.phase else None
        if self.steps not in ("auto", "all") and not self.steps.isdecimal():
            raise UsageError(f"--steps {self.steps}: choose auto, all, or a step's number, counted from 0")
        if self.top < 0:
            raise UsageError(f"--top {self.top}: must be 0 or more")
        if self.depth is not None and self.depth < 1:
            raise UsageError(f"--depth {self.depth}: must be at least 1")
        steps = int(self.steps) if self.steps.isdecimal() else self.steps
        if self.capture and kernel_summary.NAME in self.table:
            raise UsageError(f"--table {kernel_summary.NAME} has no modules: drop --capture, or choose kernels")
        selection, modules = Selection(phase, steps), _module_tree(self.modules)  # type: ignore[arg-type]
        captures = traces.captures(self.capture, modules, use_cache=not self.no_cache) if self.capture else None
        if self.export_perfetto is not None:
            files.check_writable(self.export_perfetto)
        if (
            self.export_tensorboard is not None
            and self.export_tensorboard.exists()
            and not self.export_tensorboard.is_dir()
        ):
            raise UsageError(f"--export-tensorboard {self.export_tensorboard}: is a file: name a folder")
        return View(
            selection,
            self.by,
            self.depth,
            not self.no_fold,
            modules,
            captures,
            self.by_device,
        )


def _module_tree(path: Path | None) -> dict[str, str] | None:
    try:
        return module_tree.load(path) if path else None
    except UsageError as error:
        raise UsageError(f"--modules {error}") from error


def execute(
    path: Annotated[str | None, _PATH] = None,
    /,
    *more: Annotated[str, _MORE],
    options: Annotated[AnalyzeOptions, Parameter(name="*")] = AnalyzeOptions(),
) -> int:
    """Show where the time went, from a trace (.pt.trace.json.gz), a run's folder, its record.json, or a sweep's .csv.

    The path - is a trace on standard input; of several paths it comes first. Each path is shown separately, but several
    traces of one job (ranks, the profiler's cycles), or a folder of them, as one table with a row each.

    Example: perfkit analyze traces/20261123-101500_small_train --format json
    """
    tables, among_tables = out_of_tables(options.table, NAMES)
    words, among_words = out_of_pictures(options.plot, _PICTURES)
    options, plots = replace(options, table=tables, plot=words), Plots(words, _PICTURES)
    named = (*(() if path is None else (path,)), *more, *among_tables, *among_words) or (_missing(tables),)
    first, *others = paths = expanded(named)
    view = options.view()
    if (how := options.many(paths)) is not None:
        from perfkit.commands import many

        shown = show.chosen([many.report(paths, view, how)], options.table)
        shown = [report.in_full() for report in shown] if options.wide else shown
        shown = [report.in_total() for report in shown] if options.total else shown
        show.write(shown, options.format, top=options.top, asked=show.Asked(tables=options.table))
        return 0
    inputs = inputs_of(paths)
    files = _of_one_job(inputs, options.table)
    if files:
        from perfkit.analysis.reports import recordings as recordings_report
        from perfkit.commands.inputs import jobs

        if set(options.table) <= set(recordings_report.NAMES):
            if plots:
                raise UsageError(_ONE_SOURCE)
            options.refuse_exports()
            folder = None if others else Path(first)
            read = partial(traces.load, use_cache=not options.no_cache)
            made = jobs.recordings_of(folder, files, view, read=read)
            chosen = show.chosen([made], options.table, "here", (), recordings_report.NAMES)
            show.write(chosen, options.format, top=options.top)
            return 0
        paths, inputs = tuple(str(file.path) for file in files), [TraceFile(file.path) for file in files]
    if len(paths) > 1 and options.format in show.FORMS and show.FORMS[options.format].holds_one_table:
        raise UsageError(f"--format {options.format} can hold only one table: name one path, or choose another format")
    if len(paths) > 1:
        if plots:
            raise UsageError(_ONE_SOURCE)
        options.refuse_exports()
    if len(paths) == 1:
        shown = _chosen(inputs[0], view, options, "here", plots)
    else:
        shown = [
            joined(name, _chosen(input_, view, options, f"in {name}", plots))
            for name, input_ in zip(paths, inputs, strict=True)
        ]
    shown = [report.in_total() for report in shown] if options.total else shown
    plots.draw()
    asked = show.Asked(tables=options.table, source="" if len(paths) > 1 else first, flags=options.narrowing)
    show.write(shown, options.format, top=options.top, by_title=len(paths) > 1, asked=asked)
    return 0


def _missing(tables: tuple[str, ...]) -> NoReturn:
    for name in tables:
        if "." in name or "/" in name:  # meant as the path, as no table is named
            raise foreign.missing(name)
    raise UsageError("name a trace, the folder of a run or of several, a record, or a sweep's results (.csv)")


def _chosen(input_: Input, view: View, options: AnalyzeOptions, where: str, plots: Plots) -> list[Report]:
    """The reports of one path, with the tables that are wanted. What can be drawn of it is offered."""
    made = _exported(input_, view, options, plots)
    of_trace = any(breakdown.KERNELS.name in report.names for report in made)
    made = [report.in_full() for report in made] if options.wide else made
    return show.chosen(made, options.table, where, (kernel_summary.NAME,) if of_trace else (), NAMES)


def _offer(plots: Plots, input_: Input, view: View, account: Account) -> None:
    if isinstance(input_, RunFolder):
        view = reports.at_its_clock(view, input_.record, input_.path)
    if plots:
        from perfkit.analysis.reports.page import pictures

        plots.offer(pictures.OF_TRACES, pictures.Traced(account, view))


def _offer_runs(plots: Plots, input_: Input) -> None:
    from perfkit.analysis.reports import sweep as sweep_report
    from perfkit.analysis.reports.page import pictures

    match input_:
        case RecordFile(record=saved) | RunFolder(_, saved):
            plots.offer(pictures.OF_RUNS, saved)
        case SweepResults(rows=rows):
            varied = sweep_report.varied(rows)
            plots.offer(pictures.of_sweep(varied), pictures.Swept(rows, varied, partial(records_of, input_)))


def _of_each_rank(tables: Sequence[str]) -> bool:
    """Whether tables are wanted that each trace of a job has for itself; `steps` is the record's."""
    return any(name in NAMES and name != STEPS.name for name in tables)


def _of_one_job(inputs: list[Input], tables: Sequence[str]) -> list[RecordingFile]:
    """The traces of a folder with several, or of several paths, where they are recordings of one job; else none.

    Of a run of several ranks they are taken for themselves where `tables` are wanted that only they have.
    """
    match inputs:
        case [TraceFile(Path() as folder)] if folder.is_dir():
            return recordings.in_folder(folder)
        case [RunFolder(folder, saved)] if saved.ranks and _of_each_rank(tables):
            from perfkit.commands.inputs import jobs

            files = jobs.traces_of(saved, folder)
            return [file for file in files if file.path.is_file()] or files
        case _:
            return recordings.of_one_job(inputs)


def _exported(input_: Input, view: View, options: AnalyzeOptions, plots: Plots) -> list[Report]:
    """The reports of one path; writes what is wanted for other viewers, and offers what can be drawn."""
    if options.export_perfetto is not None:
        refuse_overwriting(options.export_perfetto, input_.path, options.modules, options.capture)
    perfetto = exports.Perfetto(options.export_perfetto) if options.export_perfetto is not None else None
    to, path = options.export_tensorboard, Path(input_.path)
    board = exports.TensorBoard(to, path) if to is not None else None
    wanted = [each for each in (perfetto, board) if each is not None]

    def also(account: Account, report: Report) -> None:
        _offer(plots, input_, view, account)
        for each in wanted:
            each(account, report)

    made = _reports(input_, view, options, also)
    if perfetto is not None and not perfetto.was_called:
        raise UsageError(_ONE_EXPORT)
    source: RunRecord | tuple[SweepRow, ...] | None = None
    match input_:
        case RecordFile(record=saved) | RunFolder(_, saved):
            source = saved
        case SweepResults(rows=rows):
            source = rows
    if plots:
        _offer_runs(plots, input_)
    if board is not None:
        board.write(source, made)
    return made


def _reports(input_: Input, view: View, options: AnalyzeOptions, also: reports.Also) -> list[Report]:
    use_cache = not options.no_cache

    if options.wants_summary_only:
        return [kernel_summary.report(traces.load(input_.path, use_cache=use_cache, content=Content.KERNELS))]
    match shown(input_):
        case TraceFile(source):
            return [reports.of_trace(source, view, use_cache=use_cache, also=also)]
        case SnapshotFile(path) as snapshot:
            from perfkit.analysis.reports import recorded_memory
            from perfkit.commands.inputs import recorded

            return [recorded_memory.report(recorded.account_of(snapshot), path.name)]
        case RecordFile(record=saved):
            from perfkit.analysis.reports import run as run_report

            return [run_report.report(saved)]
        case RunFolder(folder, saved):
            return list(reports.of_run(saved, folder, view, use_cache=use_cache, also=also))
        case RunsFolder(folder, records) if (
            len(records) == 1
        ):  # the run left no record; this one belongs to its plain steps
            return [reports.of_trace(folder, view, use_cache=use_cache, also=also)]
        case RunsFolder(folder, records) as runs:
            if len({saved.config for _, saved in records}) > 1:
                from perfkit.analysis.reports import runs as runs_report

                named = [(file.parent.name, saved) for file, saved in records]
                return [runs_report.report(str(folder), named, with_runs_of_their_own(folder))]
            from perfkit.analysis.reports import repeats

            return [repeats.report(side(runs, ""))]
        case SweepResults(rows=rows):
            from perfkit.analysis.reports import sweep as sweep_report

            return [sweep_report.report(rows, sweep_report.varied(rows))]
