"""`perfkit sweep`: measure a grid of configurations, each in its own process."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Annotated

from cyclopts import Group, Parameter

from perfkit import signals
from perfkit.analysis.reports import sweep as sweep_report
from perfkit.analysis.reports.page import pictures
from perfkit.analysis.reports.page.pictures import Swept
from perfkit.analysis.runs import stopping
from perfkit.analysis.sweeps import rows as sweep_rows
from perfkit.analysis.sweeps.rows import Forecast, Forecaster
from perfkit.commands import sweep_forecast
from perfkit.commands.console import show
from perfkit.commands.console.campaigns import SweepProgress
from perfkit.commands.console.progress import going_on
from perfkit.commands.inputs import flags
from perfkit.commands.inputs import grid as grids
from perfkit.commands.inputs.flags import Grid
from perfkit.commands.inputs.grid import Expansion
from perfkit.commands.inputs.paths import SweepResults, records_of
from perfkit.commands.pictures import Plots, plot_flag, wanted
from perfkit.errors import InterruptedRunError, PerfkitError, UsageError
from perfkit.launch import callables, campaign, torchrun
from perfkit.launch.campaign import Execute
from perfkit.launch.journal import Journal, has_results
from perfkit.render import files
from perfkit.render.writers import EXTENSIONS
from perfkit.schema import units
from perfkit.schema.campaign import Finished, Point, Turn
from perfkit.schema.config import RunConfig
from perfkit.schema.page.pictures import OF_SWEEPS
from perfkit.schema.sweep import Isolation, SweepOutcome, SweepRow, key_of

_SWEEP = Parameter(group=Group("Sweep", sort_key=4))
_FILES = Parameter(group=Group("Files", sort_key=5))
_TABLES = Parameter(help=f"Also write the tables here: {EXTENSIONS}; .csv holds the results alone.")

_PICTURES = tuple(OF_SWEEPS)
_UNEXPLAINED: tuple[SweepOutcome, ...] = ("timeout", "host-killed", "error")
"""Failures that may not happen again. Out of memory is a result, not a failure."""
_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """How a sweep runs, and where its results go."""

    repeats: Annotated[int, _SWEEP] = 1
    """Run every point this many times, in rounds."""
    order_seed: Annotated[int, _SWEEP] = 0
    """Seed of the random order of the points in each round."""
    in_process: Annotated[bool, _SWEEP] = False
    """Run all points in one process: faster, but memory and caches of one point can affect the next."""
    timeout: Annotated[float | None, _SWEEP] = None
    """Stop a point after this many seconds, including its start; by default there is no limit."""
    estimate: Annotated[bool, _SWEEP] = False
    """Print the estimated peak memory of each point, without running it; needs no GPU."""
    memory: Annotated[str | None, _SWEEP] = None
    """The memory to fit into, such as 16GB or 15.6GiB; default: the device's free memory."""
    force: Annotated[bool, _SWEEP] = False
    """Also run points that are predicted not to fit into memory."""
    skip_invalid: Annotated[bool, _SWEEP] = False
    """Leave out combinations that cannot work, instead of refusing the grid."""

    output: Annotated[Path, _FILES] = Path("sweep.csv")
    """Results file: one line per run, written before the next run begins. Records are in a folder beside it."""
    resume: Annotated[bool, _FILES] = False
    """Continue --output: run only what has no line in it; start from the beginning if it does not exist."""
    retry: Annotated[bool, _FILES] = False
    """With --resume: also repeat runs that ended in a timeout, a kill or an error."""
    overwrite: Annotated[bool, _FILES] = False
    """Delete the results in --output and start from the beginning."""
    columns: Annotated[tuple[str, ...], _FILES] = ()
    """Columns of the results table, by their names in --output or as `size`, `context`, `batch` and `pass`."""
    tables: Annotated[tuple[Path, ...], _FILES, _TABLES] = ()
    plot: Annotated[tuple[str, ...], _FILES, plot_flag(_PICTURES)] = ()

    def __post_init__(self) -> None:
        if self.memory is not None:
            units.parse_size(self.memory)
        if self.repeats < 1:
            raise UsageError(f"--repeats {self.repeats}: must be at least 1")
        if self.timeout is not None and not self.timeout > 0:
            raise UsageError(f"--timeout {self.timeout:g}: must be above 0 seconds")
        if self.in_process and self.timeout is not None:
            raise UsageError("--timeout needs a process of its own for each point: drop --in-process")
        if self.resume and self.overwrite:
            raise UsageError("--resume keeps the results that --overwrite deletes: choose one")
        if self.retry and not self.resume:
            raise UsageError("--retry needs --resume")
        unused = ["--plot"] * bool(self.plot) + ["--columns"] * bool(self.columns)
        if self.estimate and unused:
            raise UsageError(f"--estimate does not use {unused[0]}: leave it out (--tables writes the estimates)")

    @property
    def memory_bytes(self) -> int | None:
        """Bytes of --memory."""
        return None if self.memory is None else units.parse_size(self.memory)

    @property
    def records(self) -> Path:
        """The folder of the runs' records."""
        return self.output.with_name(f"{self.output.stem}.runs")


@dataclass(frozen=True, slots=True)
class Outside:
    """Calls of a sweep that start other processes; tests replace some of them."""

    fresh: Callable[[float | None], Execute] = campaign.in_fresh_processes
    """Runs each point in its own process, with a time limit in seconds."""
    forecaster: Callable[[Sequence[RunConfig], int | None], Forecaster] = sweep_forecast.forecaster
    check: Callable[[RunConfig], None] = callables.check
    """Refuses arguments that an own model does not take; all points of a sweep have the same."""


_DEFAULT_GRID, _DEFAULT_OPTIONS, _OUTSIDE = Grid(), SweepOptions(), Outside()


def execute(
    grid: Annotated[Grid, Parameter(name="*")] = _DEFAULT_GRID,
    options: Annotated[SweepOptions, Parameter(name="*")] = _DEFAULT_OPTIONS,
    *,
    outside: Annotated[Outside, Parameter(parse=False)] = _OUTSIDE,
) -> int:
    """Measure a grid of configurations: every field takes several values, and each combination is a point.

    Example: perfkit sweep --model-size small medium --context-length 128 256 --output results.csv
    """
    if options.estimate:
        return _estimate(grid, options)
    _check_output(options)
    expansion = _expand(grid, options)
    _check_reports(options, expansion.configs)
    for config in expansion.configs:
        torchrun.refuse(config, "a sweep")
    outside.check(expansion.configs[0])
    points = [Point(key=key_of(config), config=config) for config in expansion.configs]
    turns = campaign.order(points, options.repeats, options.order_seed)
    with ExitStack() as stack:
        opened = Journal(options.output, keep=lambda row: _is_kept(row, options), anew=options.overwrite)
        journal = stack.enter_context(opened)
        if journal.torn:
            print(
                f"{options.output}: the last line is incomplete and was removed; its run is repeated", file=sys.stderr
            )
        there = {row.id for row in journal.rows}
        waiting = [turn for turn in turns if (turn.point.key, turn.repeat) not in there]
        progress = stack.enter_context(
            SweepProgress(len(turns), len(turns) - len(waiting), expansion.varied, is_beside=not options.in_process)
        )
        forecast = outside.forecaster(expansion.configs, options.memory_bytes) if waiting else None
        sweep = _Sweep(journal, progress, options, forecast, outside.fresh)
        number = sweep.run(waiting)
    wanted = {(turn.point.key, turn.repeat) for turn in turns}
    rows = [row for row in journal.rows if row.id in wanted]
    ending = None
    if number is not None:
        kept = f"{len(rows)} of {len(turns)} results are saved in {options.output}"
        ending = InterruptedRunError(number, f"; {kept}: continue with --resume")
    with show.and_then(ending):
        _show(rows, expansion, len(journal.rows) - len(rows), options)
    return _exit_code(rows, options)


def _estimate(grid: Grid, options: SweepOptions) -> int:
    for path in options.tables:
        files.check(path)
    expansion = _expand(grid, options)
    table = sweep_forecast.estimates(expansion.configs, options.memory_bytes, expansion.varied)
    report = sweep_forecast.report(table, expansion.configs)
    for path in options.tables:
        files.write(path, report)
    show.print_reports([report], top=None)
    if options.output != _DEFAULT_OPTIONS.output:
        print(f"nothing was run and {options.output} was not written: --tables writes this table", file=sys.stderr)
    return 0


def _check_output(options: SweepOptions) -> None:
    if options.output.is_dir():
        raise UsageError(f"{options.output} is a directory: name a file in it")
    if options.output.suffix.lower() != ".csv":
        raise UsageError(f"--output {options.output}: results are CSV: name a file that ends in .csv")
    files.check(options.output)
    if options.output.exists() and not options.output.is_file():
        raise UsageError(f"{options.output} is not a regular file: name another")
    if has_results(options.output) and not (options.resume or options.overwrite):
        raise UsageError(
            f"{options.output} exists: continue it with --resume, replace it with --overwrite, or name another"
        )


def _check_reports(options: SweepOptions, configs: Sequence[RunConfig]) -> None:
    sweep_report.check_columns(options.columns, options.repeats, configs)
    for path in options.tables:
        files.check(path)
    drawn = (one.path for one in wanted(options.plot, _PICTURES))
    written = [path.resolve() for path in (options.output, *options.tables, *drawn)]
    if len(set(written)) < len(written):
        raise UsageError("--output, --tables and --plot name the same file twice: name another")


def _expand(grid: Grid, options: SweepOptions) -> Expansion:
    """The grid's configurations. Raises UsageError if none can work, or if one cannot without --skip-invalid."""
    expansion = grids.expand(flags.values(grid))
    refused, valid = expansion.refused, len(expansion.configs)
    if not valid:
        raise UsageError(f"no combination of the grid can work: {refused[0].reason}")
    if not refused:
        return expansion
    for refusal in refused[:_LISTED]:
        print(f"cannot work: {refusal.flags}: {refusal.reason}", file=sys.stderr)
    if len(refused) > _LISTED:
        print(f"... and {len(refused) - _LISTED} more", file=sys.stderr)
    if not options.skip_invalid:
        total = valid + len(refused)
        raise UsageError(f"{len(refused)} of {total} combinations cannot work; --skip-invalid leaves them out")
    return expansion


def _is_kept(row: SweepRow, options: SweepOptions) -> bool:
    if row.outcome == "predicted-oom":
        return not options.force and options.memory is None  # the prediction may change with the memory
    return not (options.retry and row.outcome in _UNEXPLAINED)


@dataclass(slots=True)
class _Sweep:
    """Runs turns, and writes each result when its turn ends."""

    journal: Journal
    progress: SweepProgress
    options: SweepOptions
    forecast: Forecaster | None
    fresh: Callable[[float | None], Execute]
    _forecasts: dict[str, Forecast | None] = field(default_factory=dict)

    def run(self, turns: list[Turn]) -> Signals | None:
        """Run all turns; return the signal that interrupted them, if any."""
        self.progress.expect(turns)
        try:
            campaign.run(
                self._runnable(turns),
                self._records,
                self._executor(),
                on_start=self.progress.start,
                on_finish=self._finish,
            )
        except KeyboardInterrupt as error:
            return signals.by(error)
        return None

    @property
    def _records(self) -> Path:
        return self.options.records

    @property
    def _isolation(self) -> Isolation:
        return "shared" if self.options.in_process else "fresh"

    def _runnable(self, turns: list[Turn]) -> Iterator[Turn]:
        """Turns that are predicted to fit; for the others a result line is written at once."""
        for turn in turns:
            forecast = self._forecast(turn.point)
            if forecast is not None and not forecast.fits and not self.options.force:
                self._keep(turn, sweep_rows.skipped_row(turn, self._isolation, forecast))
                continue
            self._clear(turn)
            yield turn

    def _forecast(self, point: Point) -> Forecast | None:
        if self.forecast is None:
            return None
        if point.key not in self._forecasts:
            self._forecasts[point.key] = self.forecast(point.config)
        return self._forecasts[point.key]

    def _clear(self, turn: Turn) -> None:
        """Remove the files of an earlier run of this turn."""
        folder = self._records / turn.name
        try:
            if folder.is_dir():
                shutil.rmtree(folder)
            folder.with_name(folder.name + ".log").unlink(missing_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise UsageError(f"{folder}: cannot be removed: {why}; choose another --output") from error

    def _executor(self) -> Execute:
        if not self.options.in_process:
            return self.fresh(self.options.timeout)
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # as in `perfkit run`
        with signals.at_once(), going_on("loading PyTorch"):
            from perfkit.commands import observers
            from perfkit.measure.in_process import Executor

        telling = observers.AfterEachStep(self.progress.still_running)
        executor = Executor(lambda: (*observers.usual(), telling), stopping.rule)
        return lambda turn, folder: executor(turn.point.config, folder)

    def _finish(self, turn: Turn, finished: Finished) -> None:
        if finished.disk_full:
            raise UsageError(
                f"{self._records}: the disk is full; {self.options.output} has {len(self.journal.rows)} of the results:"
                " free some space and continue with --resume"
            )
        folder = f"{self._records.name}/{turn.name}"
        row = sweep_rows.finished_row(turn, finished, folder, self._isolation, self._forecasts.get(turn.point.key))
        self._keep(turn, row)

    def _keep(self, turn: Turn, row: SweepRow) -> None:
        self.journal.append(row)
        self.progress.finish(turn, row)


def _show(rows: list[SweepRow], expansion: Expansion, others: int, options: SweepOptions) -> None:
    report = sweep_report.report(rows, expansion.varied, options.columns)
    for path in options.tables:  # before printing, because the reader of standard output may close it
        files.write(path, report.seen_by("people"))
    _draw(rows, expansion.varied, options)
    show.print_reports([report], top=None)
    print()
    if others:
        print(f"{others} results of other points in {options.output} are not shown")
    print(f"results in {options.output}, records in {options.records}")


def _draw(rows: list[SweepRow], varied: tuple[str, ...], options: SweepOptions) -> None:
    plots = Plots(options.plot, _PICTURES)
    plots.offer(
        pictures.of_sweep(varied), Swept(rows, varied, partial(records_of, SweepResults(options.output, tuple(rows))))
    )
    plots.draw()


def _exit_code(rows: list[SweepRow], options: SweepOptions) -> int:
    unexplained = sum(row.outcome in _UNEXPLAINED for row in rows)
    if unexplained:
        raise PerfkitError(
            f"{unexplained} of {len(rows)} runs ended in a timeout, a kill or an error;"
            f" their output is in {options.records}/*.log; --resume --retry repeats them"
        )
    return 0
