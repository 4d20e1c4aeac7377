"""`perfkit study`: the questions of an investigation, each answered by one command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perfkit import signals
from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.explained.reading import Edition
from perfkit.analysis.reports import recorded_memory
from perfkit.analysis.reports.page import pictures
from perfkit.analysis.reports.trace import TABLES
from perfkit.analysis.study import budget, catalogue
from perfkit.analysis.study.alone import OWN, PRECISIONS
from perfkit.analysis.study.page import Answered
from perfkit.analysis.study.question import Question, Results, Scope, Taken, UnansweredError, answered
from perfkit.analysis.study.serving import SERVING
from perfkit.analysis.sweeps.rows import Forecast
from perfkit.analysis.time.account import Selection
from perfkit.analysis.time.trace_table import View
from perfkit.commands import attention as attention_command
from perfkit.commands import reports
from perfkit.commands.attention import AttentionOptions
from perfkit.commands.console import answers, show
from perfkit.commands.console.progress import going_on
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing, folders, jobs, recorded
from perfkit.commands.inputs.paths import RunFolder
from perfkit.commands.processes import kept, own_attention
from perfkit.commands.processes.kept import Kept
from perfkit.commands.sweep_forecast import forecast_of
from perfkit.errors import InterruptedRunError, PerfkitError, UsageError
from perfkit.launch import places
from perfkit.launch.campaign import Execute
from perfkit.render import opening
from perfkit.schema import record as records
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.page.pictures import Picture
from perfkit.schema.parts.workloads import ModelSize
from perfkit.schema.printable import printable
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.schema.sweep import SweepRow, key_of
from perfkit.schema.table import Table

_NAMES = Parameter(
    name="QUESTION", help="Q1 to Q20, or a question's word, or all; none lists them.",
    completer=completing.names(catalogue.WORDS),
)  # fmt: skip
_GOES_ON = "the same command goes on"
_UNEXPLAINED = ("timeout", "host-killed", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What is studied, and where results go."""

    model_size: tuple[ModelSize, ...] = ()
    """Sizes of the Transformer; default: tiny on a CPU, small on a GPU."""
    context_length: tuple[int, ...] = ()
    """Context lengths, for the questions that are about several; default: each question's own."""
    batch_size: int = 4
    """Sequences per step."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    num_threads: int | None = None
    """Number of threads that PyTorch uses inside one CPU operation; default: PyTorch's default."""
    edition: Edition = "2025"
    """Of the course whose names of sizes are meant: the xl of 2026 is the 2.7B of 2025."""
    memory: str | None = None
    """The memory to fit into, such as 16GB; default: the device's free memory."""
    budget: str | None = None
    """Begin no run that would end after this time, such as 10m; the largest are skipped, and predicted."""
    function: str | None = None
    """For Q17: your own attention, a function of q, k and v (batch, sequence, width), as package.module:callable."""
    output: Annotated[Path, Parameter(alias="-o")] = Path("study")
    """Folder of the runs, tables (.csv, .md, .tex, .typ) and figures; what was measured in it is not measured again."""
    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table); md for a document."""

    def __post_init__(self) -> None:
        if self.memory is not None:
            units.parse_size(self.memory)
        if self.budget is not None:
            budget.seconds(self.budget)
        if self.output.exists() and not self.output.is_dir():
            raise UsageError(f"--output {self.output} is a file: name a folder")
        AttentionOptions(function=self.function)
        RunConfig.of(batch_size=self.batch_size, device=self.device, num_threads=self.num_threads)
        for context in self.context_length:
            RunConfig.of(context_length=context)


_SEQUENCES, _IMPLEMENTATIONS = (256, 512, 1024), ("eager", "sdpa")
"""Of attention alone without a GPU: a minute or two on two cores."""
_WIDTHS = (16, 64)
_OWN = "attention_own"
"""Folders of a function's grids begin so."""
_NO_TIME = 1e-9
"""Seconds in which no cell begins."""


def _attention(options: AttentionOptions) -> Report | None:
    """The report of attention alone; None where no cell has a result. Raises what interrupted it."""
    done = attention_command.investigate(options)
    if done.ending is not None:
        raise done.ending
    return done.report


@dataclass(frozen=True, slots=True)
class Outside:
    """Calls of a study that start other processes; tests replace some of them."""

    execute: Execute = kept.in_fresh_process
    find: Callable[[Iterable[str]], dict[str, places.Place]] = places.find
    attention: Callable[[AttentionOptions], Report | None] = _attention
    check: Callable[[str, int, int, str], None] = own_attention.check


_DEFAULT, _OUTSIDE = StudyOptions(), Outside()


def execute(
    *names: Annotated[str, _NAMES],
    options: Annotated[StudyOptions, Parameter(name="*")] = _DEFAULT,
    outside: Annotated[Outside, Parameter(parse=False)] = _OUTSIDE,
) -> int:
    """Answer a question: run what it needs, then say the sentence, the table, and where the evidence is.

    Examples: perfkit study; perfkit study Q7; perfkit study softmax --model-size small;
    perfkit study all --model-size small medium --output report/ --budget 30m
    """
    if not names:
        _list(options.format)
        return 0
    questions = catalogue.chosen(names)
    with folders.reserved(options.output, "--output"):
        _study(questions, names, options, outside)
    return 0


def _study(questions: Sequence[Question], names: Sequence[str], options: StudyOptions, outside: Outside) -> None:
    scope = _scope(questions, options, outside)
    _check_function(questions, options, scope, outside)
    needs = catalogue.needs(questions, scope)
    plan = kept.Plan(
        needs=needs,
        folder=options.output,
        resolved=scope.resolved,
        forecast=lambda config: _forecast(config, scope),
        budget_s=None if options.budget is None else budget.seconds(options.budget),
        execute=outside.execute,
    )
    began = time.monotonic()
    made = kept.measure(plan)
    with show.and_then(_ending(made, needs, options)):
        taken = {key: _taken(key, config, made, options.output) for key, config in needs.items()}

        def alone(kind: str) -> Report | None:
            grid = _grid(kind, options, scope, time.monotonic() - began)
            if grid is not None and made.interrupted is not None:
                raise UnansweredError(f"{_ended_by(made)}; {_GOES_ON}")
            return _alone(grid, outside)

        results = Results(taken, attention=cache(alone))
        found, early = _answers(questions, scope, results, made)
        written: list[Path] = []
        try:
            written = answers.write(found, options.output, names) if found else []
        except UsageError as error:  # a full disk: what there is to say is said all the same
            early = early or error
        with show.and_then(early):
            if found:
                by_title = len(questions) > 1 or options.format == "table"
                show.write([one.report for one in found], options.format, top=None, by_title=by_title)
                _tell_evidence(found, results, scope, written, options)


def _list(form: Format) -> None:
    """All questions: for people in lines as wide as the terminal, which a table's cells are not broken for."""
    listed = catalogue.listing(Scope())
    if form != "table":
        show.write([listed], form, top=None)
        return
    [table] = listed.tables
    print(table.title)
    for name, word, asks, runs in table.frame.itertuples(index=False):
        lead, said = f"{name:<4} {word:<14}", f"{asks} ({units.many(runs, 'run', 'runs')})"
        print(*opening.wrapped(said, show.width(), lead, " " * len(lead)), sep="\n")
    for note in table.notes:
        print(*opening.wrapped(note, show.width()), sep="\n")


def _scope(questions: Sequence[Question], options: StudyOptions, outside: Outside) -> Scope:
    """What is studied. The device is asked for where something is run on it: that takes seconds."""
    sizes, memory = options.model_size, None if options.memory is None else units.parse_size(options.memory)
    place: places.Place = ("cpu" if options.device == "auto" else options.device, None)
    if any(question.needs(Scope()) for question in questions):
        with going_on("looking for a GPU"):
            place = outside.find([options.device]).get(options.device, place)
    device, free = place
    return Scope(
        sizes=sizes or (("tiny",) if device == "cpu" else ("small",)),
        contexts=options.context_length,
        batch_size=options.batch_size,
        device=device,
        memory=memory if memory is not None else free,
        num_threads=options.num_threads,
        edition=options.edition,
    )


def _forecast(config: RunConfig, scope: Scope) -> Forecast | None:
    return None if scope.memory is None else forecast_of(config, scope.device, scope.memory)


def _grid(kind: str, options: StudyOptions, scope: Scope, spent_s: float) -> AttentionOptions | None:
    """Attention alone (`grid`), or in a precision with a function of the user's beside it; None where none is named.

    Without a GPU it is a small one, where nothing else is asked for. Of the budget `spent_s` is used up already.
    """
    is_own, small = kind in PRECISIONS, not scope.on_gpu
    if is_own and options.function is None:
        return None
    folder = options.output / (f"{_OWN}_{kind}" if is_own else "attention")
    left = None if options.budget is None else budget.seconds(options.budget) - spent_s
    return AttentionOptions(
        head_width=_WIDTHS if small else (),
        sequence=options.context_length or (_SEQUENCES if small else ()),
        implementation=_IMPLEMENTATIONS if small else (),
        function=options.function if is_own else None,
        precision="bf16" if kind == "bf16" else "fp32",
        device=options.device,
        num_threads=options.num_threads,
        memory=options.memory,
        budget=None if left is None else max(left, _NO_TIME),
        folder=folder,
        resume=folder.is_dir(),
    )


def _alone(grid: AttentionOptions | None, outside: Outside) -> Report | None:
    if grid is not None and grid.budget == _NO_TIME and not grid.resume:
        raise UnansweredError("the time budget had no room for it; a larger --budget has")
    return None if grid is None else outside.attention(grid)


def _check_function(questions: Sequence[Question], options: StudyOptions, scope: Scope, outside: Outside) -> None:
    """Raise UsageError for a function that cannot be measured, before anything else is; not of one that was begun."""
    if options.function is None:
        return
    if OWN not in questions:
        raise UsageError(f"--function {options.function} is for {OWN.name}, which was not asked for: name it, or all")
    if not any(options.output.glob(f"{_OWN}_*")):
        outside.check(options.function, min(options.context_length or _SEQUENCES), min(_WIDTHS), scope.device)


def _ending(made: Kept, needs: dict[str, RunConfig], options: StudyOptions) -> PerfkitError | None:
    """What is raised once the answers are shown."""
    if made.interrupted is not None:
        said = f"; {len(made.rows)} of {len(needs)} runs are saved in {options.output}: {_GOES_ON}"
        return InterruptedRunError(made.interrupted, said)
    failed = sum(row.outcome in _UNEXPLAINED for row in made.rows.values())
    if failed:
        logs = options.output / "runs" / "*.log"
        return PerfkitError(f"{failed} of {len(needs)} runs ended in an error; what they said is in {logs}")
    return None


# --- results ------------------------------------------------------------------------------------------------------


def _taken(key: str, config: RunConfig, made: Kept, output: Path) -> Taken:
    row = made.rows.get(key)
    if row is None:
        if key in made.skipped:
            why = "the time budget had no room for it"
            return Taken(config=config, outcome="skipped", why=why, seconds=made.skipped[key])
        return Taken(config=config, outcome="interrupted", why=_ended_by(made))
    why = (row.message or "").removesuffix("; --force runs it")  # a flag of sweeps
    common = Taken(
        config=config, outcome=row.outcome, why=why, seconds=row.process_s, predicted_bytes=row.predicted_bytes,
    )  # fmt: skip
    return common if row.record is None else _with_files(common, row, output)


def _ended_by(made: Kept) -> str:
    return f"{'a signal' if made.interrupted is None else made.interrupted.name} ended the study before it"


def _with_files(common: Taken, row: SweepRow, output: Path) -> Taken:
    """With what a run left: its record, and the tables and pictures of its trace or its memory."""
    assert row.record is not None, "rows without a record have no files"
    folder = output / row.record
    saved = records.load(folder)
    reader = _Reader(folder, saved)
    return Taken(
        config=common.config, outcome=common.outcome, record=saved, folder=str(folder), why=common.why,
        seconds=common.seconds, predicted_bytes=common.predicted_bytes, tables=reader.table, pictures=reader.picture,
    )  # fmt: skip


class _Reader:
    """Tables and pictures of a run, each read once."""

    def __init__(self, folder: Path, saved: RunRecord) -> None:
        self._folder, self._saved = folder, saved
        self._report = cache(self._read)

    def table(self, name: str, phase: str | None) -> Table | None:
        """A table by name; None where the run has no such."""
        report = self._report(phase)
        return None if report is None else report.table(name)

    def picture(self, name: str) -> Picture | None:
        """A picture of its memory by name; None where it has none."""
        account = recorded.of_run(RunFolder(self._folder, self._saved))
        plot = next((plot for plot in pictures.OF_MEMORY if plot.name == name), None)
        return None if account is None or plot is None else plot.build(account())

    def _read(self, phase: str | None) -> Report | None:
        run = RunFolder(self._folder, self._saved)
        if (account := recorded.of_run(run)) is not None:
            return recorded_memory.report(account(), self._folder.name, recorded.config_of(run))
        if self._saved.ranks:
            files = jobs.traces_of(self._saved, self._folder)
            return jobs.recordings_of(self._folder, files) if files else None
        trace = records.artifact(self._saved, self._folder, "trace")
        if trace is None:
            return None
        view = View(Selection(Phase[phase.upper()] if phase else None))
        view = reports.at_its_clock(view, self._saved, self._folder)
        return reports.of_trace(trace, view, tables=(*TABLES, SERVING), record=self._saved)


def _answers(
    questions: Sequence[Question], scope: Scope, results: Results, made: Kept
) -> tuple[list[Answered], PerfkitError | None]:
    """The answers, and what is raised once they are shown: a signal ends them; of several one that breaks does not.

    A question alone raises what it breaks with.
    """
    found: list[Answered] = []
    for question in questions:
        try:
            found.append(_answered(question, scope, results, made, others=len(questions) > 1))
        except InterruptedRunError as error:  # it says by itself what is kept
            return found, error
        except KeyboardInterrupt as error:
            said = f" at {question.name}; {len(found)} of {len(questions)} are answered: {_GOES_ON}"
            return found, InterruptedRunError(signals.by(error), said)
    broken = [one.question.name for one in found if one.report.summary["broken"]]
    early = PerfkitError(f"no answer to {', '.join(broken)}: what it says there is why") if broken else None
    return found, early


def _answered(question: Question, scope: Scope, results: Results, made: Kept, *, others: bool) -> Answered:
    began = time.monotonic()
    with going_on(f"answering {question.name}"):
        report, picture = answered(question, scope, results, others=others)
        _ = report.findings
    keys = catalogue.needs([question], scope)
    processes = sum(row.process_s or 0.0 for key, row in made.rows.items() if key in keys)
    return Answered(question, report, picture, len(keys), processes + time.monotonic() - began)


# --- what is said of it --------------------------------------------------------------------------------------------


def _tell_evidence(
    found: Sequence[Answered], results: Results, scope: Scope, written: Sequence[Path], options: StudyOptions
) -> None:
    """Where the evidence is: on standard output for people, else beside the document."""
    stream = sys.stdout if options.format == "table" else sys.stderr
    for one in found:
        keys = [key_of(config) for config in one.question.needs(scope)]
        folders = [results.by_key[key].folder for key in keys if results.by_key[key].folder]
        if folders:
            print(f"{one.question.name}: evidence in {printable(', '.join(dict.fromkeys(folders)))}", file=stream)
    said = ", ".join(str(path) for path in written[-3:])
    more = f" and {len(written) - 3} more" if len(written) > 3 else ""
    if written:
        print(f"wrote {printable(said)}{more}", file=stream)
