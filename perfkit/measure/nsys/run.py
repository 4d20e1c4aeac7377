"""`--profiler nsys`: the same run once more, as a process of its own under `nsys profile`, and its report."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perfkit import signals
from perfkit.errors import InterruptedRunError, PerfkitError, UsageError
from perfkit.launch import nsys_export
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
_CHECK = "scripts/install-nsys --check says whether nsys works here"


def prepare(
    find: Callable[[], Nsys | None] = nsys_program.find,
    nvtx_version: Callable[[], str | None] = nsys_program.nvtx_version,
) -> Nsys | None:
    """The nsys to use; None in the process that perfkit has started under one, which is to measure.

    Raises UsageError where there is no nsys, or where it would record no ranges.
    """
    if nsys_process.MARK in os.environ:
        return None
    if nsys_program.under_nsys():
        raise UsageError("--profiler nsys starts nsys by itself: drop it here, or start without `nsys profile`")
    if os.environ.get("NVTX_DISABLE"):
        raise UsageError("--profiler nsys: NVTX_DISABLE is set, so that there are no ranges to record: unset it")
    nsys = find()
    if nsys is None:
        raise UsageError(f"--profiler nsys: there is no nsys on PATH; {nsys_program.HOW_TO_GET_IT}")
    if problem := nsys_program.pair_problem(nsys, nvtx_version()):
        raise UsageError(f"--profiler nsys: {problem}")
    return nsys


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

    The process under nsys writes its record; here it is written once more, with the report and its export, and what
    `beside`, which is called after a run that went well, leaves in the folder. Returns the record, whatever its status;
    the report and its export lie beside it, unless the run failed before its measured steps. Raises PerfkitError where
    there is no record or, after a run that went well, no report.
    """
    command = nsys_program.profile_command(nsys, device, str(folder / REPORT))
    command += [sys.executable, "-m", "perfkit.run", *_with_ranges(config).flags(), "--folder", str(folder)]
    tell(f"under nsys {nsys.version_text}".rstrip())
    with signals.held():
        ended = tools.record(command, tell)
        saved = _record(ended, folder, command)
        if not (folder / REPORT).is_file() or ended.problem:
            if saved.status == "ok":
                raise _no_report(ended, folder)
            return saved
        tell(EXPORTING)
        saved = _exported(saved, folder, tools)
        try:
            if saved.status == "ok":
                with signals.raised():
                    saved = dataclasses.replace(saved, artifacts=saved.artifacts | beside())
        finally:
            record.save(saved, folder)
    return saved


def _exported(saved: RunRecord, folder: Path, tools: Tools) -> RunRecord:
    """The record with its report and the report's export, which a signal may cut short."""
    artifacts = {"nsys_report": REPORT}
    try:
        with signals.raised():
            tools.export(folder / REPORT, folder / EXPORT, str(folder / REPORT))
        artifacts["trace"] = EXPORT
    except KeyboardInterrupt as error:
        (folder / EXPORT).unlink(missing_ok=True)
        if saved.failure is None:
            name = signals.by(error).name
            failure = Failure(phase=EXPORTING, message=f"interrupted by {name} in {EXPORTING}", signal=name)
            saved = dataclasses.replace(saved, status="interrupted", failure=failure)
    return dataclasses.replace(saved, artifacts=artifacts)


def _with_ranges(config: RunConfig) -> RunConfig:
    """The same run, whose record says that there were ranges."""
    return config.changed(annotate="on") if config.measurement.annotate == "auto" else config


def _no_report(ended: Ended, folder: Path) -> PerfkitError:
    place = f"the run's record is saved in {folder}"
    if ended.interrupted is not None:
        return InterruptedRunError(ended.interrupted, f" before nsys had written its report; {place}")
    why = ended.problem or f"nsys left no report (its last words: {ended.said or 'none'})"
    return UsageError(f"{why}; {place}; {_CHECK}")


def _record(ended: Ended, folder: Path, command: list[str]) -> RunRecord:
    """What the run left. Raises its own error, with its own exit code, where it left nothing."""
    if (folder / record.RECORD_FILE).is_file():
        return record.load(folder)
    if ended.interrupted is not None:
        raise InterruptedRunError(ended.interrupted, " before the run began; nothing is saved")
    if ended.problem:
        raise UsageError(ended.problem)
    if ended.exit_code == UsageError.exit_code and ended.error:
        raise UsageError(ended.error)
    why = ended.error or ended.complaint or ended.said or "it said nothing"
    raise PerfkitError(
        f"the run under nsys ended with exit code {ended.exit_code} and left no record ({why}); {_CHECK};"
        f" what was run: {shlex.join(command)}"
    )
