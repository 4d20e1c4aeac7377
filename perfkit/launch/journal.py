"""A sweep's results file: one header, one line a point, each on the disk before the next point begins."""

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
from perfkit.schema import sweep
from perfkit.schema.sweep import COLUMNS, SWEEP_VERSION, SweepRow


class Journal:
    """An open results file. What is in it when it is opened is kept; a line that a crash cut short is not."""

    def __init__(self, path: Path, *, keep: Callable[[SweepRow], bool] = lambda _: True, anew: bool = False) -> None:
        """Open or create the file. Rows that `keep` refuses leave it; `anew`: whatever is in it does.

        Raises UsageError where it cannot be written, is of another version, is not a results file, or is in use.
        """
        self.path = path
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        with ExitStack() as opened:
            opened.push(self)
            self._lock()
            if not self._is_named():  # whoever had it until a moment ago put another in its place
                raise self._in_use()
            found = [] if anew else self._parsed(self._file.read())
            self.rows = [row for row in found if keep(row)]
            with signals.held():
                self._rewrite()
            opened.pop_all()  # all went well: it stays open

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: SweepRow) -> None:
        """Write one line and wait until it is on the disk. Raises UsageError where it does not fit any more."""
        size = self._file.seek(0, os.SEEK_END)
        try:
            self._write(sweep.to_line(row).encode())
        except OSError as error:
            self._file.truncate(size)  # no half line
            raise UsageError(
                f"{self.path}: cannot be written: {error.strerror}; {len(self.rows)} results are in it:"
                " make room and go on with --resume"
            ) from error
        self.rows.append(row)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise self._in_use() from error

    def _parsed(self, data: bytes) -> list[SweepRow]:
        try:
            return parse(self.path, data)
        except UsageError as error:
            raise UsageError(f"{error}; choose another --output") from error

    def _in_use(self) -> UsageError:
        return UsageError(f"{self.path}: another sweep is writing it; choose another --output")

    def _is_named(self) -> bool:
        """Whether the file that is open is still the one of this name."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False

    def _rewrite(self) -> None:
        """Make the file what `rows` says: through a sibling, so that a crash leaves the old or the new one."""
        text = sweep.header_line() + "".join(map(sweep.to_line, self.rows))
        self._file.seek(0)
        present = self._file.read()
        if present.startswith(text.encode()):
            self._file.truncate(len(text.encode()))
            return
        draft = self.path.with_name(f".{self.path.name}.part")
        try:
            replacement: BinaryIO = os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666), "r+b", 0)
            self._file, old = replacement, self._file
            old.close()
            self._lock()
            self._write(text.encode())
            draft.replace(self.path)
            _sync_folder(self.path.parent)
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
    """The rows of a results file's content. A last line that a crash left in pieces does not count.

    Raises UsageError for a file of another version, with other columns, or of something else.
    """
    *lines, torn = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    header = sweep.header_line().rstrip("\n")
    if not lines and header.startswith(torn.rstrip("\0")):
        return []
    columns = lines[0].split(",") if lines else []
    if columns[:1] != ["sweep_version"]:
        raise UsageError(f"{path}: not the results of a perfkit sweep")
    _check_version(path, lines)
    if lines[0] != header:
        odd = sorted(set(columns) ^ set(COLUMNS))
        raise UsageError(f"{path}: other columns than this perfkit writes ({', '.join(odd)})")
    rows: dict[tuple[str, int], SweepRow] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            row = sweep.from_line(line)
        except UsageError as error:
            if number == len(lines) and not torn:  # pages of the last line may reach the disk in any order
                break
            raise UsageError(f"{path}, line {number}: {error}") from error
        if row.id in rows:
            raise UsageError(f"{path}, line {number}: a second result of {row.key}, repeat {row.repeat}; drop one")
        rows[row.id] = row
    return list(rows.values())


def has_results(path: Path) -> bool:
    """Whether there is a file with more in it than the header that a sweep begins with."""
    try:
        with path.open("rb") as stream:
            found = stream.read(len(sweep.header_line().encode()) + 1)
    except FileNotFoundError:
        return False
    except OSError:  # whatever is in it: it is there
        return True
    return not sweep.header_line().encode().startswith(found)


def _check_version(path: Path, lines: list[str]) -> None:
    version = lines[1].partition(",")[0] if len(lines) > 1 else str(SWEEP_VERSION)
    if version.isdigit() and int(version) != SWEEP_VERSION:
        raise UsageError(f"{path}: results of version {version}, and this perfkit writes version {SWEEP_VERSION}")


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
