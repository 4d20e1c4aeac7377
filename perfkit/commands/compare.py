"""`perfkit compare`: two sides of runs with a verdict, or two traces side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports import two_memories
from perfkit.analysis.reports import two_traces as trace_comparison
from perfkit.analysis.reports.changes import WHERE_IT_LIES
from perfkit.analysis.reports.differences import FASTER, ONE_OF_EACH
from perfkit.analysis.reports.page import pictures
from perfkit.analysis.reports.trace import NAMES
from perfkit.analysis.runs import comparison, conditions
from perfkit.analysis.runs.comparison import Comparison, GateOutcome
from perfkit.analysis.runs.conditions import Difference
from perfkit.analysis.runs.processes import LeftOut, Side
from perfkit.analysis.time.trace_table import By, View
from perfkit.commands.console import show
from perfkit.commands.console.progress import attributing
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import completing, folders, recorded, traces
from perfkit.commands.inputs.flags import config_of
from perfkit.commands.inputs.paths import (
    Input,
    RunFolder,
    Runs,
    RunsFolder,
    SnapshotFile,
    TraceFile,
    check_apart,
    check_not_the_same,
    out_of_tables,
    runs_in,
    side,
    what_is,
)
from perfkit.commands.pictures import Plots, plot_flag, wanted
from perfkit.commands.processes import fresh
from perfkit.errors import UsageError
from perfkit.launch import torchrun
from perfkit.launch.processes import run_child
from perfkit.render import files
from perfkit.render.writers import EXTENSIONS
from perfkit.schema import units
from perfkit.schema.campaign import Finished, Point
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.page.pictures import OF_COMPARISONS
from perfkit.schema.record import artifact
from perfkit.schema.report import Report
from perfkit.trace import foreign

_EXIT_CODES: dict[GateOutcome, int] = {"pass": 0, "slower": 4, "inconclusive": 5}
PhaseOrAll = Literal["all", "forward", "recompute", "backward", "optimizer", "communication", "other", "unlaunched"]
_PATH = Parameter(completer=completing.paths)
_PICTURES = tuple(OF_COMPARISONS)
_OUTPUT = Parameter(help=f"Also write the tables here: {EXTENSIONS}; .csv holds the first alone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What to compare, and when sides count as different."""

    run: Annotated[tuple[str, str] | None, Parameter(allow_leading_hyphen=True)] = None
    """Measure A and B first, in fresh processes in random order; give the flags of each in quotes."""
    repeats: int = 5
    """With --run: number of processes per side."""
    traces_dir: Path = Path("traces")
    """Folder in which --run makes a folder for its runs."""
    margin: str = "1%"
    """Runs: A and B are the same if the ratio's interval is within 1 +- this. Traces: mark shares that differ more."""
    fail_on: str | None = None
    """slower:2% sets the exit code: 4 if B is more than 2% slower, 0 if it is not, 5 if the data cannot tell."""
    force: bool = False
    """Compare despite another GPU, driver, version or precision, and judge sides that were not measured in turns."""
    phases: tuple[PhaseOrAll, PhaseOrAll] | None = None
    """Set two phases of one trace or run side by side, or one and the whole step, as in forward all."""
    by: By = "component"
    """Traces: what each row of the table `groups` stands for: layer, module, class, component, op, kernel, ..."""
    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: tuple[str, ...] = ()
    """Show only these tables, by name."""
    top: int = 20
    """Traces: show this many rows of each table; one more row has the sum of the others."""
    wide: bool = False
    """Traces: show every column and kernels' full names, however wide the tables get."""
    output: Annotated[Path | None, _OUTPUT] = None
    plot: Annotated[tuple[str, ...], plot_flag(_PICTURES)] = ()

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UsageError(f"--repeats {self.repeats}: must be at least 1")
        if self.top < 0:
            raise UsageError(f"--top {self.top}: must be 0 or more")
        self.margin_ratio()
        wanted(self.plot, _PICTURES)
        if self.fail_on is not None:
            self.limit()

    def margin_ratio(self) -> float:
        """--margin 1% as 0.01."""
        try:
            return units.parse_percentage(self.margin)
        except UsageError as error:
            raise UsageError(f"--margin {error}") from error

    def limit(self) -> float:
        """--fail-on slower:2% as 0.02."""
        what, _, text = (self.fail_on or "").partition(":")
        try:
            if what == "slower":
                return units.parse_percentage(text)
        except UsageError:
            pass
        raise UsageError(f"--fail-on {self.fail_on}: write how much slower B may be, as in slower:2%")


_DEFAULT = CompareOptions()


def _phases(names: tuple[str, str], path: Path, options: CompareOptions) -> int:
    """Two phases of one recording."""
    if options.fail_on is not None or options.plot:
        flag = "--plot" if options.plot else "--fail-on"
        raise UsageError(f"{flag} compares two sides, and --phases looks at one: leave it out")
    a, b = (None if name == "all" else Phase[name.upper()] for name in names)
    if a is b:
        raise UsageError(f"--phases {' '.join(names)}: name two that differ, as in forward all")
    if path.is_dir() and isinstance(what := what_is(path), RunFolder) and not artifact(what.record, path, "trace"):
        raise UsageError(f"{path} is a run without a trace: record one with perfkit run --profiler torch")
    trace = traces.load(path)
    with attributing(trace.facts.events):
        report = trace_comparison.of_phases(trace, (a, b), View(by=options.by))
    _show(report, options)
    return 0


def execute(
    a: Annotated[Path | None, _PATH] = None,
    b: Annotated[Path | None, _PATH] = None,
    /,
    *more: Annotated[str, Parameter(show=False)],
    options: Annotated[CompareOptions, Parameter(name="*")] = _DEFAULT,
    run_child: Annotated[Callable[..., Finished], Parameter(parse=False)] = run_child,
) -> int:
    """Compare B with A: runs (a record, a folder of one or more, a sweep's results), or two traces; or measure first.

    Examples: perfkit compare traces/before traces/after; perfkit compare --run '--attention eager' '--attention sdpa'
    """
    if options.output is not None:
        files.check(options.output)
    if options.run is not None:
        if a is not None:
            raise UsageError("--run takes the flags of A and the flags of B, each in quotes: drop the paths")
        return _measured(options.run, options, run_child)
    tables, among_tables = out_of_tables(options.table, NAMES)
    if among_tables:
        options = replace(options, table=tables)
        named = [*filter(None, (a, b)), *map(Path, (*more, *among_tables))]
        a, b, more = *[*named, None, None][:2], tuple(map(str, named[2:]))
    if options.phases is not None:
        if a is None or b is not None:
            raise UsageError("--phases compares two phases of one trace or run: name one path")
        _check_there(a)
        return _phases(options.phases, a, options)
    if a is None or b is None:
        raise UsageError("name two things to compare, A and B, or measure them: --run 'flags of A' 'flags of B'")
    if more:
        raise UsageError(f"compare takes two paths, not {2 + len(more)}: name A and B (perfkit analyze takes several)")
    for path in (a, b):
        _check_there(path)
    return _compared(a, b, options)


def _compared(a: Path, b: Path, options: CompareOptions) -> int:
    """Compare what the paths are."""
    sides = what_is(a), what_is(b)
    if all(map(recorded.has_recording, sides)):
        return _memories(*sides, options)
    match sides:
        case TraceFile(), TraceFile():
            return _traces(a, b, options)
        case (SnapshotFile(path=snapshot), other) | (other, SnapshotFile(path=snapshot)):
            raise UsageError(
                f"{snapshot} is a recording of memory and {other.path} is none: compare two snapshots, or two runs with"
                " --profiler memory"
            )
        case (TraceFile(path=trace), run) | (run, TraceFile(path=trace)):
            raise UsageError(
                f"{trace} looks like a trace and {run.path} like runs: compare traces with traces, or runs with runs"
            )
        case before, after:
            return _runs(before, after, options)


def _check_there(path: Path) -> None:
    if not path.exists():
        raise foreign.missing(path)
    if path.is_dir() and not any(path.iterdir()):
        raise UsageError(f"{path} is an empty folder: name one that holds runs, or a trace")


def _runs(a: Runs, b: Runs, options: CompareOptions) -> int:
    sides = side(a, "A"), side(b, "B")
    check_apart(a, b)
    compared = comparison.compare(*sides, margin=options.margin_ratio(), force=options.force)
    return _concluded(compared, options, [_traces_of(input_) for input_ in (a, b)])


def _traces_of(runs: Runs) -> list[Path]:
    """The traces of the finished runs of a side of one configuration; none where one lacks it."""
    if isinstance(runs, RunFolder):
        records = [(runs.path, runs.record)]
    elif isinstance(runs, RunsFolder):
        records = [(file.parent, saved) for file, saved in runs.records]
    else:
        return []
    done = [(folder, saved) for folder, saved in records if saved.status == "ok"]
    found = [artifact(saved, folder, "trace") for folder, saved in done]
    return [path for path in found if path is not None] if None not in found else []


def _what_changed(report: Report, compared: Comparison, sides: Sequence[list[Path]], options: CompareOptions) -> Report:
    """With what the traces of profiled runs say: where the difference lies, and which kernels are new."""
    if not all(sides) or len(compared.steps) != 1:
        return report
    loaded = [[traces.load(path) for path in side] for side in sides]
    with attributing(sum(trace.facts.events for side in loaded for trace in side)):
        found = trace_comparison.report(loaded[0][0], loaded[1][0], View(by=options.by), options.margin_ratio())
        kinds = trace_comparison.kinds(loaded) if min(map(len, sides)) > 1 else None
    first = "" if max(map(len, sides)) == 1 else " of each side's first process"
    text = f"what changed is read off the traces{first}; the verdict is of the steps' times"
    added = (*([kinds] if kinds is not None else []), *found.only(*_OF_TRACES).tables)
    said = (
        replace(one, what=f"in the traces{first}, by the mean of their steps, {one.what}")
        if one.rule is WHERE_IT_LIES
        else one
        for one in found.findings
        if one.rule not in _NOT_OF_RUNS
    )
    findings = (comparison_report.faster(compared), *said, Finding(OF_TRACES, text))
    return report.plus({"traces": found.summary}, added, findings)


OF_TRACES = Rule("of-traces", "comparison", "what the tables of profiled runs were read off")
_OF_TRACES = ("changes", "wall_time", "categories", "groups", "kernels", "copies")
"""Tables of traces that are shown of profiled runs; their phases have a table by the runs' own clock."""
_NOT_OF_RUNS = (FASTER, ONE_OF_EACH, trace_comparison.TABLE_AGREES, trace_comparison.TABLE_DISAGREES)
"""Rules that ask whether two instruments agree, and what runs say better: which is faster, and how sure that is."""


def _traces(a: Path, b: Path, options: CompareOptions) -> int:
    if options.fail_on is not None:
        raise UsageError("--fail-on needs runs: two single traces give no confidence interval; leave it out")
    before, after = traces.load(a), traces.load(b)
    with attributing(before.facts.events + after.facts.events):
        report = trace_comparison.report(before, after, View(by=options.by), options.margin_ratio())
    _show(report, options)
    _draw(report, None, options)
    return 0


def _memories(a: Input, b: Input, options: CompareOptions) -> int:
    """Two recordings of memory, each at its peak."""
    if options.fail_on is not None:
        raise UsageError("--fail-on slower: needs step times: recordings of memory are not for them; leave it out")
    if options.plot:
        raise UsageError("--plot draws comparisons of times: perfkit memory draws each recording of memory")
    check_not_the_same(a, b)
    title = " and ".join(input_.path.name for input_ in (a, b) if isinstance(input_.path, Path))
    _show(two_memories.report(recorded.account_of(a), recorded.account_of(b), title), options)
    return 0


def _measured(lines: tuple[str, str], options: CompareOptions, run_child: Callable[..., Finished]) -> int:
    """Run both sides, then compare them. The user chose the flags that differ, so none of them is refused."""
    config_a, config_b = map(config_of, lines)
    if options.fail_on is not None and not options.force:
        _check_alike(conditions.unlike(config_a, config_b))  # before the runs, not after them
    folder = folders.new(options.traces_dir, "compare")
    for config in (config_a, config_b):
        torchrun.refuse(config, "perfkit compare --run")
    points = [Point(key="A", config=config_a), Point(key="B", config=config_b)]
    fresh.measure(points, options.repeats, folder, run_child)
    sides = [_side(key, folder / key, config, options.repeats) for key, config in (("A", config_a), ("B", config_b))]
    intended = frozenset(name for name, value in config_a.flat().items() if value != config_b.value(name))
    compared = comparison.compare(*sides, margin=options.margin_ratio(), intended=intended, force=options.force)
    code = _concluded(compared, options)
    print(f"saved in {folder}; again: perfkit compare {folder}/A {folder}/B", file=sys.stderr)
    return code


def _side(name: str, folder: Path, config: RunConfig, repeats: int) -> Side:
    """The requested runs; those without a record are listed as left out."""
    measured = side(runs_in(folder), name)
    missing = [str(n) for n in range(1, repeats + 1) if not (folder / str(n) / RECORD_FILE).is_file()]
    return replace(
        measured, left_out=(*(LeftOut(f"{number} (no record)", config) for number in missing), *measured.left_out)
    )


def _concluded(compared: Comparison, options: CompareOptions, sides: Sequence[list[Path]] = ()) -> int:
    report = comparison_report.report(compared)
    code = 0
    if options.fail_on is not None:
        _check_comparable(compared, options)
        gate = comparison.gate(compared, options.limit())
        code = _EXIT_CODES[gate.outcome]
        finding = comparison_report.gate_finding(compared, gate, options.limit())
        report = report.plus({"exit_code": code, "no_pass": list(gate.reasons)}, findings=(finding,))
    if len(sides) == 2:
        report = _what_changed(report, compared, sides, options)
    _show(report, options)
    _draw(report, compared, options)
    return code


def _check_comparable(compared: Comparison, options: CompareOptions) -> None:
    """Refuse to judge different work: the verdict would only show that difference."""
    if not options.force:
        _check_alike([difference for difference in compared.differences if difference.role in ("work", "method")])


def _check_alike(differences: Sequence[Difference]) -> None:
    if differences:
        odd = "; ".join(map(str, differences))
        raise UsageError(f"--fail-on needs the same work, measured in the same way: {odd}; --force judges anyway")


def _show(report: Report, options: CompareOptions) -> None:
    reports = show.chosen([report.in_full() if options.wide else report], options.table)
    if options.output is not None:
        files.write(options.output, reports[0].seen_by("scripts"))
    show.write(reports, options.format, top=options.top)


def _draw(report: Report, compared: Comparison | None, options: CompareOptions) -> None:
    plots = Plots(options.plot, _PICTURES)
    plots.offer(pictures.OF_COMPARISONS if compared else pictures.OF_COMPARISONS[::-1], (report, compared))
    plots.draw()
