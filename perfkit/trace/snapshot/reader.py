"""Read a snapshot of PyTorch's caching allocator, as `torch.cuda.memory._dump_snapshot` of 2.1 and later writes it."""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from perfkit.errors import UsageError
from perfkit.schema.printable import printable
from perfkit.schema.progress import Progress
from perfkit.trace import foreign
from perfkit.trace.byte_stream import StreamFacts, peeked, unpacked
from perfkit.trace.columns import MAX_NS, MISSING
from perfkit.trace.load import opened, shown
from perfkit.trace.snapshot.annotations import annotations_of, settings_of
from perfkit.trace.snapshot.columns import Action, AllocatorEvents, Blocks, BlockState, Snapshot
from perfkit.trace.snapshot.events import EventRows
from perfkit.trace.snapshot.interned import StackNumbers, Texts
from perfkit.trace.snapshot.opcodes import NotPlainError, PlainPickle
from perfkit.trace.snapshot.segments import segments_and_blocks
from perfkit.trace.snapshot.values import ImplausibleError, items, members

_UNPICKLING = (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What the unpickler raises for opcodes that do not fit together."""
_INSTEAD = "; write it again with torch.cuda.memory._dump_snapshot"


def read(path: Path | str, progress: Progress | None = None) -> Snapshot:
    """Read a snapshot: a pickle, plain, gzipped or alone in a zip archive. No code in it can run.

    `progress` is called with the bytes read so far and the file's size. Raises UsageError, in one line, where the file
    is none, is damaged, or holds what no snapshot does.
    """
    path = Path(path)
    name = shown(path)
    with opened(path) as file:
        try:
            return read_stream(file, path, name, size=os.fstat(file.fileno()).st_size or None, progress=progress)
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {error.strerror}") from error


def read_stream(
    file: IO[bytes], path: Path, name: str, *, size: int | None = None, progress: Progress | None = None
) -> Snapshot:
    """Like `read`, from an open file that messages call `name`."""
    facts = StreamFacts()
    stacks, texts = StackNumbers(), Texts()
    rows = EventRows(stacks, texts)
    try:
        _refuse_checkpoint(file, name)
        pieces = unpacked(file, name, facts, size=size, progress=progress, takes=foreign.is_pickle)
        with _no_collection():
            found = _loaded(pieces, rows)
            if facts.repairs:  # the stream's end, with its checksum, has been read: STOP is the last byte
                raise NotPlainError(next(iter(facts.repairs)))
            return _snapshot(path, found, rows, stacks, texts)
    except (NotPlainError, ImplausibleError) as error:
        raise UsageError(
            f"{name} is not a snapshot of PyTorch's allocator, or is damaged: {error}{_INSTEAD}"
        ) from error


def _refuse_checkpoint(file: IO[bytes], name: str) -> None:
    """Raise UsageError for what torch.save wrote, though it may hold a snapshot."""
    if file.seekable() and foreign.is_checkpoint(peeked(file, foreign.HEAD)):
        raise UsageError(
            f"{name} was written by torch.save, whose files are not read: write a snapshot with pickle.dump, as "
            "torch.cuda.memory._dump_snapshot does"
        )


def _loaded(pieces: Iterator[bytes], rows: EventRows) -> dict[Any, Any]:
    try:
        found = _Unpickler(PlainPickle(pieces), rows).load()
    except (NotPlainError, ImplausibleError):
        raise
    except _UNPICKLING as error:
        raise NotPlainError("its opcodes do not fit together") from error
    if type(found) is list:  # torch.cuda.memory_snapshot() alone
        return {"segments": found}
    if not members(found, "what is pickled").keys() & {"segments", "device_traces"}:
        raise ImplausibleError("it has no segments and no device_traces")
    return found


class _Unpickler(pickle.Unpickler):
    """Makes plain data only. PlainPickle lets nothing else through; this refuses it once more."""

    def __init__(self, file: PlainPickle, rows: EventRows) -> None:
        super().__init__(file)
        self._rows = rows

    def find_class(self, module: str, name: str, /) -> NoReturn:
        """No class and no function."""
        raise NotPlainError(f"it names {printable(module)}.{printable(name)}, which no snapshot does")

    def persistent_load(self, pid: Any) -> list[Any] | None:
        """A tuple, for a list in its place, or a list that has just been added to, which PlainPickle hands over.

        The file has no persistent ids.
        """
        if type(pid) is tuple:
            return list(pid)
        if type(pid) is list and pid and type(pid[0]) is dict and "action" in pid[0]:
            self._rows.take(pid)
        return None


def _snapshot(path: Path, found: dict[Any, Any], rows: EventRows, stacks: StackNumbers, texts: Texts) -> Snapshot:
    events = rows.columns(items(found.get("device_traces", []), "device_traces"))
    segments, blocks = segments_and_blocks(items(found.get("segments", []), "segments"), stacks)
    frames, distinct = stacks.table()
    times = events.time if rows.has_times else events.time[:0]
    span = int(times.min(initial=MAX_NS)), int(times.max(initial=0))
    return Snapshot(
        path=path,
        events=events,
        segments=segments,
        blocks=blocks,
        stacks=distinct,
        frames=frames,
        texts=texts.all(),
        annotations=annotations_of(found.get("external_annotations", []), *span),
        has_times=rows.has_times,
        settings=settings_of(found.get("allocator_settings", {})),
        entries_lost=_are_entries_lost(events, blocks),
    )


def _are_entries_lost(events: AllocatorEvents, blocks: Blocks) -> bool:
    """Whether a block in use has the stack of its allocation, which only a recording gives it, but no such event.

    So the ring buffer was full, or was emptied. How many entries it has is not in the file.
    """
    recorded = (blocks.state != BlockState.INACTIVE) & (blocks.stack != MISSING)
    allocated = events.address[events.action == Action.ALLOC]
    return bool(len(events)) and not np.isin(blocks.address[recorded], allocated).all()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Millions of objects are made and none is garbage: looking for it would take most of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
