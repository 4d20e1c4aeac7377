"""`perfkit run`: measure one configuration, plainly or under a profiler."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from perfkit.analysis import run_report, stopping, trace_report
from perfkit.commands import show
from perfkit.commands.progress import RunProgress
from perfkit.errors import InterruptedRunError, OutOfMemoryError, UsageError
from perfkit.render import files
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from perfkit.trace.load import load

_MANY_PROFILED = 500
"""Profiled steps from which on a warning is due: every operation of each of them goes into the trace."""
_FILES = Parameter(group=Group("Files", sort_key=4))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where results go."""

    traces_dir: Annotated[Path, _FILES] = Path("traces")
    """Folder in which every run gets a folder of its own."""
    folder: Annotated[Path | None, _FILES] = None
    """Exactly this folder for the run, instead of a new one in --traces-dir; must be empty or absent."""
    output: Annotated[Path | None, _FILES] = None
    """Also write the result table here; the extension chooses the format: .csv, .md, .json or .tex."""
    top: Annotated[int, _FILES] = 15
    """Rows shown of each table from a profile; what is left out is summed in one more row."""

    def __post_init__(self) -> None:
        if self.top < 0:
            raise UsageError(f"--top {self.top}: must be 0 or more")


_DEFAULT_CONFIG, _DEFAULT_OPTIONS = RunConfig(), RunOptions()


def execute(
    config: Annotated[RunConfig, Parameter(name="*")] = _DEFAULT_CONFIG,
    options: Annotated[RunOptions, Parameter(name="*")] = _DEFAULT_OPTIONS,
) -> int:
    """Measure one configuration, plainly or under a profiler.

    Examples: perfkit run --model-size medium --pass-type train; perfkit run --model-size small --profiler torch
    """
    if options.output is not None:
        files.check(options.output)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's chatter on stderr; read when torch loads
    from perfkit.measure import runner

    resolved = runner.resolve(config)
    folder = _given_folder(options.folder) if options.folder else _make_folder(options.traces_dir, resolved)
    print(run_report.headline(resolved), file=sys.stderr)
    if resolved.profiler != "none" and resolved.measure_steps > _MANY_PROFILED:
        print(
            f"{resolved.measure_steps} profiled steps: writing the trace takes long; 10 often show it", file=sys.stderr
        )
    try:
        with RunProgress() as progress:
            record = runner.run(resolved, folder, progress, stopping.rule(resolved))
    except UsageError:
        with contextlib.suppress(OSError):
            folder.rmdir()  # nothing was measured, nothing lies in it
        raise
    _show(record, folder, options)
    return _exit_code(record, folder)


def _given_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another --folder") from error
    if occupied:
        raise UsageError(f"{folder}: not empty; choose another --folder")
    return folder


def _make_folder(traces_dir: Path, config: RunConfig) -> Path:
    """`<timestamp>_<size>_<pass>`, with a number after it when two runs start in one second."""
    name = f"{datetime.now():%Y%m%d-%H%M%S}_{config.model_size}_{config.pass_type}"
    for attempt in range(1000):
        folder = traces_dir / (f"{name}_{attempt + 1}" if attempt else name)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise UsageError(f"{traces_dir}: not a folder; choose another --traces-dir") from None
            continue
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; choose another --traces-dir") from error
        return folder
    raise UsageError(f"{traces_dir}: too many runs of one second")


def _show(record: RunRecord, folder: Path, options: RunOptions) -> None:
    reports = [run_report.report(record)]
    if options.output is not None:  # first: whoever reads the tables may stop reading
        files.write(options.output, run_report.result_table([record]), reports[0].summary)
    if "trace" in record.artifacts:
        reports.append(trace_report.report(load(folder / record.artifacts["trace"])))
    show.print_reports(reports, top=options.top)
    print(f"\nsaved in {folder}")


def _exit_code(record: RunRecord, folder: Path) -> int:
    if record.failure is None:
        return 0
    if record.status == "oom":
        hint = " or ".join(record.failure.suggestions)
        advice = f"; try {hint}" if hint else ""
        raise OutOfMemoryError(f"{record.failure.message}{advice} (record saved in {folder})")
    done = f"{len(record.steps)} of {record.config.most_steps}"
    raise InterruptedRunError(f"{record.failure.message}; {done} measured steps saved in {folder}")
