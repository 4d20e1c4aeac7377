"""Read the tables of an Nsight Systems export as columns through Arrow. Nothing here writes to the file."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import adbc_driver_sqlite
import numpy as np
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement
from adbc_driver_manager import Error as DatabaseError

from perfkit.errors import UsageError
from perfkit.schema.printable import printable
from perfkit.schema.progress import Progress
from perfkit.trace.columns import MISSING, NO_TIME, Int64s
from perfkit.trace.nsys.sqlite_file import NO_TEXT, contents, folded, most_rows, readable, room
from perfkit.trace.plausible import are_usable

UNUSABLE = -(1 << 63)
"""Marks an invalid time, whose event `Export.events` leaves out; also the key of a row that has none."""

_TIMES = ("start", "end")
"""Columns in which a value of the wrong type is UNUSABLE, never a default: a default would be shown as true."""

_BATCH_ROWS = 65536
"""Rows that Arrow reads at a time. The first of them determine a column's type."""

_LARGEST_REAL = 2**53
"""Up to this value, a whole floating-point number represents exactly one integer."""

_LONGEST_TEXT = 2**24
"""Bytes of a text. Names have hundreds; texts of NVTX ranges, which have no bound, seldom more than thousands."""

_DRIVERS_WORDS = re.compile(r"(?:.*?Failed to \w+ \w+: )?(?P<said>.*?)(?: query: SELECT .*)?")
"""The text that the driver adds around sqlite's own message: where it failed, and the query."""

_VERSIONED = re.compile(r"\w+_v(?P<version>[0-9]{1,4})")
"""A `folded` name of a table with a version."""

IntColumns: TypeAlias = dict[str, Int64s]


class Export:
    """An open export. Its tables and columns depend on the version and on what was captured.

    Only plain tables are read, and no more of them than the file has room for: UsageError beyond.
    """

    def __init__(
        self,
        connection: AdbcConnection,
        contents: Mapping[str, str],
        room: int,
        source: str,
        progress: Progress | None = None,
        longest_text: int = _LONGEST_TEXT,
    ) -> None:
        self._connection = connection
        self._contents = {**_unversioned(contents), **{name: (name, kind) for name, kind in contents.items()}}
        self._room, self._longest_text = room, longest_text
        self._progress = progress
        self._read = 0
        self.ignored: dict[str, int] = {}
        """Events left out, by kind, as in ReadFacts."""
        self.source = source

    def has(self, table: str, *columns: str) -> bool:
        """Whether this table exists and has these columns."""
        return folded(table) in self._contents and self._columns_of(table).issuperset(map(folded, columns))

    def _columns_of(self, table: str) -> frozenset[str]:
        """The table's columns, `folded`; empty where the table does not exist."""
        name, kind = self._contents.get(folded(table), ("", None))
        if kind is None:
            return frozenset()
        if kind != "table":
            raise self._refusal(f"{table} is a {kind}, but nsys writes a plain table")
        columns = self._query(f"PRAGMA table_xinfo({quoted(name)})")
        if any(columns["hidden"].to_pylist()):
            raise self._refusal(f"{table} has generated columns, which nsys does not write")
        names = decoded(columns["name"].cast(pa.binary()))
        if any(NO_TEXT in name for name in names):
            raise self._refusal(f"{table} has a column whose name is not text")
        return frozenset(map(folded, names))

    def integers(self, table: str, wanted: Mapping[str, int]) -> IntColumns:
        """Read columns of integers; each has a default for invalid values, and for a missing column or table."""
        return self.read(table, wanted, ())[1]

    def read(self, table: str, wanted: Mapping[str, int], texts: Sequence[str]) -> tuple[pa.Table, IntColumns]:
        """Read columns of texts, as unchecked bytes, and columns of integers, as `integers` does.

        Rows come in the table's own order. A missing text is empty.
        """
        present = self._columns_of(table)
        said = [column for column in texts if folded(column) in present]
        numbers = [column for column in wanted if folded(column) in present]
        if said:
            self._check_texts(table, said)
        chosen = [f"CAST(coalesce({quoted(column)}, '') AS BLOB) AS {quoted(column)}" for column in said]
        chosen += [_integer(column, wanted[column]) for column in numbers]
        rows = self._rows(table, chosen or ["0 AS filler"]) if present else pa.table({"filler": []})
        nothing = pa.repeat(b"", len(rows))
        text = {column: rows[column] if column in said and len(rows) else nothing for column in texts}
        integers = {
            column: _numbers(rows[column]) if column in numbers else np.broadcast_to(np.int64(default), len(rows))
            for column, default in wanted.items()
        }
        return pa.table(text), integers

    def events(self, table: str, wanted: Mapping[str, int], texts: Sequence[str] = ()) -> tuple[pa.Table, IntColumns]:
        """Read as `read` does, without the events whose `start` or `end` is not a time; `ignored` counts those."""
        text, numbers = self.read(table, wanted, texts)
        usable = are_usable(numbers["start"], numbers["end"])
        if usable.all():
            return text, numbers
        self.ignored[table + NO_TIME] = int((~usable).sum())
        kept = {column: values[usable] for column, values in numbers.items()}
        return text.take(pa.array(np.flatnonzero(usable))) if texts else text, kept

    def pairs(self, table: str) -> dict[str, str]:
        """Read a table of names and values."""
        read, _ = self.read(table, {}, ("name", "value"))
        return dict(zip(decoded(read["name"]), decoded(read["value"]), strict=True))

    def strings(self, ids: Int64s) -> list[str]:
        """Return the text in StringIds of each of several distinct ids; `string <id>` where there is none."""
        place = self.string_places(ids)
        texts = iter(decoded(self.string_values.take(pa.array(place[place != MISSING]))))
        return [
            next(texts) if here else f"string {number}"
            for here, number in zip((place != MISSING).tolist(), ids.tolist(), strict=True)
        ]

    def string_places(self, ids: Int64s) -> Int64s:
        """Return each id's index into `string_values`, MISSING where the table does not have it."""
        known = self._strings[1]["id"]
        order = np.argsort(known, kind="stable")
        place = np.minimum(np.searchsorted(known, ids, sorter=order), max(len(known) - 1, 0))
        return np.where(known[order[place]] == ids, order[place], MISSING) if len(known) else place + MISSING

    @property
    def string_values(self) -> pa.ChunkedArray:
        """The texts of StringIds, as bytes."""
        return self._strings[0]["value"]

    @cached_property
    def _strings(self) -> tuple[pa.Table, IntColumns]:
        whole = self.has("StringIds", "id", "value")
        return self.read("StringIds" if whole else "", {"id": UNUSABLE}, ("value",))

    def _check_texts(self, table: str, columns: Sequence[str]) -> None:
        """Check that no text is too long and that all fit into the file: a long default may repeat in every row.

        Each row starts with the lengths, so this reads no text. octet_length needs SQLite 3.43, which the oldest driver
        that perfkit accepts includes.
        """
        lengths = ", ".join(f"octet_length({quoted(name)}) AS length{i}" for i, name in enumerate(columns))
        rows = f"SELECT {lengths} FROM {self._quoted(table)} NOT INDEXED LIMIT {most_rows(self._room) + 1}"
        totals = [f"{how}(length{i}) AS {how}{i}" for how in ("sum", "max") for i, _ in enumerate(columns)]
        read = self._query(f"SELECT {', '.join(totals)} FROM ({rows})")
        sums, longest = np.array([column[0].as_py() or 0 for column in read.columns]).reshape(2, len(columns))
        if longest.max() > self._longest_text:
            raise self._refusal(f"{table} has a text of {longest.max():,} bytes, which is too long for a name")
        if sums.sum() > self._room:
            raise self._refusal(f"{table} has more text than the file has room for")

    def _rows(self, table: str, chosen: Sequence[str]) -> pa.Table:
        most = most_rows(self._room)
        # Use no index: the order is the table's own, and an index of an expression could return other values.
        rows = self._query(f"SELECT {', '.join(chosen)} FROM {self._quoted(table)} NOT INDEXED LIMIT {most + 1}")
        if len(rows) > most:
            raise self._refusal(f"{table} has more rows than the file has room for")
        return rows

    def _quoted(self, table: str) -> str:
        """The table's name in this file, for SQL."""
        return quoted(self._contents[folded(table)][0])

    def _refusal(self, problem: str) -> UsageError:
        return UsageError(f"{self.source} is an sqlite file that perfkit refuses: {problem}; export it again")

    def _query(self, query: str) -> pa.Table:
        # Use the level below DB-API, which would import pandas.
        with AdbcStatement(self._connection) as statement:
            statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
            statement.set_sql_query(query)
            stream, _ = statement.execute_query()
            with pa.RecordBatchReader.from_stream(stream) as reader:
                return pa.Table.from_batches(self._counted(reader), reader.schema)

    def _counted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self._read += batch.nbytes
            if self._progress:
                self._progress(self._read, None)
            yield batch


def _unversioned(contents: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Names without the version that some exports add (..._KERNEL_V2) -> the newest such name, and its type."""
    versions = sorted((int(match["version"]), name) for name in contents if (match := _VERSIONED.fullmatch(name)))
    return {name[: name.rindex("_v")]: (name, contents[name]) for _, name in versions}


@contextmanager
def opened(path: Path, source: str, progress: Progress | None = None) -> Iterator[Export]:
    """Open an export for reading. Raises UsageError where the file is damaged, on opening or while it is read.

    `progress` is called with the bytes of columns read so far, and None, since their total is not known.
    """
    path = path.resolve()  # sqlite leaves its pending changes beside the file itself, not beside a link to it
    try:
        with (
            readable(path) as address,
            adbc_driver_sqlite.connect(address) as database,
            AdbcConnection(database) as connection,
        ):
            yield Export(connection, contents(address), room(path), source, progress)
    except (DatabaseError, sqlite3.Error, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{source} is an sqlite file that cannot be read: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    """Return sqlite's own message, which may quote the file, with advice."""
    words = str(error.object, "utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)
    match = _DRIVERS_WORDS.fullmatch(" ".join(words.split()))
    said = printable(match["said"][:150]) if match else "unknown error"
    busy = any(word in said for word in ("locked", "busy", "readonly"))  # readonly: a change must be rolled back first
    return f"{said}; " + ("try again when no program writes to it" if busy else "export it again")


def _integer(column: str, default: int) -> str:
    """SQL for a column that is an integer in every row. The value of a text or a blob is not read."""
    name, other = quoted(column), UNUSABLE if column in _TIMES else default
    whole = f"WHEN abs({name}) <= {_LARGEST_REAL} AND {name} = CAST({name} AS INTEGER) THEN CAST({name} AS INTEGER)"
    kinds = f"WHEN 'integer' THEN {name} WHEN 'null' THEN {default} WHEN 'real' THEN CASE {whole} ELSE {other} END"
    return f"CASE typeof({name}) {kinds} ELSE {other} END AS {name}"


def decoded(column: Any) -> list[str]:
    """Decode any bytes to text."""
    return [str(value or b"", "utf-8", "replace") for value in column.to_pylist()]


def distinct(*columns: Int64s) -> tuple[Int64s, Int64s]:
    """Return the first row of each distinct combination, in order of value, and the combination of each row."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, codes = _coded(column)
        key = _coded(key * max(len(values), 1) + codes)[1]
    first = np.empty(int(key.max()) + 1 if len(key) else 0, dtype=np.int64)
    first[key[::-1]] = np.arange(len(key))[::-1]
    return first, key


def joined(parts: Sequence[Any]) -> Any:
    """Join the parts; a single part is not copied."""
    filled = [part for part in parts if len(part)]
    return filled[0] if len(filled) == 1 else np.concatenate(parts)


def _coded(column: Int64s) -> tuple[Int64s, Int64s]:
    """Return sorted values and each row's index into them, like numpy's `unique`, but by hashing instead of sorting."""
    if len(column) and (column == column[0]).all():
        return column[:1], np.zeros(len(column), dtype=np.int64)
    encoded = pa.array(column).dictionary_encode()
    values = encoded.dictionary.to_numpy()
    order = np.argsort(values)
    place = np.empty(len(values), dtype=np.int64)
    place[order] = np.arange(len(values))
    return values[order], place[encoded.indices.to_numpy()]


def _numbers(column: Any) -> Int64s:
    return column.to_numpy().astype(np.int64, copy=False)


def quoted(name: str) -> str:
    """Quote any name for SQL."""
    return '"' + name.replace('"', '""') + '"'
