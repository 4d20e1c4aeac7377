"""Read a snapshot of PyTorch's caching allocator, as `torch.cuda.memory._dump_snapshot` writes it."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from isal import igzip

from perfkit.errors import UsageError
from perfkit.schema.progress import Progress
from perfkit.trace.snapshot import child, unpickle
from perfkit.trace.snapshot.columns import Snapshot
from perfkit.trace.snapshot.events import EventBuilder, NotASnapshotError, StackTable, TextTable
from perfkit.trace.snapshot.state import annotations_of, dictionaries, segments_of, settings_of

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_PROTOCOLS = range(2, 6)
"""Of pickle; torch writes 4, and perfkit too. The others are older or newer ones of Python's."""
_PIECE = 1 << 20
_MAX_RATIO = 200
"""Largest ratio of unpacked to packed bytes; snapshots reach 30, deflate's limit is 1,032."""
_RATIO_FROM = 1 << 28
_MOST_DEVICES = 1_024

_MEMORY, _MEMORY_EACH = 1 << 30, 24
"""Bytes that loading may take, and for each byte of the pickle. The worst of torch's kind, short events without
frames, needs 9."""
_SECONDS, _SECONDS_EACH = 30, 1e-6
"""Processor time that loading may take, and for each byte. Snapshots load at 50 MB/s and more."""
_UNPACKING = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError)


def is_snapshot(head: bytes) -> bool:
    """Whether a file that begins so (a few bytes are enough) may be one: a pickle of protocol 2 to 5, unpacked."""
    return len(head) > 1 and head[0] == 0x80 and head[1] in _PROTOCOLS


def read(path: Path | str, progress: Progress | None = None) -> Snapshot:
    """Read a snapshot: `.pickle`, or that in gzip or in a zip archive of one file.

    Nothing that the file says is called, and what it may take of memory and time is limited by its size. `progress` is
    called with the bytes read so far and all. Raises UsageError, one line, where it is no snapshot.
    """
    path = Path(path)
    name = str(path) if str(path).isprintable() else ascii(str(path))[1:-1]
    try:
        with _unpacked(path, name) as (file, size):
            tell = _teller(progress, size)
            limits = {"memory": _MEMORY + _MEMORY_EACH * size, "seconds": int(_SECONDS + _SECONDS_EACH * size)}
            return child.isolated(lambda told, alone: _read(file, path, told, drains=alone), tell, **limits)
    except (unpickle.RefusedError, NotASnapshotError, child.EndedError) as error:
        raise UsageError(
            f"{name} {error}: it is not a snapshot that torch.cuda.memory wrote, or it is damaged"
        ) from error


def _teller(progress: Progress | None, size: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if progress is not None:
            progress(done, size)

    return tell


@contextmanager
def _unpacked(path: Path, name: str) -> Iterator[tuple[IO[bytes], int]]:
    """The pickle's bytes and how many there are."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(0)
            if head.startswith(_GZIP):
                with igzip.IGzipFile(fileobj=file, mode="rb") as inside:  # type: ignore[no-untyped-call]
                    yield _sized(inside, os.fstat(file.fileno()).st_size, name)
            elif head == _ZIP:
                with zipfile.ZipFile(file) as archive, _only_member(archive, name) as inside:
                    yield _sized(inside, os.fstat(file.fileno()).st_size, name)
            else:
                yield _sized(file, os.fstat(file.fileno()).st_size, name)
    except _UNPACKING as error:
        said = getattr(error, "strerror", None) or "it is damaged: copy it again"
        raise UsageError(f"{name} cannot be read: {said}") from error


@contextmanager
def _only_member(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    members = [member for member in archive.infolist() if not member.is_dir() and "__MACOSX" not in member.filename]
    if any(member.filename.endswith("/data.pkl") for member in members):
        raise UsageError(
            f"{name} was written by torch.save: write it by torch.cuda.memory._dump_snapshot or pickle.dump"
        )
    if len(members) != 1:
        raise UsageError(f"{name} is an archive of {len(members)} files: unpack the snapshot, and name it")
    with archive.open(members[0]) as file:
        yield file


def _sized(file: Any, packed: int, name: str) -> tuple[IO[bytes], int]:
    """The file at its beginning, and its unpacked size. Raises UsageError where it is no pickle, or unpacks too far."""
    head = file.read(2)
    if not is_snapshot(head):
        raise UsageError(f"{name} is no snapshot of PyTorch's allocator: it is no pickle")
    size = len(head)
    while piece := file.read(_PIECE):
        size += len(piece)
        if size > _RATIO_FROM and size > _MAX_RATIO * packed:
            raise UsageError(f"{name} unpacks to more than {_MAX_RATIO} times its size: unpack it, and pass that")
    file.seek(0)
    return file, size


def _read(file: IO[bytes], path: Path, tell: Callable[[int], None], *, drains: bool) -> Snapshot:
    """In the process that loads it."""
    stacks, texts = StackTable(), TextTable()
    events = EventBuilder(stacks, texts)
    try:
        value = unpickle.load(file, (lambda made: events.take(made, mark=True)) if drains else None, tell)
    except unpickle.RefusedError:
        raise
    except MemoryError:
        raise
    except unpickle.ERRORS as error:
        raise NotASnapshotError("is cut off or damaged") from error
    return _assembled(value, path, events, stacks, texts)


def _assembled(value: Any, path: Path, events: EventBuilder, stacks: StackTable, texts: TextTable) -> Snapshot:
    if type(value) is list:  # of torch.cuda.memory_snapshot(), or before 2.0
        value = {"segments": value}
    if type(value) is not dict or not ("segments" in value or "device_traces" in value):
        raise NotASnapshotError("holds something else")
    traces = value.get("device_traces") or []
    if type(traces) not in (list, tuple) or len(traces) > _MOST_DEVICES:
        raise NotASnapshotError("has traces that are not what torch writes")
    lists = [dictionaries(trace, "traces") for trace in traces]
    rest = [event for trace in lists for event in trace]
    taken = events.count
    if any(rest[:taken]) or not all(rest[taken:]):  # those that were taken are empty, and come first
        raise NotASnapshotError("has events in an order that torch does not write")
    events.take(rest[taken:])
    columns = events.columns([len(trace) for trace in lists])
    segments, blocks = segments_of(dictionaries(value.get("segments"), "segments"), stacks)
    end = int(columns.time.max(initial=0))
    annotations = annotations_of(dictionaries(value.get("external_annotations"), "annotations"), end)
    return Snapshot(
        path=path,
        events=columns,
        segments=segments,
        blocks=blocks,
        stacks=stacks.stacks(),
        frames=stacks.frames(),
        texts=tuple(texts),
        annotations=annotations,
        has_times=events.has_times,
        settings=settings_of(value.get("allocator_settings")),
    )
