"""Check what an sqlite file contains before any of its SQL runs: a schema is a program, and may be hostile.

A view may never end, a generated column or a default may be a value of 900 MB, and a damaged tree may contain
cycles. So this module reads the list of tables with limits on its length and on sqlite's steps, classifies each
entry by its own SQL, and bounds all later reads by how much the file has room for.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from perfkit.errors import UsageError

_LONGEST_SQL = 100_000
"""Bytes of the SQL that makes one table; Nsight's, with their comments, stay below 10,000."""
_MOST_COLUMNS = 200
"""Columns of one table; Nsight's have up to 40, and sqlite's time grows with the square."""
_MOST_STEPS = 100_000
"""Steps of sqlite's virtual machine, about ten for each entry: Nsight's exports hold fewer than 100."""
_STEPS_A_CALL = 1000
_LEAST_ROW_BYTES = 6
"""Bytes of a row in a page of any table: the minimum that sqlite also assumes (MX_CELL in its btreeInt.h)."""
_MOST_COMPRESSED = 32
"""Largest ratio of a file's bytes to its bytes on a compressing file system; a sparse file exceeds it."""
_SMALL = 64 * 2**20
"""The size of files up to this one is trusted: some file systems allocate no blocks to small files."""

NO_TEXT = "\ufffd"
"""Replaces a byte that is not valid text; a name that contains it is damaged."""

_MOST_COPIED = 4 * 2**30

_MADE = re.compile(
    r"CREATE (?P<kind>TABLE|VIEW|VIRTUAL TABLE|TRIGGER|INDEX|UNIQUE INDEX) "
    r"""(?P<name>"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^]]*\]|[\w$]+)"""
)
"""The beginning of the SQL that sqlite stores, however the user typed it."""


@contextmanager
def readable(path: Path, most_copied: int = _MOST_COPIED) -> Iterator[str]:
    """Return a URI by which sqlite reads the file and leaves nothing beside it. `path` is not a link.

    sqlite needs a third file to read changes that another program left in a `-wal` file, so the URI is then that of a
    copy. Raises UsageError where there are more bytes than `most_copied`, or the file is written to meanwhile.
    """
    wal, journal = (path.with_name(path.name + ending) for ending in ("-wal", "-journal"))
    if not _size(wal):  # without a journal, nobody else may be writing to it
        yield path.as_uri() + ("?mode=ro" if journal.is_file() else "?mode=ro&immutable=1")
        return
    if _size(path) + _size(wal) > most_copied:
        command = f"sqlite3 {path.name} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        raise UsageError(f"{wal.name} holds changes that are not in {path.name} yet: run {command}")
    with tempfile.TemporaryDirectory(prefix="perfkit-sqlite-") as folder:
        parts = [part for part in (path, wal, journal) if part.is_file()]
        before = [part.stat() for part in parts]
        for part in parts:
            shutil.copyfile(part, Path(folder) / part.name)
        if any(part.stat().st_mtime_ns != status.st_mtime_ns for part, status in zip(parts, before, strict=True)):
            raise UsageError(f"{path.name} changed while it was read: try again when no program writes to it")
        yield (Path(folder) / path.name).as_uri() + "?mode=ro"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def contents(address: str) -> dict[str, str]:
    """Return the type of each name in the file: "table", "view", "virtual table", "table with a trigger".

    Names are `folded`. Raises sqlite3.Error where the list is damaged or endless, or its texts are not UTF-8.
    """
    with closing(sqlite3.connect(address, uri=True)) as database:
        database.text_factory = _decoded
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_SQL)
        database.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, _MOST_COLUMNS)
        calls = iter(range(_MOST_STEPS // _STEPS_A_CALL))
        database.set_progress_handler(lambda: next(calls, None) is None, _STEPS_A_CALL)
        try:
            rows = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql NOT NULL").fetchall()
            [(encoding,)] = database.execute("PRAGMA encoding")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_INTERRUPT":
                raise
            raise sqlite3.DatabaseError("its list of tables does not end") from error
    if encoding != "UTF-8":
        raise sqlite3.DatabaseError(f"its texts are {encoding}, but nsys writes UTF-8")
    kinds = {}
    for _, name, _, sql in rows:
        made = _MADE.match(sql)
        if made is None or _unquoted(made["name"]) != name or NO_TEXT in name:
            raise sqlite3.DatabaseError(f"its list of tables is damaged at {name[:100]!a}")
        if not made["kind"].endswith(("INDEX", "TRIGGER")):
            kinds[folded(name)] = made["kind"].lower()
    return kinds | {folded(table): "table with a trigger" for kind, _, table, _ in rows if kind == "trigger"}


def folded(name: str) -> str:
    """Return the name as sqlite compares it: A to Z become a to z."""
    return name.encode("utf-8", "replace").lower().decode()


def room(path: Path) -> int:
    """Bytes that the file and its companion files can hold: a bound for all that a table contains."""
    total = 0
    for part in (path, path.with_name(path.name + "-wal")):
        if part.is_file():
            status = part.stat()
            total += _held(status.st_size, status.st_blocks)
    return total


def _held(size: int, blocks: int) -> int:
    """Bytes that a file of this size, with this many blocks of 512 bytes on the disk, can hold."""
    return min(size, max(blocks * 512 * _MOST_COMPRESSED, _SMALL))


def most_rows(room_bytes: int) -> int:
    """Rows that fit into this many bytes."""
    return room_bytes // _LEAST_ROW_BYTES


def _unquoted(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote) if quote in "\"'`[" else name


def _decoded(text: bytes) -> str:
    return str(text, "utf-8", "replace")
