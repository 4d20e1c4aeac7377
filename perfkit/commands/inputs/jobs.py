"""Traces of one job, read one by one: each leaves what is small, and goes. Or the processes of one recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from perfkit.analysis.reports import recordings as recordings_report
from perfkit.analysis.time.trace_table import View
from perfkit.commands.inputs import traces
from perfkit.commands.inputs.recordings import RecordingFile, are_of_one_job, twice_there
from perfkit.errors import UsageError
from perfkit.schema import record as records
from perfkit.schema.own_files import RECORD_FILE, inside
from perfkit.schema.record import RunRecord
from perfkit.schema.report import Report
from perfkit.trace.columns import Trace

Read: TypeAlias = Callable[[Path | str], Trace]
"""Reads the trace of a path."""


def traces_of(saved: RunRecord, folder: Path) -> list[RecordingFile]:
    """The traces of a job of several ranks (`--parallel`), by rank; none of a run of one process."""
    if not saved.ranks:
        return []
    first = records.artifact(saved, folder, "trace")
    named = [(one.rank, one.artifacts["trace"]) for one in saved.ranks if "trace" in one.artifacts]
    others = [(rank, inside(folder, name, f"{folder / RECORD_FILE}: rank {rank}")) for rank, name in named]
    every = [*([(0, first)] if first is not None else []), *others]
    return [RecordingFile(path, rank, 1 + len(saved.ranks)) for rank, path in every]


def recordings_of(
    folder: Path | None,
    files: Sequence[RecordingFile],
    view: View | None = None,
    *,
    read: Read = traces.load,
) -> Report:
    """A row for each trace, by its place in the folder; names what cannot be read, and copies of a rank's recording,
    which are left out. Raises UsageError for none."""
    rows, unread, sides, kept = [], [], [], []
    names = {file: str(file.path.relative_to(folder) if folder else file.path) for file in files}
    first: dict[recordings_report.Row, str] = {}
    world = max((file.world_size or 0 for file in files), default=0)
    for file in files:
        try:
            trace = read(file.path)
        except UsageError as error:
            unread.append(str(error))
            continue
        rank = trace.recording.rank if file.rank is None else file.rank
        world = max(world, trace.recording.world_size or 0)
        row, side = recordings_report.read(trace, names[file], rank, view)
        same = first.setdefault(replace(row, recording=""), names[file])
        if rank is not None and same != names[file]:
            unread.append(f"{names[file]}, the same recording of rank {rank} as {same}: one of the two can go")
            continue
        kept.append(file)
        rows.append(row)
        sides += [side] if side is not None else []
    if not rows:
        raise UsageError(unread[0])
    twice = {rank: [names[file] for file in several] for rank, several in twice_there(kept).items()}
    return recordings_report.report(
        str(folder or "recordings"), rows, unread, one_job=len(kept) == 1 or are_of_one_job(kept), sides=sides,
        world=world, twice=twice,
    )  # fmt: skip


def with_processes(made: Report, trace: Trace, view: View | None = None) -> Report:
    """A trace's report, and what its processes say together where several of one recording used devices."""
    together = recordings_report.of_processes(trace, view)
    return made if together is None else made.plus(together.summary, together.tables, together.findings)
