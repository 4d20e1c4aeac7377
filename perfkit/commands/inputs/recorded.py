"""Recordings of memory: what a path holds of one, read and told by kind. Shows progress on stderr."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.memory import sizes
from perfkit.analysis.memory.lifetimes import Lifetimes
from perfkit.analysis.memory.recorded import account as accounts
from perfkit.analysis.memory.recorded import snapshot as from_snapshot
from perfkit.analysis.memory.recorded import trace as from_trace
from perfkit.analysis.memory.recorded.account import MemoryAccount, no_reason
from perfkit.commands.console import progress
from perfkit.commands.inputs import traces
from perfkit.commands.inputs.paths import Input, RecordFile, RunFolder, SnapshotFile, TraceFile
from perfkit.errors import UsageError
from perfkit.schema import record as records
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import notes as memory_notes
from perfkit.schema.memory.notes import MemoryNotes
from perfkit.schema.parts.workloads import Transformer
from perfkit.trace.details import read_details
from perfkit.trace.snapshot.columns import Snapshot
from perfkit.trace.snapshot.reader import read

_RECORD = "record it with perfkit run --profiler memory"


def has_recording(input_: Input) -> bool:
    """Whether a path is a recording of memory, or a run that has one."""
    match input_:
        case SnapshotFile():
            return True
        case RunFolder(_, saved):
            return "memory" in saved.artifacts
        case _:
            return False


def of_run(run: RunFolder, *, use_cache: bool = True) -> Callable[[], MemoryAccount] | None:
    """What reads the memory that a run recorded, once; None where it recorded none."""
    return cache(lambda: account_of(run, use_cache=use_cache)) if has_recording(run) else None


def account_of(input_: Input, *, use_cache: bool = True) -> MemoryAccount:
    """The memory of a snapshot, of a run that recorded it, or of a trace with memory events, at its peak.

    Raises UsageError where there is none.
    """
    match input_:
        case SnapshotFile(path):
            return _account(*_of_snapshot(path, None), None, input_)
        case TraceFile(path):
            return _account(_of_trace(path, None, use_cache=use_cache), None, None, input_)
        case RunFolder(folder, saved):
            noted = records.artifact(saved, folder, "memory")
            notes = None if noted is None else memory_notes.load(noted)
            snapshot, trace = (records.artifact(saved, folder, kind) for kind in ("snapshot", "trace"))
            if snapshot is not None:
                return _account(*_of_snapshot(snapshot, notes), notes, input_)
            if trace is not None:
                return _account(_of_trace(trace, notes, use_cache=use_cache), None, notes, input_)
            raise UsageError(f"{folder} has no recording of memory: {_RECORD}")
        case RecordFile(path):
            raise UsageError(f"{path} is the record of a run alone: name its folder, {path.parent}")
        case _:
            raise UsageError(f"{input_.path} holds several runs: name one of them")


def config_of(input_: Input) -> RunConfig | None:
    """Of the run that recorded it; None for what no run of perfkit's own Transformer did."""
    is_own = isinstance(input_, RunFolder) and isinstance(input_.record.config.workload, Transformer)
    return input_.record.config if isinstance(input_, RunFolder) and is_own else None


def _of_snapshot(path: Path, notes: MemoryNotes | None) -> tuple[Lifetimes, Snapshot]:
    with progress.reading(path.name) as advance:
        snapshot = read(path, progress=advance)
    return from_snapshot.lifetimes(snapshot, notes), snapshot


def _of_trace(path: Path | str, notes: MemoryNotes | None, *, use_cache: bool) -> Lifetimes:
    trace = traces.load(path, use_cache=use_cache)
    with progress.reading(Path(trace.source).name) as advance:
        events = read_details(trace, advance).memory
    if not len(events):
        raise UsageError(f"{trace.source} has no allocations in it: record it with profile_memory=True, or {_RECORD}")
    return from_trace.lifetimes(trace, attribute(trace), events, notes)


def _account(lives: Lifetimes, snapshot: Snapshot | None, notes: MemoryNotes | None, input_: Input) -> MemoryAccount:
    """With what explains sizes: the shapes of perfkit's own model, else those that the run's hooks saw."""
    config = config_of(input_)
    if config is not None:
        why = sizes.of_config(config, lives)
    else:
        why = no_reason if notes is None else sizes.of_notes(notes, lives)
    is_modelled = config is not None and config.step.compile == "off"
    predicted = memory_model.estimate(config) if config is not None and is_modelled else None
    return MemoryAccount(lives, accounts.the_peak(lives), snapshot, notes, why, predicted)
