"""`--profiler nsys`: the same run again, in a separate process under `nsys profile`, and its report."""

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
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.record import Failure, RunRecord

REPORT, EXPORT = "report.nsys-rep", "report.sqlite"
EXPORTING = "exporting the report"
"""The phase of a run after nsys has ended."""
_PATIENCE_WITH_A_SCRIPT_S = 1800.0
"""As of nsys_process: a script may wait for its data."""
_CHECK = "run scripts/install-nsys --check to see whether nsys works here"


@dataclass(frozen=True, slots=True)
class Tools:
    """The external tools of a run under nsys; tests replace them."""

    record: Callable[..., Ended] = nsys_process.run
    """Runs a command line and passes its lines on: called as nsys_process.run is."""
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
    """Run a configuration in `folder`, which is empty, under nsys; `tell` gets a line on each event.

    The process under nsys writes the record. perfkit adds the report, its export and the files of `beside`, which is
    called after a successful run, to the record as soon as each exists: however this process ends, the record names the
    files beside it. Returns the record with any status; there is a report unless the run failed before its measured
    steps. Raises PerfkitError if there is no record or, after a successful run, no report.
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


def run_script(
    arguments: Sequence[str],
    nsys: Nsys,
    device: str,
    folder: Path,
    tell: Callable[[str], None],
    say: Callable[[str], None],
    tools: Tools = Tools(),
) -> tuple[int, RunRecord | None]:
    """Run `perfkit run` of a script, by its arguments, under nsys, with its record and report in `folder`.

    `tell` gets each line of standard error, `say` of standard output, where nsys's own are left out. Returns the
    script's exit code and the record; None where no step was measured, of which the inner run has said why. Raises
    PerfkitError as `run`.
    """
    command = nsys_program.profile_command(nsys, device, str(folder / REPORT))
    command += [sys.executable, "-m", "perfkit.run", *arguments]
    tell(f"under nsys {nsys.version_text}".rstrip())
    with signals.held():
        ended = tools.record(command, tell, hear_output=say, patience_s=_PATIENCE_WITH_A_SCRIPT_S)
        if (folder / RECORD_FILE).is_file():
            saved = record.load(folder)
            if (folder / REPORT).is_file() and not ended.problem:
                saved = recorder.completed(saved, folder, {"nsys_report": REPORT})
                tell(EXPORTING)
                saved = _exported(saved, folder, tools)
            elif saved.status == "ok":
                raise _no_report(ended, folder)
            return ended.exit_code or 0, saved
        (folder / REPORT).unlink(missing_ok=True)
        if ended.interrupted is not None or ended.problem or ended.error or ended.lost:
            _record(ended, folder, command)
    return ended.exit_code or 0, None


def _exported(saved: RunRecord, folder: Path, tools: Tools) -> RunRecord:
    """Export the report and return the record with it; a signal may interrupt the export."""
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
    """The configuration with annotate set to on if it was auto, so that the record shows the ranges."""
    return config.changed(annotate="on") if config.measurement.annotate == "auto" else config


def _no_report(ended: Ended, folder: Path) -> PerfkitError:
    place = f"the run's record is saved in {folder}"
    if ended.interrupted is not None:
        return InterruptedRunError(ended.interrupted, f" before nsys had written its report; {place}")
    last = ended.lost or f"its last line of output: {ended.said or 'none'}"
    why = ended.problem or f"nsys left no report ({last})"
    return UsageError(f"{why}; {place}; {_CHECK}")


def _record(ended: Ended, folder: Path, command: list[str]) -> RunRecord:
    """The record that the run saved. If there is none, raises the run's own error with its exit code."""
    if (folder / RECORD_FILE).is_file():
        return record.load(folder)
    if ended.interrupted is not None:
        raise InterruptedRunError(ended.interrupted, " before the run began; nothing was saved")
    if ended.problem:
        raise UsageError(ended.problem)
    if ended.exit_code == UsageError.exit_code and ended.error:
        raise UsageError(ended.error)
    why = ended.error or ended.lost or ended.complaint or ended.said or "it printed nothing"
    raise PerfkitError(
        f"the run under nsys ended with exit code {ended.exit_code} and left no record ({why}); {_CHECK};"
        f" the command was: {shlex.join(command)}"
    )
