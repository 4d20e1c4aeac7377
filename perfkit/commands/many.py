"""Hundreds of traces as one: each file a task, here or in other processes, their sums added up in a tree."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from perfkit.analysis.reports.many import files as files_report
from perfkit.analysis.reports.many import kept
from perfkit.analysis.reports.many.folded import Folded, failed, folded, joined
from perfkit.analysis.time.trace_table import View
from perfkit.commands.console import progress
from perfkit.commands.inputs import addresses, recordings, traces
from perfkit.commands.inputs.addresses import FileAt, How
from perfkit.errors import PerfkitError, UsageError
from perfkit.launch import tree
from perfkit.schema.report import Report

_KEPT = ".folded"


def report(names: Sequence[str], view: View, how: How) -> Report:
    """All files as one report. Raises UsageError where there are none, and where none could be read."""
    files = addresses.files_at(names)
    if how.resume is not None:
        try:
            how.resume.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--resume {how.resume}: {error.strerror}: name a folder") from error
    folder = None if how.resume is None else how.resume.absolute()
    with progress.StageProgress() as shown:
        shown.stage("reading files", len(files))
        leaf = partial(of_file, view=view, folder=folder)
        work = tree.Tree(leaf=leaf, lost=lost, join=joined, done=shown.advance)
        if how.scheduler is None and how.workers == 1:
            whole = tree.fold_here(files, work)
        else:
            flag = "--workers" if how.scheduler is None else "--scheduler"
            workers = min(how.workers, len(files))
            with tree.cluster(workers, how.scheduler, flag) as client:
                whole = tree.fold_by(client, files, work)
    return files_report.report(names[0] if len(names) == 1 else f"{len(files)} files", whole, view)


def lost(file: FileAt, why: str) -> Folded:
    """What stands for a file that no worker survived."""
    return failed(file.name, why, file.size)


def of_file(file: FileAt, *, view: View, folder: Path | None = None) -> Folded:
    """What is left of one file, or why it could not be read; from the folder, where that has it already."""
    place = None if folder is None else folder / f"{_key(file, view)}{_KEPT}"
    if place is not None and (before := _kept(place)) is not None:
        return before
    try:
        with addresses.fetched(file) as path:
            trace = traces.load(path, use_cache=False, reading=lambda _: nullcontext(_nothing))
            rank = recordings.recording_file(path).rank
        made = folded(replace(trace, source=file.name), view, size=file.size, rank=rank)
    except PerfkitError as error:
        return failed(file.name, str(error), file.size)
    del trace
    gc.collect()  # an account and its partial hold each other, and the trace: it goes now, before the next one is read
    if place is not None:
        _keep(place, kept.encode(made))
    return made


def _nothing(*_: object) -> None:
    """No progress is shown of a single file."""


def _key(file: FileAt, view: View) -> str:
    """Of a file as it is now, and of what of it is counted."""
    said = (kept.VERSION, file.name, file.token, view.selection, view.modules)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:40]


def _kept(place: Path) -> Folded | None:
    try:
        return kept.decode(place.read_bytes())
    except OSError:
        return None


def _keep(place: Path, data: bytes) -> None:
    """Write all or nothing. A full disk loses what would have been kept, not the result."""
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    with suppress(OSError):
        draft.write_bytes(data)
        draft.replace(place)
