"""What there is to say of a path: reports for a terminal and a file, and a part of a page. One account stands behind
both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from perfkit.analysis.costs.roofline.clock import clock_mhz
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.reports import comparison as comparison_report
from perfkit.analysis.reports import layer_memory, overhead, recorded_memory, repeats, two_memories
from perfkit.analysis.reports import run as run_report
from perfkit.analysis.reports import sweep as sweep_report
from perfkit.analysis.reports import trace as trace_report
from perfkit.analysis.reports import two_traces as trace_comparison
from perfkit.analysis.reports.page import live_memory, runs
from perfkit.analysis.reports.page import trace as trace_page
from perfkit.analysis.reports.trace import View
from perfkit.analysis.runs import comparison
from perfkit.analysis.time.steps import STEPS
from perfkit.commands.console.progress import attributing
from perfkit.commands.inputs import recorded, traces
from perfkit.commands.inputs.jobs import Read, recordings_of, traces_of, with_processes
from perfkit.commands.inputs.paths import (
    Input,
    RecordFile,
    RunFolder,
    RunsFolder,
    SnapshotFile,
    SweepResults,
    TraceFile,
    check_apart,
    check_not_the_same,
    shown,
    side,
)
from perfkit.commands.inputs.recordings import RecordingFile, in_folder
from perfkit.errors import UsageError
from perfkit.schema import record as records
from perfkit.schema.page.sections import Part
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.trace.columns import Trace


@dataclass(frozen=True, slots=True)
class Source:
    """What is said of one path, or of two that are compared."""

    name: str
    """The path, for the command that shows it again; empty where there is none."""
    reports: tuple[Report, ...]
    """As `perfkit analyze` shows them, one after the other."""
    part: Callable[[], Part]
    """Makes its part of a page."""


def source_of(input_: Input, name: str, view: View | None = None, *, read: Read = traces.load) -> Source:
    """What a path stands for, read. `view` is of a trace. Raises UsageError where it cannot be read."""
    match shown(input_):
        case TraceFile(Path() as folder) if folder.is_dir() and (files := in_folder(folder)):
            return of_recordings(folder, files, name, read=read)
        case TraceFile(path):
            return of_trace(read(path), name, view)
        case SnapshotFile() as snapshot:
            return of_memory(recorded.account_of(snapshot), name)
        case RecordFile(record=saved):
            return of_record(saved, name)
        case RunFolder(folder, saved):
            return _of_run(saved, folder, name, view or View(), read)
        case RunsFolder(folder, saved_runs) if len(saved_runs) == 1:  # of plain steps, beside the trace of the run
            return of_trace(read(folder), name, view)
        case RunsFolder(folder, saved_runs) as several:
            if len({saved.config for _, saved in saved_runs}) > 1:
                raise UsageError(
                    f"{folder} holds runs of several configurations: name one run, or the sweep's results (.csv)"
                )
            report = repeats.report(side(several, ""))
            return Source(name, (report,), lambda: runs.processes(report, saved_runs[0][1], name))
        case SweepResults(rows=rows):
            varied = sweep_report.varied(rows)
            report = sweep_report.report(rows, varied)
            return Source(name, (report,), lambda: runs.sweep(report, rows, varied, name))


def of_recordings(
    folder: Path | None, files: Sequence[RecordingFile], name: str, *, read: Read = traces.load
) -> Source:
    """Several traces, a row each: ranks and cycles of one job, or what else a folder holds."""
    report = recordings_of(folder, files, read=read)
    return Source(name, (report,), lambda: runs.recordings(report, name))


def of_record(saved: RunRecord, name: str) -> Source:
    """A run without the files of its folder."""
    return Source(name, (run_report.report(saved),), lambda: runs.run(saved, source=name))


def of_memory(account: MemoryAccount, name: str) -> Source:
    """A recording of memory."""
    report = recorded_memory.report(account, Path(name).name)
    return Source(name, (report,), lambda: live_memory.part(account, report, name))


def of_trace(
    trace: Trace,
    name: str,
    view: View | None = None,
    record: RunRecord | None = None,
    memory: Callable[[], MemoryAccount] | None = None,
) -> Source:
    """A trace, and of the run that it belongs to, if there is one, the record, which has the table of steps then, and
    what it recorded of memory.
    """
    view = view or View()
    tables = [table for table in trace_report.TABLES if record is None or table is not STEPS]
    with attributing(trace.facts.events):
        account = trace_report.account_of(trace, view)
        findings = trace_report.OF_FOLDER if Path(name).is_dir() or record else trace_report.FINDINGS
        report = trace_report.report_of(account, view, tables=tables, findings=findings, record=record)
        if memory is not None:
            report = report.changed("groups", partial(layer_memory.beside_of, account.partial, view, memory))
        report = with_processes(report, trace, view)

    def part() -> Part:
        with attributing(trace.facts.events):
            return replace(trace_page.part(account, view, report, record=record), source=name)

    return Source(name, (report,), part)


def _of_run(saved: RunRecord, folder: Path, name: str, view: View, read: Read) -> Source:
    """A run with its plain steps and its trace, as far as its folder holds them; of a job, with those of its ranks."""
    if files := traces_of(saved, folder):
        job = recordings_of(folder, files, view, read=read)
        reports = (run_report.report(saved), job)
        return Source(name, reports, lambda: runs.run(saved, runs.recordings(job, name), source=name))
    trace, plains = records.artifact(saved, folder, "trace"), records.plains(saved, folder)
    more = tuple(overhead.report(saved, one) for one in plains)
    memory = recorded.of_run(RunFolder(folder, saved))
    traced = None
    if trace is not None:
        at_clock = msgspec.structs.replace(view, mhz=clock_mhz(saved, *plains))
        traced = of_trace(read(trace), str(trace), at_clock, saved, memory)
    made = (run_report.report(saved), *more, *(traced.reports if traced else ()))

    def part() -> Part:
        held = None
        if memory is not None:
            report = recorded_memory.report(memory(), name, recorded.config_of(RunFolder(folder, saved)))
            held = live_memory.part(memory(), report, name)
        return runs.run(saved, traced.part() if traced else None, more, name, held)

    return Source(name, made, part)


def compared(
    a: Input, b: Input, *, margin: float = 0.01, force: bool = False, read: Read = traces.load
) -> Source | None:
    """B against A: runs with a verdict, two traces side by side; None for a trace and a run.

    margin and force are as in `perfkit compare`. Raises UsageError for runs that cannot be compared.
    """
    if isinstance(a, TraceFile) and isinstance(b, TraceFile):
        before, after = (read(one.path) for one in (a, b))
        with attributing(before.facts.events + after.facts.events):
            report = trace_comparison.report(before, after, None, margin)
    elif recorded.has_recording(a) and recorded.has_recording(b):
        check_not_the_same(a, b)
        report = two_memories.report(recorded.account_of(a), recorded.account_of(b), f"{a.path} and {b.path}")
    elif isinstance(a, TraceFile | SnapshotFile) or isinstance(b, TraceFile | SnapshotFile):
        return None
    else:
        check_apart(a, b)
        report = comparison_report.report(comparison.compare(side(a, "A"), side(b, "B"), margin=margin, force=force))
    return Source("", (report,), lambda: runs.comparison(report))
