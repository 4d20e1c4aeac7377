"""A sweep's results file: one header and one line per point, each on the disk before the next point begins."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.schema import results_file, sweep
from perfkit.schema.results_file import Results
from perfkit.schema.sweep import SweepRow

_LONGER_THAN_A_HEADER = 1 << 16


class Journal:
    """An open results file. Opening it keeps its content, except a line that a crash cut short.

    Columns that this version does not know stay; columns that only this version has come last.
    """

    def __init__(self, path: Path, *, keep: Callable[[SweepRow], bool] = lambda _: True, anew: bool = False) -> None:
        """Open or create the file. Rows that `keep` rejects are removed; with `anew`, all content is.

        Raises UsageError if the file cannot be written, is in use, or cannot be parsed (it is from a later version, of
        another kind, or damaged); the file is then unchanged.
        """
        self.path = path
        self._size = 0
        """Size of the file in bytes after our own last write."""
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        with ExitStack() as opened:
            opened.push(self)
            self._lock()
            if not self._is_named():  # another sweep has just replaced the file
                raise self._in_use()
            present = self._file.read()
            results = Results() if anew else self._understood(present)
            self.torn = results.torn > 0
            """Whether the last line was cut short and has been dropped."""
            kept = results.only(keep).completed()
            self.columns, self.rows = kept.columns, kept.rows
            with signals.held():
                self._make(kept.text.encode(), present)
            opened.pop_all()  # success: the file stays open

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: SweepRow) -> None:
        """Write one line and wait until it is on the disk.

        Raises UsageError if the line cannot be written, or if another program has changed the file meanwhile.
        """
        size = self._file.seek(0, os.SEEK_END)
        if size != self._size or not self._is_named():
            raise UsageError(
                f"{self.path}: another program has changed or replaced it meanwhile:"
                f" check its results ({len(self.rows)} so far), and continue with --resume"
            )
        try:
            self._write(sweep.to_line(row, self.columns).encode())
        except OSError as error:
            self._file.truncate(size)  # leave no partial line
            raise UsageError(
                f"{self.path}: cannot be written: {error.strerror}; results saved in it: {len(self.rows)};"
                " free some space and continue with --resume"
            ) from error
        self._size = self._file.tell()
        self.rows.append(row)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._in_use() from error

    def _understood(self, data: bytes) -> Results:
        try:
            return results_file.read(self.path, data)
        except UsageError as error:
            raise UsageError(f"{error}, or choose another --output") from error

    def _in_use(self) -> UsageError:
        return UsageError(f"{self.path}: another perfkit is writing to it; choose another --output")

    def _is_named(self) -> bool:
        """Whether this name still refers to the open file."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _make(self, wanted: bytes, present: bytes) -> None:
        """Set the file's content through a temporary sibling, so that a crash leaves the old or the new content."""
        self._size = len(wanted)
        if present.startswith(wanted):
            self._file.truncate(self._size)
            return
        target = self.path.resolve()  # a symbolic link to the file stays a link
        draft = target.with_name(f".{target.name}.part")
        try:
            draft.unlink(missing_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            replacement: BinaryIO = os.fdopen(os.open(draft, flags, 0o666), "r+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        self._file, old = replacement, self._file
        with old:  # keeps the lock until the replacement, against a second sweep
            try:
                self._lock()
                self._write(wanted)
                draft.replace(target)
                _sync_folder(target.parent)
            except OSError as error:
                draft.unlink(missing_ok=True)
                raise self._unwritable(error) from error

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        os.fsync(self._file.fileno())

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path}: cannot be written: {error.strerror}; choose another --output")


def parse(path: Path, data: bytes) -> list[SweepRow]:
    """The rows of a results file's content. Raises UsageError as `results_file.read` does."""
    return results_file.read(path, data).rows


def has_results(path: Path) -> bool:
    """Whether the file exists and contains more than the header that a sweep begins with."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_LONGER_THAN_A_HEADER)
        results = results_file.read(path, data)
    except FileNotFoundError:
        return False
    except (OSError, UsageError):  # the file has content, even if it cannot be read
        return True
    return bool(results.entries or results.torn)


def _sync_folder(folder: Path) -> None:
    """Sync the folder: a new name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
