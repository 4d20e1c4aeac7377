"""`perfkit compare`: two sides of runs with a verdict, or two traces side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports import two_traces as trace_comparison
from perfkit.analysis.runs import comparison, conditions
from perfkit.analysis.runs.comparison import Comparison, GateOutcome
from perfkit.analysis.runs.conditions import Difference
from perfkit.analysis.runs.processes import LeftOut, Side
from perfkit.analysis.time.trace_table import By, View
from perfkit.commands.console import show
from perfkit.commands.console.progress import attributing
from perfkit.commands.console.show import Format
from perfkit.commands.inputs import folders, traces
from perfkit.commands.inputs.flags import config_of
from perfkit.commands.inputs.paths import Runs, TraceFile, record_files, runs_in, side, what_is
from perfkit.commands.processes import fresh
from perfkit.errors import UsageError
from perfkit.launch.processes import run_child
from perfkit.render import files
from perfkit.render.writers import EXTENSIONS
from perfkit.schema import units
from perfkit.schema.campaign import Finished, Point
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RECORD_FILE
from perfkit.schema.report import Report

_EXIT_CODES: dict[GateOutcome, int] = {"pass": 0, "slower": 4, "inconclusive": 5}
_OUTPUT = Parameter(help=f"Also write the tables here: {EXTENSIONS}; .csv holds the first alone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions:
    """What to compare, and what counts."""

    run: Annotated[tuple[str, str] | None, Parameter(allow_leading_hyphen=True)] = None
    """Measure first: flags of A and flags of B, in quotes, each in fresh processes that take turns in random order."""
    repeats: int = 5
    """Processes a side (--run)."""
    traces_dir: Path = Path("traces")
    """Folder in which --run makes a folder for its runs."""
    margin: str = "1%"
    """Runs: ratios surely within 1 +- this are the same. Traces: shares that differ by more are marked."""
    fail_on: str | None = None
    """slower:2% makes the exit code 4 where B is surely slower than that, 5 where it may be, 0 where surely not."""
    force: bool = False
    """Compare although a GPU, driver, version or precision differs, and judge sides that did not take turns."""
    by: By = "component"
    """Traces: what the table `groups` has a row for: layer, module, class, component, op, kernel, ..."""
    format: Format = "table"
    """table for people; json with everything, for scripts; csv (one table, see --table); md for a document."""
    table: tuple[str, ...] = ()
    """Only these tables, by name."""
    top: int = 20
    """Rows shown of each table of traces; what is left out is summed in one more row."""
    output: Annotated[Path | None, _OUTPUT] = None

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UsageError(f"--repeats {self.repeats}: must be at least 1")
        if self.top < 0:
            raise UsageError(f"--top {self.top}: must be 0 or more")
        self.margin_ratio()
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
        raise UsageError(f"--fail-on {self.fail_on}: write the most that B may be slower, as slower:2%")


_DEFAULT = CompareOptions()


def execute(
    a: Annotated[Path | None, Parameter()] = None,
    b: Annotated[Path | None, Parameter()] = None,
    /,
    options: Annotated[CompareOptions, Parameter(name="*")] = _DEFAULT,
    *,
    run_child: Annotated[Callable[..., Finished], Parameter(parse=False)] = run_child,
) -> int:
    """Compare B with A: runs (a record, a folder of one or more, a sweep's results), or two traces; or measure first.

    Examples: perfkit compare traces/before traces/after; perfkit compare --run '--attention eager' '--attention sdpa'
    """
    if options.output is not None:
        files.check(options.output)
    if options.run is not None:
        if a is not None:
            raise UsageError("--run takes two texts, the flags of A and those of B in quotes, and no paths")
        return _measured(options.run, options, run_child)
    if a is None or b is None:
        raise UsageError("name two things to compare, A and B, or measure them: --run 'flags of A' 'flags of B'")
    for path in (a, b):
        _check_there(path)
    match what_is(a), what_is(b):
        case TraceFile(), TraceFile():
            return _traces(a, b, options)
        case (TraceFile(path=trace), run) | (run, TraceFile(path=trace)):
            raise UsageError(
                f"{trace} is taken for a trace and {run.path} for runs: compare two traces, or runs with runs"
            )
        case one, other:
            return _runs(one, other, options)


def _check_there(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"{path} does not exist: check the path")
    if path.is_dir() and not any(path.iterdir()):
        raise UsageError(f"{path}: an empty folder: name one that holds runs, or a trace")


def _runs(a: Runs, b: Runs, options: CompareOptions) -> int:
    sides = side(a, "A"), side(b, "B")
    _check_apart(a, b)
    return _concluded(comparison.compare(*sides, margin=options.margin_ratio(), force=options.force), options)


def _check_apart(a: Runs, b: Runs) -> None:
    """A process on both sides is no second measurement."""
    if a.path.resolve() == b.path.resolve():
        raise UsageError(f"{a.path}: both sides are the same runs")
    shared = {file.resolve() for file in record_files(a)} & {file.resolve() for file in record_files(b)}
    if shared:
        raise UsageError(f"{min(shared)}: is on both sides, and a run compared with itself says nothing")


def _traces(a: Path, b: Path, options: CompareOptions) -> int:
    if options.fail_on is not None:
        raise UsageError("--fail-on judges runs: one trace a side has no interval; leave it out")
    one, other = traces.load(a), traces.load(b)
    with attributing(one.facts.events + other.facts.events):
        found = trace_comparison.report(one, other, View(by=options.by), options.margin_ratio())
    _show(found, options)
    return 0


def _measured(lines: tuple[str, str], options: CompareOptions, run_child: Callable[..., Finished]) -> int:
    """Run both sides, then compare them. Flags that differ were asked for, so none of them is refused."""
    config_a, config_b = map(config_of, lines)
    if options.fail_on is not None and not options.force:
        _check_alike(conditions.unlike(config_a, config_b))  # now, not when all is measured
    folder = folders.new(options.traces_dir, "compare")
    points = [Point(key="A", config=config_a), Point(key="B", config=config_b)]
    fresh.measure(points, options.repeats, folder, run_child)
    sides = [_side(key, folder / key, config, options.repeats) for key, config in (("A", config_a), ("B", config_b))]
    intended = frozenset(name for name, value in config_a.flat().items() if value != config_b.value(name))
    compared = comparison.compare(*sides, margin=options.margin_ratio(), intended=intended, force=options.force)
    code = _concluded(compared, options)
    print(f"saved in {folder}; again: perfkit compare {folder}/A {folder}/B", file=sys.stderr)
    return code


def _side(name: str, folder: Path, config: RunConfig, repeats: int) -> Side:
    """The runs that were asked for: with a record, or named as missing."""
    found = side(runs_in(folder), name)
    missing = [str(n) for n in range(1, repeats + 1) if not (folder / str(n) / RECORD_FILE).is_file()]
    return replace(found, left_out=(*(LeftOut(f"{one} (no record)", config) for one in missing), *found.left_out))


def _concluded(compared: Comparison, options: CompareOptions) -> int:
    report = comparison_report.report(compared)
    code = 0
    if options.fail_on is not None:
        _check_comparable(compared, options)
        found = comparison.gate(compared, options.limit())
        code = _EXIT_CODES[found.outcome]
        gate = comparison_report.gate_finding(compared, found, options.limit())
        report = report.plus({"exit_code": code, "no_pass": list(found.reasons)}, findings=(gate,))
    _show(report, options)
    return code


def _check_comparable(compared: Comparison, options: CompareOptions) -> None:
    """A gate over different work would pass or fail for that alone."""
    if not options.force:
        _check_alike([one for one in compared.differences if one.role in ("work", "method")])


def _check_alike(found: Sequence[Difference]) -> None:
    if found:
        odd = "; ".join(map(str, found))
        raise UsageError(f"--fail-on needs the same work, measured alike: {odd}; --force judges all the same")


def _show(report: Report, options: CompareOptions) -> None:
    reports = show.chosen([report], options.table)
    if options.output is not None:
        files.write(options.output, reports[0].seen_by("scripts"))
    show.write(reports, options.format, top=options.top)
