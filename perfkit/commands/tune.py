"""`perfkit tune`: try the changes that a run's findings advise, and say which are worth it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from perfkit.analysis.reports import run as run_report
from perfkit.analysis.runs.comparison import RECOMMENDED
from perfkit.analysis.tuning import candidates as changes
from perfkit.analysis.tuning import choice, larger_batch
from perfkit.analysis.tuning import report as tuning_report
from perfkit.analysis.tuning.candidates import Candidate
from perfkit.analysis.tuning.choice import Clock
from perfkit.analysis.tuning.report import Tuned
from perfkit.commands import sources
from perfkit.commands.console import show
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing, folders
from perfkit.commands.inputs.flags import config_of
from perfkit.commands.inputs.paths import RunFolder, what_is
from perfkit.commands.processes import fresh
from perfkit.commands.processes.trials import Budget, Plan, Trials
from perfkit.errors import UsageError
from perfkit.launch import campaign
from perfkit.launch.processes import run_child
from perfkit.render import files
from perfkit.render.writers import EXTENSIONS
from perfkit.schema import module_tree, units
from perfkit.schema import record as records
from perfkit.schema.campaign import Finished, Point
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Finding
from perfkit.schema.parts.measurement import Measurement
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.trace import foreign

_WARMUP = 3
"""Warm-up steps at least: their results are compared."""
_STEPS, _LEAST, _SECONDS = 50, 5, 2.0
"""Measured steps of a process: as many as two seconds hold, within these."""
_TABLES = ("changes", "not_applied")
_OUTPUT = Parameter(help=f"Also write the tables here: {EXTENSIONS}; .csv holds the first alone.")
_PATH = Parameter(help="A run's folder, as perfkit run makes it.", completer=completing.paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What to tune, what to try, and for how long."""

    run: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """Instead of RUN: flags of perfkit run in quotes, such as '--model pkg:build --input pkg:batch'."""
    also: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True, consume_multiple=False)] = ()
    """Also try a change that no finding advises: flags in quotes, such as '--precision bf16'; may be repeated."""
    budget: str = "5m"
    """Begin no process for which this time has no room; what was not tried is said."""
    repeats: int = RECOMMENDED
    """Processes of the original and of each change, in turns."""
    clock: Clock = "wall"
    """What is judged: wall time, or cpu, the CPU time of all threads, which other programs disturb less."""
    margin: str = "1%"
    """Times within 1 +- this are the same."""
    traces_dir: Path = Path("traces")
    """Folder in which a folder for all processes is made."""
    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: Annotated[tuple[str, ...], Parameter(consume_multiple=(1, None))] = ()
    """Show only these tables: changes, not_applied."""
    output: Annotated[Path | None, _OUTPUT] = None

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise UsageError(f"--repeats {self.repeats}: must be at least 2, for an interval")
        if unknown := [name for name in self.table if name not in _TABLES]:  # before minutes of measuring
            raise UsageError(f"--table {unknown[0]}: choose from {', '.join(_TABLES)}")
        for name, parse in (("budget", units.parse_duration), ("margin", units.parse_percentage)):
            try:
                parse(getattr(self, name))
            except UsageError as error:
                raise UsageError(f"--{name} {error}") from error


_DEFAULT = TuneOptions()


def execute(
    path: Annotated[Path | None, _PATH] = None,
    /,
    *,
    options: Annotated[TuneOptions, Parameter(name="*")] = _DEFAULT,
    run_child: Annotated[Callable[..., Finished], Parameter(parse=False)] = run_child,
) -> int:
    """Try the changes that a run's findings advise, alone and together, and recommend what is faster and the same.

    Examples: perfkit tune traces/my-run; perfkit tune --run '--model pkg:build --input pkg:batch' --budget 10m
    """
    if options.output is not None:
        files.check(options.output)
    budget = Budget(units.parse_duration(options.budget))
    saved, config = _asked(path, options.run)
    usual, *described = (config_of(f"{_named(config, line)} {line}".strip()) for line in ("", *options.also))
    given = [*zip(options.also, described, strict=True)]
    changes.asked_for(config, given, usual)  # what cannot work is refused before anything runs
    loads = os.getloadavg()[0]
    folder = folders.new(options.traces_dir, "tune")
    if saved is None:
        saved = _profiled(config, folder, run_child)
    config = saved.record.config
    findings, step_s = _found(saved)
    findings += _of_plain_steps(path)
    plain = _plain(config, step_s)
    fits = partial(larger_batch.has_room, saved.record)
    tried, unapplied = changes.candidates(plain, findings, _modules(saved, options.clock), fits)
    advised = {one.name for one in tried}
    tried = [*(one for one in changes.asked_for(plain, given, usual) if one.name not in advised), *tried]
    plan = Plan(budget, options.repeats, options.clock, units.parse_percentage(options.margin))
    trials = Trials(plain, _variables(saved.record), folder, plan, run_child)
    alone = trials.one_at_a_time(tried) if tried else []
    best = choice.best_together(alone)
    goes_on = best is not None and budget.left > 0 and trials.ending is None
    together = trials.together(best) if best is not None and goes_on else None
    recommended = choice.recommended(alone, together)
    tuned = Tuned(
        tuple(alone),
        together,
        tuple(unapplied),
        command(config, None if recommended is None else recommended.candidate),
        options.clock,
        budget.seconds,
        budget.seconds - budget.left,
        (loads, os.getloadavg()[0]),
        os.cpu_count() or 1,
        bool(unapplied or tried),
        trials.needed_s,
        trials.ending is not None,
        config,
    )
    with show.and_then(trials.ending):
        _show(tuning_report.report(tuned, str(saved.path)), options)
    if any(folder.iterdir()):
        print(f"saved in {folder}", file=sys.stderr)
    else:
        folder.rmdir()
    return 0


def _asked(path: Path | None, line: str | None) -> tuple[RunFolder | None, RunConfig]:
    """The run, if it was profiled, and its configuration. Raises UsageError where it cannot be run again."""
    if (path is None) == (line is None):
        raise UsageError("name a run's folder, or give the flags of one: --run '--model-size tiny --pass-type train'")
    if line is not None:
        return None, config_of(line)
    assert path is not None
    if not path.exists():
        raise foreign.missing(path)
    what = what_is(path)
    if not isinstance(what, RunFolder):
        raise UsageError(f"{path} is no folder of one run: name one that perfkit run made")
    config = what.record.config
    if isinstance(config.workload, Own) and config.workload.model is None:
        raise UsageError(
            f"{path} measured a loop or a script ({config.workload.name}), which tune cannot run again: give"
            " perfkit run --model pkg:build --input pkg:batch"
        )
    if what.record.status != "ok":
        raise UsageError(f"{path} did not finish ({what.record.status}): tune a run that did")
    return (what if records.artifact(what.record, path, "trace") is not None else None), config


def _named(config: RunConfig, line: str) -> str:
    """Flags that name an own model, without the arguments that a line gives anew."""
    own = config.workload
    if not isinstance(own, Own):
        return ""
    return shlex.join((msgspec.structs.replace(own, input_arg=()) if "--input-arg" in line else own).flags())


def _profiled(config: RunConfig, folder: Path, run_child: Callable[..., Finished]) -> RunFolder:
    """Profile the configuration in a fresh process. Raises the process's error where it fails."""
    print("profiling, to find what to change", file=sys.stderr)
    changed = config.changed(**(_PLAIN | {"profiler": "torch", "measure_steps": _LEAST}))
    extra = (*campaign.EXTRA_FLAGS, "--tensorboard", "off")
    finished = run_child(Point(key="profile", config=changed).config, folder / "profile", extra=extra)
    if finished.outcome != "ok" or finished.record is None:
        raise fresh.failure("", finished, folder)
    return RunFolder(folder / "profile", finished.record)


_PLAIN = {
    name: getattr(Measurement(), name)
    for name in ("profiler", "profile_stack", "experimental_provenance", "annotate", "autograd_nvtx")
} | dict.fromkeys(("target_ci", "max_time", "max_steps"))


def _plain(config: RunConfig, step_s: float) -> RunConfig:
    """The configuration as it is timed: without a profiler, and as many steps as two seconds hold."""
    steps = int(min(max(_SECONDS / step_s, _LEAST), _STEPS))
    warmup = max(config.measurement.warmup_steps, _WARMUP)
    return config.changed(**(_PLAIN | {"measure_steps": steps, "warmup_steps": warmup}))


def _found(saved: RunFolder) -> tuple[list[Finding], float]:
    """Its findings, and the median of its steps, seconds."""
    made = sources.source_of(saved, str(saved.path))
    walls = sorted(step.wall_s for step in saved.record.steps)
    return [finding for report in made.reports for finding in report.findings], walls[len(walls) // 2]


def _of_plain_steps(path: Path | None) -> list[Finding]:
    """What every step loses without a profiler: by the run's record, or that of the plain steps beside its trace."""
    what = None if path is None else what_is(path)
    if not isinstance(what, RunFolder):
        return []
    is_plain = what.record.config.measurement.profiler == "none"
    plains = [what.record] if is_plain else records.plains(what.record, what.path)
    return [finding for one in plains for finding in run_report.report(one).findings]


def _modules(saved: RunFolder, clock: Clock) -> frozenset[str]:
    """Classes of the model's modules, if the run saved them; DataLoader, if its batches come from one.

    Not so where CPU time is judged: what workers take of it is no longer in this process, and was not saved.
    """
    file = saved.path / module_tree.FILE
    classes = frozenset(module_tree.load(file).values() if file.exists() else ())
    return classes | {"DataLoader"} if clock == "wall" and "data" in saved.record.steps[0].phases_s else classes


def _variables(record: RunRecord) -> dict[str, str]:
    """Variables of the recorded run that this process lacks: without them another program would be measured."""
    return {name: value for name, value in record.environment.variables.items() if os.environ.get(name) != value}


def command(config: RunConfig, candidate: Candidate | None) -> str:
    """`perfkit run` of the configuration with the change, for a shell; the profiler is left out."""
    changed = config.changed(**_PLAIN)
    variables: Sequence[str] = ()
    if candidate is not None:
        changed = candidate.of(changed)
        variables = [f"{name}={shlex.quote(value)}" for name, value in candidate.environment.items()]
    usual = Measurement()
    changed = changed.changed(measure_steps=usual.measure_steps)
    return " ".join([*variables, shlex.join(("perfkit", "run", *changes.shortest(changed)))])


def _show(report: Report, options: TuneOptions) -> None:
    if options.table:  # one that has no row is no mistake
        report = report.only(*options.table)
    made = [report]
    if options.output is not None:
        files.write(options.output, made[0].seen_by("scripts"))
    show.write(made, options.format, top=None, asked=show.Asked(tables=options.table))
