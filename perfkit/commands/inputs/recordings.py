"""Several traces of one job: of its ranks, of the profiler's cycles, or of both; told by names and by first bytes."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from perfkit.commands.inputs.paths import Input, TraceFile
from perfkit.regex import Regex
from perfkit.trace import load as loader

_HEAD_BYTES = 2**18
"""Kineto writes what it knows of the process before the events."""
_GZIP = b"\x1f\x8b"
_RANK = Regex(r"(?:^|[^A-Za-z])(?:rank|tp)[-_. ]?(\d+)(?!\d)", re.IGNORECASE)
_CYCLE = Regex(r"(?:iter(?:ation)?|step|cycle|epoch)s?[-_. ]?\d+", re.IGNORECASE)
_WORKER = Regex(r"(.+)\.\d{10,}\.pt\.trace\.json(?:\.gz)?")
"""As torch.profiler.tensorboard_trace_handler names files: a worker and a time."""
_DISTRIBUTED = Regex(rb'"distributedInfo"\s*:\s*\{')
_MEMBERS = {name: Regex(rb'"%s"\s*:\s*(\d{1,9})\b' % name.encode()) for name in ("rank", "world_size")}


class RecordingFile(msgspec.Struct, frozen=True):
    """A trace beside others."""

    path: Path
    rank: int | None
    """By the file, where it says that there are several, else by its name, or its folder's."""
    world_size: int | None


def in_folder(folder: Path) -> list[RecordingFile]:
    """The traces of a folder, where there are several; of its folders, where it has none itself."""
    for depth in ("", "*/"):
        if files := _traces(folder, depth):
            return [recording_file(path) for path in files] if len(files) > 1 else []
    return []


def _traces(folder: Path, depth: str) -> list[Path]:
    named = loader.traces_in(folder, depth)
    others = {path for name in ("*.json", "*.json.gz") for path in folder.glob(depth + name)} - set(named)
    return sorted({*named, *(path for path in others if b'"traceEvents"' in _head(path))})


def alone_in(folder: Path) -> Path | None:
    """The trace of a folder, or of its folders, where that is the only one and its name says nothing."""
    if loader.traces_in(folder):
        return None
    return next((files[0] for depth in ("", "*/") if (files := _traces(folder, depth))), None)


def of_one_job(inputs: Sequence[Input]) -> list[RecordingFile]:
    """Several files, where they are recordings of one job; else none.

    They are where all have a rank and the ranks differ, or where all are of one worker, by the profiler's names.
    """
    paths = [input_.path for input_ in inputs if isinstance(input_, TraceFile)]
    files = [recording_file(path) for path in paths if isinstance(path, Path) and path.is_file()]
    return files if len(files) == len(inputs) and are_of_one_job(files) else []


def are_of_one_job(files: Sequence[RecordingFile]) -> bool:
    """Whether several files are ranks of one job, or one worker's cycles; what lies in one folder need not be.

    Ranks may have several recordings each, as long as each is of another cycle by its name or its folder's.
    """
    if len(files) < 2:
        return False
    if _has_ranks(files) and max(map(len, _places(files).values())) == 1:
        return True
    workers = {named[1] if (named := _WORKER.fullmatch(file.path.name)) else None for file in files}
    return None not in workers and len(workers) == 1


def twice_there(files: Sequence[RecordingFile]) -> dict[int, list[RecordingFile]]:
    """The files of ranks that have several of one cycle, by rank, where this is all that speaks against one job.

    Names alone may be of jobs of one process each: there have to be other ranks, or files that say that there are.
    """
    every = {file.rank for file in files}
    if not _has_ranks(files) or (len(every) < 2 and all((file.world_size or 1) < 2 for file in files)):
        return {}
    return {rank: several for (rank, _), several in _places(files).items() if rank is not None and len(several) > 1}


def _has_ranks(files: Sequence[RecordingFile]) -> bool:
    return all(file.rank is not None for file in files) and len({file.world_size for file in files} - {None}) < 2


def _places(files: Sequence[RecordingFile]) -> dict[tuple[int | None, str], list[RecordingFile]]:
    """The files of each rank and cycle, by rank."""
    found: dict[tuple[int | None, str], list[RecordingFile]] = {}
    for file in sorted(files, key=lambda file: -1 if file.rank is None else file.rank):
        found.setdefault((file.rank, _cycle(file.path)), []).append(file)
    return found


def _cycle(path: Path) -> str:
    """What the name of a trace or of its folder says of its place in time: `1747000000001`, `iteration_10`."""
    named = _WORKER.fullmatch(path.name)
    time = path.name.removeprefix(named[1]).partition(".pt.")[0] if named else ""
    return time or " ".join(
        match[0] for name in (path.absolute().parent.name, path.name) for match in _CYCLE.finditer(name)
    )


def recording_file(path: Path) -> RecordingFile:
    """What the name and the beginning of a trace say of its place in a job."""
    head = _head(path)
    found = _DISTRIBUTED.search(head)
    members = {name: pattern.search(head, found.end()) if found else None for name, pattern in _MEMBERS.items()}
    rank, world_size = (int(member[1]) if member else None for member in members.values())
    named = _RANK.search(path.name) or _RANK.search(path.absolute().parent.name)
    if named and (world_size or 1) == 1:
        return RecordingFile(path, int(named[1]), None)
    return RecordingFile(path, rank, world_size)


def _head(path: Path) -> bytes:
    """The first bytes of a file, unpacked; none where it cannot be read: the reader will say why."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP)) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""
