"""What an sqlite file says it holds, asked before anything in it is run: a schema is a program, and may be hostile.

A view may never end, a generated column or a default may be a value of 900 MB, and a damaged tree may lead in
circles. So the list of tables is read with limits on its length and on sqlite's steps, each entry is taken for what
its own SQL makes, and how much the file has room for bounds whatever is read from it later.
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
"""Of one table; Nsight's have up to 40, and sqlite's time grows with the square."""
_MOST_STEPS = 100_000
"""Of sqlite's virtual machine, about ten for each entry: Nsight's exports hold fewer than 100."""
_STEPS_A_CALL = 1000
_LEAST_ROW_BYTES = 6
"""Of a row in a page of any table: what sqlite itself, too, takes for the least (MX_CELL in its btreeInt.h)."""
_MOST_COMPRESSED = 32
"""A file's bytes to those that a file system which compresses needs for them, at most; a sparse file has more."""
_SMALL = 64 * 2**20
"""Files up to this size are taken at their word: some file systems give no blocks to small ones."""

NO_TEXT = "\ufffd"
"""What stands for a byte that is no text: in a name, it is damaged."""

_MOST_COPIED = 4 * 2**30

_MADE = re.compile(
    r"CREATE (?P<kind>TABLE|VIEW|VIRTUAL TABLE|TRIGGER|INDEX|UNIQUE INDEX) "
    r"""(?P<name>"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^]]*\]|[\w$]+)"""
)
"""How sqlite begins the SQL that it keeps, whatever was typed."""


@contextmanager
def readable(path: Path, most_copied: int = _MOST_COPIED) -> Iterator[str]:
    """A URI by which sqlite reads the file and leaves nothing beside it. `path` is no link.

    Changes that another program left in a `-wal` sqlite reads with the help of a third file: so the URI is then a
    copy's. Raises UsageError where there are more bytes than `most_copied`, or the file is written to meanwhile.
    """
    wal, journal = (path.with_name(path.name + ending) for ending in ("-wal", "-journal"))
    if not _size(wal):  # nobody else may be writing to it, unless there is a journal
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
    """What each name in the file at a URI stands for: "table", "view", "virtual table", "table with a trigger".

    Names are `folded`. Raises sqlite3.Error where the list of them is damaged or does not end, or texts are no UTF-8.
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
    """The name as sqlite compares it: A to Z are a to z."""
    return name.encode("utf-8", "replace").lower().decode()


def room(path: Path) -> int:
    """Bytes that the file, and what sqlite keeps beside it, can hold: a bound for all that a table says."""
    total = 0
    for part in (path, path.with_name(path.name + "-wal")):
        if part.is_file():
            status = part.stat()
            total += _held(status.st_size, status.st_blocks)
    return total


def _held(size: int, blocks: int) -> int:
    """Bytes that a file of a size, with so many blocks of 512 bytes on the disk, can hold."""
    return min(size, max(blocks * 512 * _MOST_COMPRESSED, _SMALL))


def most_rows(room_bytes: int) -> int:
    """Rows that fit into so many bytes."""
    return room_bytes // _LEAST_ROW_BYTES


def _unquoted(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote) if quote in "\"'`[" else name


def _decoded(text: bytes) -> str:
    return str(text, "utf-8", "replace")
