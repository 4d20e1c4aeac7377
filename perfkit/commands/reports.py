"""Reports of a run's results; `perfkit run` and `perfkit analyze` show the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from perfkit.commands.console.progress import attributing
from perfkit.commands.inputs import traces
from perfkit.commands.inputs.paths import RunFolder
from perfkit.schema.report import Report
from perfkit.trace.recording import Tool

if TYPE_CHECKING:
    from perfkit.analysis.memory.recorded.account import MemoryAccount
    from perfkit.analysis.time.account import Account
    from perfkit.analysis.time.trace_table import TraceTable, View
    from perfkit.schema.record import RunRecord

Also: TypeAlias = "Callable[[Account, Report], None]"
"""What else is done with a trace's account and report."""


def of_trace(
    path: Path | str,
    view: View | None = None,
    *,
    use_cache: bool = True,
    tables: Iterable[TraceTable] | None = None,
    record: RunRecord | None = None,
    also: Also | None = None,
    memory: Callable[[], MemoryAccount] | None = None,
) -> Report:
    """Where the time of a trace went; `record` is that of the perfkit run that it belongs to, `memory` its memory.

    `tables`: those to make; None: all. `also` is called with the account and the report, once they are there.
    """
    from perfkit.analysis.reports import trace as trace_report

    trace = traces.load(path, use_cache=use_cache)
    with attributing(trace.facts.events):
        view, tables = view or trace_report.View(), trace_report.TABLES if tables is None else tables
        account = trace_report.account_of(trace, view)
        findings = trace_report.OF_FOLDER if Path(path).is_dir() or record else trace_report.FINDINGS
        made = trace_report.report_of(account, view, tables=tables, findings=findings, record=record)
        if memory is not None:
            from perfkit.analysis.reports import layer_memory

            made = made.changed("groups", partial(layer_memory.beside_of, account.partial, view, memory))
        if trace.recording.tool is Tool.NSYS:
            from perfkit.commands.inputs import jobs

            made = jobs.with_processes(made, trace, view)
        _ = made.findings  # compute them here, below the progress line: every table is shown with them
    if also is not None:
        also(account, made)
    return made


def of_run(
    saved: RunRecord, folder: Path, view: View | None = None, *, use_cache: bool = True, also: Also | None = None
) -> Iterator[Report]:
    """Reports of a run's record, its plain steps and its trace, as far as its folder holds them; of a job, its ranks'.

    They come one by one, so the first can be shown before a large trace is read. The record has a table of steps, so
    that of the trace is left out.
    """
    from perfkit.analysis.reports import overhead
    from perfkit.analysis.reports import run as run_report
    from perfkit.schema import record as records

    yield run_report.report(saved)
    for one in records.plains(saved, folder):
        yield overhead.report(saved, one)
    trace = records.artifact(saved, folder, "trace")
    if saved.ranks:
        from perfkit.commands.inputs import jobs

        if files := jobs.traces_of(saved, folder):
            yield jobs.recordings_of(folder, files, view, read=partial(traces.load, use_cache=use_cache))
    elif trace is not None:
        from perfkit.analysis.reports import trace as trace_report
        from perfkit.analysis.time.steps import STEPS
        from perfkit.analysis.time.trace_table import View
        from perfkit.commands.inputs import recorded

        view = at_its_clock(view or View(), saved, folder)
        others = (table for table in trace_report.TABLES if table is not STEPS)
        memory = recorded.of_run(RunFolder(folder, saved), use_cache=use_cache)
        yield of_trace(trace, view, use_cache=use_cache, tables=others, record=saved, also=also, memory=memory)


def at_its_clock(view: View, saved: RunRecord, folder: Path) -> View:
    """The view with the clock that a run's device had."""
    from perfkit.analysis.costs.roofline.clock import clock_mhz
    from perfkit.schema import record as records

    return msgspec.structs.replace(view, mhz=clock_mhz(saved, *records.plains(saved, folder)))
