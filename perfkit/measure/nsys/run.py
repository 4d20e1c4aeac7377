"""`--profiler nsys`: the same run once more, as a process of its own under `nsys profile`, and its report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perfkit import signals
from perfkit.errors import InterruptedRunError, PerfkitError, UsageError
from perfkit.launch import nsys_export
from perfkit.measure import recorder
from perfkit.measure.nsys import process as nsys_process
from perfkit.measure.nsys import program as nsys_program
from perfkit.measure.nsys.process import Ended
from perfkit.measure.nsys.program import Nsys
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Failure, RunRecord

REPORT, EXPORT = "report.nsys-rep", "report.sqlite"
EXPORTING = "exporting the report"
"""Where a run is after nsys has ended."""
_CHECK = "run scripts/install-nsys --check to see whether nsys works here"


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run under nsys does outside this process; tests put something else in its place."""

    record: Callable[[Sequence[str], Callable[[str], None]], Ended] = nsys_process.run
    """Runs a command line and passes its lines on."""
    export: Callable[[Path, Path, str], object] = nsys_export.export
    """Writes a report's tables to a file; the name is for messages."""


def run(
    config: RunConfig,
    nsys: Nsys,
    device: str,
    folder: Path,
    tell: Callable[[str], None],
    beside: Callable[[], dict[str, str]] = dict,
    tools: Tools = Tools(),
) -> RunRecord:
    """Run a configuration in `folder`, which is empty, under nsys; `tell` gets a line whenever something happens.

    The process under nsys writes its record; the report, its export and what `beside`, which is called after a run that
    went well, leaves in the folder are named in it as soon as each is there: whatever ends this process, the record
    names what lies beside it. Returns the record, whatever its status; there is a report unless the run failed before
    its measured steps. Raises PerfkitError where there is no record or, after a run that went well, no report.
    """
    command = nsys_program.profile_command(nsys, device, str(folder / REPORT))
    command += [sys.executable, "-m", "perfkit.run", *config.flags(), "--folder", str(folder)]
    tell(f"under nsys {nsys.version_text}".rstrip())
    with signals.held():
        ended = tools.record(command, tell)
        saved = _record(ended, folder, command)
        if not (folder / REPORT).is_file() or ended.problem:
            if saved.status == "ok":
                raise _no_report(ended, folder)
            return saved
        saved = recorder.completed(saved, folder, {"nsys_report": REPORT})
        tell(EXPORTING)
        saved = _exported(saved, folder, tools)
        if saved.status == "ok":
            with signals.raised():
                more = beside()
            if more:
                saved = recorder.completed(saved, folder, more)
    return saved


def _exported(saved: RunRecord, folder: Path, tools: Tools) -> RunRecord:
    """The record with the report's export, which a signal may cut short."""
    try:
        with signals.raised():
            tools.export(folder / REPORT, folder / EXPORT, str(folder / REPORT))
    except KeyboardInterrupt as error:
        (folder / EXPORT).unlink(missing_ok=True)
        if saved.failure is not None:
            return saved
        name = signals.by(error).name
        failure = Failure(phase=EXPORTING, message=f"interrupted by {name} in {EXPORTING}", signal=name)
        return recorder.completed(saved, folder, failure=failure)
    return recorder.completed(saved, folder, {"trace": EXPORT})


def _with_ranges(config: RunConfig) -> RunConfig:
    """The same run, whose record says that there were ranges."""
    return config.changed(annotate="on") if config.measurement.annotate == "auto" else config


def _no_report(ended: Ended, folder: Path) -> PerfkitError:
    place = f"the run's record is saved in {folder}"
    if ended.interrupted is not None:
        return InterruptedRunError(ended.interrupted, f" before nsys had written its report; {place}")
    why = ended.problem or f"nsys left no report (its last line of output: {ended.said or 'none'})"
    return UsageError(f"{why}; {place}; {_CHECK}")


def _record(ended: Ended, folder: Path, command: list[str]) -> RunRecord:
    """What the run left. Raises its own error, with its own exit code, where it left nothing."""
    if (folder / record.RECORD_FILE).is_file():
        return record.load(folder)
    if ended.interrupted is not None:
        raise InterruptedRunError(ended.interrupted, " before the run began; nothing was saved")
    if ended.problem:
        raise UsageError(ended.problem)
    if ended.exit_code == UsageError.exit_code and ended.error:
        raise UsageError(ended.error)
    why = ended.error or ended.complaint or ended.said or "it printed nothing"
    raise PerfkitError(
        f"the run under nsys ended with exit code {ended.exit_code} and left no record ({why}); {_CHECK};"
        f" the command was: {shlex.join(command)}"
    )
