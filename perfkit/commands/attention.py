"""`perfkit attention`: attention alone over a grid of shapes, written out, compiled, fused, and a function's."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import Signals
from typing import Annotated

from cyclopts import Group, Parameter

from perfkit import signals
from perfkit.analysis.attention import report as attention_report
from perfkit.analysis.attention import results as attention_results
from perfkit.analysis.attention import runs
from perfkit.analysis.attention.report import Machine
from perfkit.analysis.attention.results import OUT_OF_MEMORY, Result
from perfkit.analysis.reports.page import pictures
from perfkit.commands.console import show
from perfkit.commands.console.campaigns import CampaignProgress
from perfkit.commands.console.progress import going_on
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing, folders
from perfkit.commands.pictures import Plots, plot_flag, wanted
from perfkit.errors import InterruptedRunError, UsageError
from perfkit.launch import campaign, places
from perfkit.launch.processes import run_child
from perfkit.render import files
from perfkit.render.writers import EXTENSIONS
from perfkit.schema import record, units
from perfkit.schema.campaign import Finished, Point, Turn
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.page.pictures import OF_ATTENTION
from perfkit.schema.parts.attention import (
    COMPILED,
    EAGER,
    FUNCTION,
    HALF_ONLY,
    IMPLEMENTATIONS,
    ON_GPUS_ONLY,
    SDPA,
    Cell,
)  # fmt: skip
from perfkit.schema.parts.checks import SIZE_LIMIT
from perfkit.schema.parts.step import Precision
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report

_GRID = Parameter(group=Group("Grid", sort_key=1))
_MEASURE = Parameter(group=Group("Measurement", sort_key=2))
_FILES = Parameter(group=Group("Files", sort_key=3))
_PICTURES = tuple(OF_ATTENTION)
_TABLES = ("attention", "roofline")
_OUTPUT = Parameter(help=f"Also write the tables here: {EXTENSIONS}; .csv holds the first alone.")
_EXTRA = (*campaign.EXTRA_FLAGS, "--tensorboard", "off")


@dataclass(frozen=True, slots=True)
class _Defaults:
    """What is measured where nothing is asked for."""

    widths: tuple[int, ...]
    sequences: tuple[int, ...]
    implementations: tuple[str, ...]
    passes: int


_ON_GPU = _Defaults((16, 32, 64, 128), (256, 1024, 4096, 8192, 16384), (EAGER, COMPILED, SDPA), 100)
_ON_CPU = _Defaults((16, 64), (256, 512, 1024, 2048), (EAGER, SDPA), 10)
"""Minutes on two cores, where the GPU's grid would take days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOptions:
    """The grid, how each cell is measured, and where results go."""

    head_width: Annotated[tuple[int, ...], _GRID] = ()
    """Widths of the one head; default: 16 32 64 128, on a CPU 16 64."""
    sequence: Annotated[tuple[int, ...], _GRID] = ()
    """Sequence lengths; default: 256 1024 4096 8192 16384, on a CPU 256 512 1024 2048."""
    implementation: Annotated[tuple[str, ...], _GRID, Parameter(completer=completing.names(IMPLEMENTATIONS))] = ()
    """eager, compiled, sdpa, sdpa-flash, sdpa-efficient, sdpa-cudnn, sdpa-math; default: the first three, compiled only
    on a GPU."""
    function: Annotated[str | None, _GRID] = None
    """Measure a function of q, k and v (batch, sequence, width) beside them, as package.module:callable."""
    batch_size: Annotated[int, _GRID] = 8
    """Sequences in a batch."""
    precision: Annotated[Precision, _GRID] = "fp32"
    """Of q, k and v themselves; tf32: fp32 with TensorFloat-32 matmuls."""
    causal: Annotated[bool, _GRID] = False
    """No query sees a later key; a function gets is_causal=True or causal=True if it takes one, else must know."""
    passes: Annotated[int | None, _MEASURE] = None
    """Measure forward and backward this many times; default: 100, on a CPU 10."""
    warmup_steps: Annotated[int, _MEASURE] = 5
    """Passes before those that are measured."""
    device: Annotated[str, _MEASURE] = "auto"
    """auto, cpu, cuda or cuda:N."""
    num_threads: Annotated[int | None, _MEASURE] = None
    """Number of threads that PyTorch uses inside one CPU operation; default: PyTorch's default."""
    memory: Annotated[str | None, _MEASURE] = None
    """The memory to fit into, such as 16GB or 15.6GiB; default: the device's free memory."""
    force: Annotated[bool, _MEASURE] = False
    """Also run cells that are predicted not to fit into memory."""
    timeout: Annotated[float | None, _MEASURE] = None
    """Stop a cell after this many seconds, including its start; longer sequences of it are then left out."""
    budget: Annotated[float | None, _MEASURE] = None
    """Start no cell after this many seconds; --resume continues."""
    folder: Annotated[Path | None, _FILES] = None
    """Folder for the runs; default: a new one in traces."""
    resume: Annotated[bool, _FILES] = False
    """Continue --folder: run only the cells that have no result in it."""
    format: Annotated[Format, _FILES] = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: Annotated[tuple[str, ...], _FILES, Parameter(consume_multiple=(1, None))] = ()
    """Show only these tables: attention, roofline."""
    output: Annotated[Path | None, _FILES, _OUTPUT] = None
    plot: Annotated[tuple[str, ...], _FILES, plot_flag(_PICTURES)] = ()

    def __post_init__(self) -> None:
        for name in ("head_width", "sequence", "batch_size", "passes", "warmup_steps", "num_threads"):
            values = getattr(self, name)
            for value in values if isinstance(values, tuple) else (values,):
                if value is not None and not 1 <= value < SIZE_LIMIT:
                    raise UsageError(f"--{name.replace('_', '-')} {value}: must be at least 1, and below {SIZE_LIMIT}")
        for name in self.implementation:
            if name not in IMPLEMENTATIONS:
                hint = ": --function names it" if name == FUNCTION else f": choose from {', '.join(IMPLEMENTATIONS)}"
                raise UsageError(f"--implementation {name}{hint}")
        for name in ("timeout", "budget"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise UsageError(f"--{name} {seconds:g}: must be above 0 seconds")
        if self.memory is not None:
            units.parse_size(self.memory)
        if self.function is not None and not all(part.strip() for part in self.function.partition(":")):
            raise UsageError(f"--function {self.function}: name a callable as package.module:callable")
        if self.resume and self.folder is None:
            raise UsageError("--resume needs --folder: name the one that was begun")
        wanted(self.plot, _PICTURES)


@dataclass(frozen=True, slots=True)
class Outside:
    """Calls that start other processes; tests replace some of them."""

    run_child: Callable[..., Finished] = run_child
    """Runs a configuration in a process of its own, in a folder."""
    find: Callable[[Sequence[str]], dict[str, places.Place]] = places.find
    """Devices by name, with their free memory."""
    clock: Callable[[], float] = time.monotonic


_DEFAULT, _OUTSIDE = AttentionOptions(), Outside()


def execute(
    *,
    options: Annotated[AttentionOptions, Parameter(name="*")] = _DEFAULT,
    outside: Annotated[Outside, Parameter(parse=False)] = _OUTSIDE,
) -> int:
    """Measure attention alone: forward and backward over sequence and head width, written out, compiled and fused.

    Examples: perfkit attention; perfkit attention --sequence 1024 4096 --head-width 64 --function mine:attention
    """
    if options.output is not None:
        files.check(options.output)
    done = investigate(options, outside)
    with show.and_then(done.ending):
        if done.results:
            _show(done, options)
    return 0


@dataclass(frozen=True, slots=True)
class Investigated:
    """What became of a grid."""

    results: tuple[Result, ...]
    machine: Machine
    report: Report | None
    """None where no cell has a result."""
    folder: Path
    ending: InterruptedRunError | None = None
    """The signal that ended it early."""


def investigate(options: AttentionOptions = _DEFAULT, outside: Outside = _OUTSIDE) -> Investigated:
    """Measure a grid, each cell in a fresh process, and say what it shows; progress is on standard error.

    Cells that have a record in the folder are not run again. Raises UsageError where nothing can be measured, and where
    the user's function cannot be called or computes something else.
    """
    print("reading the free memory of the device", file=sys.stderr)
    with going_on("reading the free memory of the device"):
        device, free = outside.find([options.device]).get(options.device, (options.device, None))
    available = units.parse_size(options.memory) if options.memory is not None else free
    cells = _cells(options, device)
    folder = _folder(options)
    with folders.reserved(folder, "--folder"):
        grid = _Grid(options, device, available, folder, outside)
        try:
            number = grid.run(cells)
            results = [grid.results[cell] for cell in cells if cell in grid.results]
            machine = attention_report.machine_of(grid.records[-1].environment) if grid.records else Machine()
            said = _said_of_grid(options, device)
            report = attention_report.report(results, machine).plus(findings=said) if results else None
        finally:
            if not options.resume and not any(folder.rglob(RECORD_FILE)):  # it was made here, and nothing was measured
                shutil.rmtree(folder, ignore_errors=True)
    ending = None
    if number is not None:
        saved = f"; {len(results)} of {len(cells)} cells are saved: continue with {_again(options, folder)}"
        ending = InterruptedRunError(number, saved if grid.records else "; nothing was measured")
    return Investigated(tuple(results), machine, report, folder, ending)


ATTENTION_DEFAULT_GRID = Rule(
    "attention-default-grid", "sweep", "that a CPU's grid is smaller than a GPU's", read="detail"
)


def _said_of_grid(options: AttentionOptions, device: str) -> list[Finding]:
    if device != "cpu" or (options.sequence and options.passes and options.head_width):
        return []
    text = (
        f"no GPU: where nothing is asked for, sequences up to {_ON_CPU.sequences[-1]:,} and {_ON_CPU.passes} passes;"
        f" on a GPU up to {_ON_GPU.sequences[-1]:,} and {_ON_GPU.passes}"
    )
    return [Finding(ATTENTION_DEFAULT_GRID, text)]


def _again(options: AttentionOptions, folder: Path) -> str:
    return "--resume" if options.folder is not None else f"--folder {folder} --resume"


def _cells(options: AttentionOptions, device: str) -> list[Cell]:
    """The grid in the order in which it runs: short sequences first, and at each shape the function first."""
    usual = _ON_CPU if device == "cpu" else _ON_GPU
    implementations = dict.fromkeys(options.implementation or usual.implementations)
    for name in implementations:
        if device == "cpu" and name in ON_GPUS_ONLY:
            raise UsageError(f"--implementation {name} exists on GPUs only: leave it out on a CPU")
        if device != "cpu" and name in HALF_ONLY and options.precision not in ("bf16", "fp16"):
            raise UsageError(f"--implementation {name} needs --precision bf16 or fp16 on a GPU")
    names = [*([FUNCTION] if options.function else []), *implementations]
    shapes = itertools.product(
        sorted(set(options.sequence or usual.sequences)), sorted(set(options.head_width or usual.widths))
    )
    return [
        Cell(
            sequence=sequence, width=width, implementation=name, batch=options.batch_size, precision=options.precision,
            causal=options.causal, function=options.function if name == FUNCTION else None,
        )
        for sequence, width in shapes
        for name in names
    ]  # fmt: skip


def _folder(options: AttentionOptions) -> Path:
    if options.folder is None:
        return folders.new(Path("traces"), "attention")
    if options.resume:
        if not options.folder.is_dir():
            raise UsageError(f"{options.folder}: no such folder to continue; leave out --resume to begin it")
        return options.folder
    return folders.given(options.folder)


@dataclass(slots=True)
class _Grid:
    """Runs cells that have no result yet, and may fit."""

    options: AttentionOptions
    device: str
    available: int | None
    folder: Path
    outside: Outside
    results: dict[Cell, Result] = field(default_factory=dict)
    records: list[RunRecord] = field(default_factory=list)
    _cell_of: dict[str, Cell] = field(default_factory=dict)

    def run(self, cells: Sequence[Cell]) -> Signals | None:
        """Run all; return the signal that ended it early, if any."""
        turns = [self._turn(cell) for cell in cells]
        waiting = [turn for turn in turns if not self._is_known(turn)]
        began = self.outside.clock()
        with CampaignProgress(waiting) if waiting else nullcontext() as progress:

            def execute(turn: Turn, folder: Path) -> Finished:
                timeout = self.options.timeout
                return self.outside.run_child(turn.point.config, folder, timeout_s=timeout, extra=_EXTRA)

            def on_finish(turn: Turn, finished: Finished) -> None:
                self._finish(turn, finished)
                assert progress is not None
                progress.finish(turn, finished)

            try:
                runnable = self._runnable(waiting, began)
                campaign.run(
                    runnable, self.folder, execute, on_start=progress.start if progress else lambda _: None,
                    on_finish=on_finish,
                )  # fmt: skip
            except KeyboardInterrupt as error:
                return signals.by(error)
        return None

    def _turn(self, cell: Cell) -> Turn:
        passes = self.options.passes or (_ON_CPU if self.device == "cpu" else _ON_GPU).passes
        config = runs.config_of(cell, self.device, passes, self.options.warmup_steps, self.options.num_threads)
        key = runs.key_of(cell, config)
        self._cell_of[key] = cell
        return Turn(Point(key=key, config=config), 1)

    def _is_known(self, turn: Turn) -> bool:
        """Whether an earlier session measured it, or it is predicted not to fit."""
        cell, folder = self._cell_of[turn.point.key], self.folder / turn.name
        if (folder / RECORD_FILE).is_file():
            saved = record.load(folder)
            if saved.status in ("ok", "oom"):
                self._keep(attention_results.of_record(cell, saved), saved)
                return True
        lacking = None if self.options.force else attention_results.predicted(cell, self.available)
        if lacking is not None:
            self.results[cell] = lacking
        return lacking is not None

    def _runnable(self, turns: Sequence[Turn], began: float) -> Iterator[Turn]:
        for turn in turns:
            cell = self._cell_of[turn.point.key]
            if (why := self._why_not(cell, began)) is not None:
                self.results[cell] = why
                continue
            if (self.folder / turn.name).is_dir():
                shutil.rmtree(self.folder / turn.name)  # of a run that was interrupted
            yield turn

    def _why_not(self, cell: Cell, began: float) -> Result | None:
        """What stands for a cell that is left out: a shorter one of it did not fit or end, or the time is used up."""
        budget = self.options.budget
        if budget is not None and self.outside.clock() - began > budget:
            why = f"not run: the budget of {units.rough_duration(budget)} was used up; --resume continues"
            return Result(cell=cell, outcome="not run", message=why)
        if self.options.force:
            return None
        for other, result in self.results.items():
            if replace(other, sequence=cell.sequence) != cell or other.sequence >= cell.sequence:
                continue
            if result.outcome in OUT_OF_MEMORY:
                why = f"not run: it did not fit at sequence {other.sequence:,} already"
                return Result(cell=cell, outcome="predicted-oom", message=why, available_bytes=result.available_bytes)
            if result.outcome in ("timeout", "host-killed"):
                why = f"not run: {result.outcome} at sequence {other.sequence:,} already"
                return Result(cell=cell, outcome="not run", message=why)
        return None

    def _finish(self, turn: Turn, finished: Finished) -> None:
        cell = self._cell_of[turn.point.key]
        if finished.disk_full:
            raise UsageError(f"{self.folder}: the disk is full: free some space and continue with --resume")
        is_usage = finished.outcome == "error" and finished.exit_code == UsageError.exit_code
        is_own = cell.implementation == FUNCTION
        worked = any(one.outcome == "ok" for one in self.results.values() if one.cell.function == cell.function)
        if is_usage and (not self.records or (is_own and not worked)):
            raise UsageError(finished.last_words)  # a function that works at a shape before has a row that says why
        self._keep(attention_results.of_finished(cell, finished), finished.record)

    def _keep(self, result: Result, saved: RunRecord | None) -> None:
        self.results[result.cell] = result
        if saved is not None:
            self.records.append(saved)


def _show(done: Investigated, options: AttentionOptions) -> None:
    assert done.report is not None
    reports = show.chosen([done.report], options.table)
    if options.output is not None:  # before printing, because the reader of standard output may close it
        files.write(options.output, reports[0])
    show.write(reports, options.format, top=None)
    plots = Plots(options.plot, _PICTURES)
    plots.offer(pictures.OF_ATTENTION, done.results)
    plots.draw()
    if done.folder.is_dir():
        print(f"saved in {done.folder}", file=sys.stderr)
