"""`perfkit run`: measure one configuration, plainly or under a profiler."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter

from perfkit import signals
from perfkit.analysis.reports import repeats
from perfkit.analysis.reports import run as run_report
from perfkit.analysis.runs import stopping
from perfkit.commands import estimate, exports, reports
from perfkit.commands.console import following, show
from perfkit.commands.console.progress import going_on
from perfkit.commands.console.progress import tell as _tell
from perfkit.commands.inputs import folders
from perfkit.commands.inputs.flags import RunFlags
from perfkit.commands.inputs.paths import runs_in, side
from perfkit.commands.observers import Beside, RunProgress, StepEvents, results, usual
from perfkit.commands.pictures import Plots, plot_flag, wanted
from perfkit.commands.processes import fresh, job, plain, script
from perfkit.errors import InterruptedRunError, OutOfMemoryError, PerfkitError, UsageError
from perfkit.launch import torchrun
from perfkit.launch.processes import run_child
from perfkit.launch.torchrun import Place
from perfkit.measure.loop import Observer
from perfkit.measure.nsys.program import Nsys
from perfkit.render import files
from perfkit.render.writers import EXTENSIONS
from perfkit.schema import record as records
from perfkit.schema import units
from perfkit.schema.campaign import Finished, Point
from perfkit.schema.config import RunConfig
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.page.pictures import OF_RUNS, OF_TRACES, names_of
from perfkit.schema.parts.measurement import Switch
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report

if TYPE_CHECKING:
    from perfkit.analysis.time.account import Account

_MANY_PROFILED = 500
"""Warn above this many profiled steps: the trace contains every operation of each of them."""
_MEASURE = Parameter(group=Group("Measurement", sort_key=3))
_FILES = Parameter(group=Group("Files", sort_key=4))
_PICTURES = names_of(OF_RUNS, OF_TRACES)
_ESTIMATE = Parameter(group=Group("Estimate", sort_key=5))
_SCRIPT = Parameter(group=Group("Script", sort_key=6))
_SHOW = Parameter(group=_FILES.group, name=("--verbose", "-v"))
_OUTPUT = Parameter(help=f"Also write the result table here; the extension chooses the format: {EXTENSIONS}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How many processes to run and where results go; or what to print instead of running."""

    repeats: Annotated[int, _MEASURE] = 1
    """Run this configuration in this many fresh processes, in one folder, to show how much processes differ."""
    overhead: Annotated[Switch, _MEASURE] = "on"
    """on: a profiled run also measures plain steps in a fresh process, to show the profiler's overhead."""
    save_results: Annotated[Literal["off", "on", "nudged"], _MEASURE] = "off"
    """on: save losses and gradients of three warm-up steps; nudged: with each weight moved by a rounding error."""
    results_batch: Annotated[int | None, _MEASURE] = None
    """With --save-results: those steps take the batch of --batch-size of this number, repeated to fill this run's."""
    traces_dir: Annotated[Path, _FILES] = Path("traces")
    """Folder in which every run gets its own folder."""
    tensorboard: Annotated[Switch, _FILES] = "on"
    """on: also write step times, results and tables into the run's folder for TensorBoard's own tabs."""
    folder: Annotated[Path | None, _FILES] = None
    """Folder for this run, instead of a new one in --traces-dir; it must be empty or absent."""
    output: Annotated[Path | None, _FILES, _OUTPUT] = None
    plot: Annotated[tuple[str, ...], _FILES, plot_flag(_PICTURES)] = ()
    verbose: Annotated[bool, _SHOW] = False
    """Show everything that the record holds, as `perfkit analyze` does: every table, interval, counter and cost."""
    top: Annotated[int, _FILES] = 15
    """With --verbose: show this many rows of each table of a profile; one more row has the sum of the others."""
    estimate: Annotated[bool, _ESTIMATE] = False
    """Print what makes up the peak memory of a step, without running it; needs no GPU."""
    memory: Annotated[str | None, _ESTIMATE] = None
    """For --estimate: the GPU memory to fit into, such as 16GB or 15.6GiB; default: the device's free memory."""
    fit: Annotated[bool, _ESTIMATE] = False
    """Like --estimate, and also list the nearest configurations that fit."""
    module: Annotated[str | None, _SCRIPT, Parameter(name=("--module", "-m"))] = None
    """Profile a module of yours, as `python -m` runs it, instead of a script."""
    stop_after: Annotated[bool, _SCRIPT] = False
    """With a script: stop it once all steps are measured; by default it runs to its end."""

    def __post_init__(self) -> None:
        if self.memory is not None and not (self.estimate or self.fit):
            raise UsageError(f"--memory {self.memory} needs --estimate or --fit: it does not limit a run")
        if self.memory is not None:
            units.parse_size(self.memory)
        if self.top < 0:
            raise UsageError(f"--top {self.top}: must be 0 or more")
        if self.repeats < 1:
            raise UsageError(f"--repeats {self.repeats}: must be at least 1")
        wanted(self.plot, _PICTURES)
        if self.plot and (self.estimate or self.fit or self.repeats > 1):
            why = "--repeats makes several" if self.repeats > 1 else "an estimate runs nothing"
            raise UsageError(f"--plot draws one run, and {why}: leave it out")
        for name, value in {"overhead": self.overhead, "tensorboard": self.tensorboard}.items():
            if value not in ("on", "off"):
                raise UsageError(f"--{name} {value}: choose from on, off")
        if self.save_results != "off" and self.repeats > 1:
            raise UsageError(f"--save-results {self.save_results} is of one run: leave out --repeats")
        if self.results_batch is not None and (self.save_results == "off" or self.results_batch < 1):
            raise UsageError(f"--results-batch {self.results_batch}: needs --save-results on, and 1 sequence or more")


def _prepare_nsys() -> Nsys | None:
    from perfkit.measure.nsys import program

    return program.prepare()


def _run_under_nsys(
    config: RunConfig, program: Nsys, device: str, folder: Path, beside: Callable[[], dict[str, str]]
) -> RunRecord:
    from perfkit.measure.nsys import run as nsys

    return nsys.run(config, program, device, folder, _tell, beside)


def _run_here(config: RunConfig, folder: Path, observers: Sequence[Observer]) -> RunRecord:
    from perfkit.measure import runner

    if config.step.parallel != "off":
        return job.run(config, folder, observers)
    return runner.run(config, folder, observers, enough=stopping.rule(config))


@dataclass(frozen=True, slots=True)
class Doing:
    """Calls that take long or start other processes; tests replace some of them."""

    run: Callable[[RunConfig, Path, Sequence[Observer]], RunRecord] = _run_here
    prepare_nsys: Callable[[], Nsys | None] = _prepare_nsys
    run_under_nsys: Callable[[RunConfig, Nsys, str, Path, Callable[[], dict[str, str]]], RunRecord] = _run_under_nsys
    script_under_nsys: Callable[..., tuple[int, RunRecord | None]] = script.run_under_nsys
    run_child: Callable[..., Finished] = run_child
    """Runs a configuration in a process of its own, in a folder."""
    show: Callable[..., None] = show.print_reports


_DEFAULT_FLAGS, _DEFAULT_OPTIONS, _DOING = RunFlags(), RunOptions(), Doing()


def execute(
    path: Annotated[str | None, _SCRIPT] = None,
    /,
    flags: Annotated[RunFlags, Parameter(name="*")] = _DEFAULT_FLAGS,
    options: Annotated[RunOptions, Parameter(name="*")] = _DEFAULT_OPTIONS,
    *,
    doing: Annotated[Doing, Parameter(parse=False)] = _DOING,
    arguments: Annotated[tuple[str, ...], Parameter(parse=False)] = (),
) -> int:
    """Measure one configuration, plainly or under a profiler; or steps of a script of yours, as it is.

    Examples: perfkit run --model-size medium --pass-type train; perfkit run --model-size small --profiler torch;
    perfkit run --model-size large --fit --memory 16GB; perfkit run --profiler torch train.py -- --epochs 3

    Parameters
    ----------
    path:
        A script to profile: its steps are found, what follows -- goes to it, and its exit code is kept.
    """
    config = flags.config
    if options.output is not None:
        files.check(options.output)
    if path is not None or options.module is not None:
        return _run_script(script.Asked(path, options.module, arguments, options.stop_after), config, options, doing)
    _refuse_what_is_for_a_script(arguments, options)
    if options.estimate or options.fit:
        torchrun.refuse_estimate(config)
        memory = None if options.memory is None else units.parse_size(options.memory)
        return estimate.execute(config, memory=memory, fit=options.fit, output=options.output)
    if options.repeats > 1:
        return _repeat(config, options, doing)
    if (place := torchrun.place_of(config)) is not None:
        return _run_rank(place, config, options, doing)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's chatter on stderr; read when torch loads
    if config.measurement.profiler == "memory":  # else it warns of each release of what it did not see allocated
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    program = doing.prepare_nsys() if config.measurement.profiler == "nsys" else None  # before torch is loaded
    with signals.at_once(), going_on("loading PyTorch"):
        from perfkit.measure import runner

    resolved = runner.resolve(config)
    folder = _folder(options, resolved)
    events = _events(folder, options)
    try:
        if program is None:
            record = _measure(resolved, folder, options, doing, events)
        else:
            overhead = options.overhead == "on"
            beside = partial(plain.measure, resolved, folder, doing.run_child) if overhead else dict
            record = doing.run_under_nsys(config, program, resolved.step.device, folder, beside)
        with show.and_then(_failure(record, folder)):
            plots = _show(record, folder, options, doing, events)
            for line in following.lines(config, record, folder, show.width()):
                print(line)
        plots.draw()
    except KeyboardInterrupt as error:
        saved = f"; what was measured is saved in {folder}" if any(folder.rglob(RECORD_FILE)) else ""
        raise InterruptedRunError(signals.by(error), saved or "; nothing was measured") from error
    except records.UnsavedError as error:
        _show_unsaved(error.record, options, doing)
        raise
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails if the folder is not empty
    return 0


def _run_rank(place: Place, config: RunConfig, options: RunOptions, doing: Doing) -> int:
    """Measure as one of the ranks of a job; rank 0 makes its folder and shows what all of them measured."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    resolved = job.resolve(config, place)
    alone = replace(options, overhead="off", tensorboard="off")

    def measured(own: Path) -> RunRecord:
        return _measure(resolved, own, alone, doing, None, says=place.is_first)

    record, folder = job.measure(place, resolved, lambda: _folder(options, resolved), measured)
    failure = job.failure(record, folder, place)
    if not place.is_first:
        if failure is not None:
            raise failure
        return 0
    with show.and_then(failure):
        plots = _show(record, folder, options, doing, None)
        for line in following.lines(config, record, folder):
            print(line)
    plots.draw()
    return 0


def _run_script(asked: script.Asked, config: RunConfig, options: RunOptions, doing: Doing) -> int:
    """Profile a script, show what was measured of it, and return its exit code."""
    unfit = {"--repeats": options.repeats > 1, "--estimate": options.estimate, "--fit": options.fit}
    script.check(asked, config, [name for name, is_given in unfit.items() if is_given])
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    nsys = config.measurement.profiler == "nsys"
    program = doing.prepare_nsys() if nsys else None
    is_inside = nsys and program is None
    if is_inside and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a pipe's lines are shown as they come
    where = Path(asked.name).stem
    folder = folders.given(options.folder) if options.folder else folders.new(options.traces_dir, where)
    events = _events(folder.absolute(), options)  # the script may change its working directory
    live = () if events is None else (StepEvents(events.events, _tell),)
    try:
        if program is not None:
            exit_code, record = doing.script_under_nsys(asked, config, program, folder, _tell)
        else:
            ended = script.run(asked, config, folder, live)
            exit_code, record = ended.exit_code, ended.record
            if record is None:
                _tell(script.why_empty(ended, config))
        if record is None or is_inside:  # the process outside nsys shows it
            return exit_code
        plots = _show(record, folder, options, doing, events)
        for line in following.lines(record.config, record, folder, show.width()):
            print(line)
        plots.draw()
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails if the folder is not empty
    return exit_code


def _refuse_what_is_for_a_script(arguments: tuple[str, ...], options: RunOptions) -> None:
    if arguments or options.stop_after:
        what = "--stop-after" if options.stop_after else f"-- {' '.join(arguments)}"
        raise UsageError(f"{what} is for a script: name it before, as in perfkit run train.py -- --epochs 3")


def _events(folder: Path, options: RunOptions) -> exports.TensorBoardRun | None:
    """The run's event file; None where none is wanted, and in a process that nsys records, which is to be as it is."""
    from perfkit.measure.nsys.program import under_nsys

    return exports.TensorBoardRun(folder) if options.tensorboard == "on" and not under_nsys() else None


def _measure(
    config: RunConfig,
    folder: Path,
    options: RunOptions,
    doing: Doing,
    events: exports.TensorBoardRun | None,
    *,
    says: bool = True,
) -> RunRecord:
    """Measure a resolved configuration in this process; `says`: and show how far it is."""
    from perfkit.measure.nsys import capture as nsys_capture
    from perfkit.measure.nsys.program import under_nsys

    if not says:
        return doing.run(config, folder, usual())
    for line in (run_report.headline(config), *nsys_capture.advice(config.step.device, nsys_capture.call())):
        _tell(line)
    profiled = config.measurement.profiler in ("torch", "memory")
    if profiled and config.measurement.measure_steps > _MANY_PROFILED:
        _tell(f"{config.measurement.measure_steps} profiled steps: writing the trace takes long; 10 are usually enough")
    wants_overhead = options.overhead == "on" and profiled and not under_nsys()
    refused: list[str] = []  # said only where this run does not come to the same and say it itself
    artifacts = plain.measure(config, folder, doing.run_child, refused.append) if wants_overhead else {}
    with RunProgress(config) as progress:
        live = () if events is None else (StepEvents(events.events, _tell),)
        kept = results(folder, options.save_results, options.results_batch)
        record = doing.run(config, folder, (*usual(), Beside(artifacts), *kept, *live, progress))
    for line in refused if record.failure is None else ():
        _tell(line)
    return record


def _repeat(config: RunConfig, options: RunOptions, doing: Doing) -> int:
    """Run the configuration in several fresh processes, one after the other. This process never loads PyTorch."""
    torchrun.refuse(config, "--repeats")
    folder = _folder(options, config)
    fresh.measure([Point(key="run", config=config)], options.repeats, folder, doing.run_child)
    report = repeats.report(side(runs_in(folder), ""))
    if options.output is not None:
        files.write(options.output, report.only(report.main))
    doing.show([report], top=options.top)
    print(f"\nsaved in {folder}")
    return 0


def _folder(options: RunOptions, config: RunConfig) -> Path:
    if options.folder:
        return folders.given(options.folder)
    return folders.new(options.traces_dir, f"{config.workload.name}_{config.step.pass_type}")


def _show(
    record: RunRecord, folder: Path, options: RunOptions, doing: Doing, events: exports.TensorBoardRun | None
) -> Plots:
    """Print what a run says; what can be drawn of it."""
    plots = Plots(options.plot, _PICTURES)

    def also(account: Account, report: Report) -> None:
        if plots:
            from perfkit.analysis.reports.page import pictures
            from perfkit.analysis.time.trace_table import View

            view = reports.at_its_clock(View(), record, folder)
            plots.offer(pictures.OF_TRACES, pictures.Traced(account, view))
        if events is not None:
            events.also(account, report)

    own, *others = reports.of_run(record, folder, also=also)
    if plots:
        from perfkit.analysis.reports.page import pictures

        plots.offer(pictures.OF_RUNS, record)
    if options.output is not None:  # before printing, because the reader of standard output may close it
        found = (finding for report in others for finding in report.findings)
        files.write(options.output, own.only(own.main).plus(findings=found))
    asked = show.Asked(source=str(folder))
    try:
        doing.show([own, *others], top=options.top, asked=asked, brief=not options.verbose)
    finally:
        if events is not None:
            events.finish(record, [own, *others])
    return plots


def _show_unsaved(record: RunRecord, options: RunOptions, doing: Doing) -> None:
    report = run_report.report(record)
    if options.output is not None:
        files.write(options.output, report.only(report.main))
    doing.show([report], top=options.top)


def _failure(record: RunRecord, folder: Path) -> PerfkitError | None:
    if record.failure is None:
        return None
    if record.status == "oom":
        hint = " or ".join(record.failure.suggestions)
        advice = f"; try {hint}" if hint else ""
        return OutOfMemoryError(f"{record.failure.message}{advice} (record saved in {folder})")
    done = f"{len(record.steps)} of {record.config.measurement.most_steps}"
    number = Signals[record.failure.signal or "SIGINT"]
    return InterruptedRunError(number, f" in {record.failure.phase}; {done} measured steps saved in {folder}")
