"""The tables of an Nsight Systems export, read as columns through Arrow. Nothing here writes to the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import adbc_driver_sqlite as sqlite
import numpy as np
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement
from adbc_driver_manager import Error as DatabaseError

from perfkit.errors import UsageError
from perfkit.trace.byte_stream import Progress
from perfkit.trace.columns import Int64s

SQLITE_MAGIC = b"SQLite format 3\0"

_BATCH_ROWS = 65536
"""Rows Arrow takes at a time. A column's type comes from the first of them."""

_DRIVERS_WORDS = re.compile(r"(?:.*?Failed to \w+ \w+: )?(?P<said>.*?)(?: query: SELECT .*)?")
"""What the driver puts round sqlite's own words: where it failed, and the query."""

IntColumns: TypeAlias = dict[str, Int64s]


class Export:
    """An open export. Which tables and columns there are depends on the version and on what was captured."""

    def __init__(self, connection: AdbcConnection, source: str, progress: Progress | None = None) -> None:
        self._connection = connection
        self._progress = progress
        self._read = 0
        self.source = source
        names = self._query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        self.tables = frozenset(map(str, names["name"].to_pylist()))

    def columns_of(self, table: str) -> frozenset[str]:
        """The table's columns; none where there is no such table."""
        if table not in self.tables:
            return frozenset()
        return frozenset(map(str, self._query(f"PRAGMA table_info({quoted(table)})")["name"].to_pylist()))

    def integers(self, table: str, wanted: Mapping[str, int]) -> IntColumns:
        """Columns of whole numbers; where a value, the column or the table is missing, the number given for it."""
        found = self.columns_of(table)
        if not found:
            return {column: np.empty(0, np.int64) for column in wanted}
        present = {column: default for column, default in wanted.items() if column in found}
        chosen = [f"{integer(quoted(column), default)} AS {quoted(column)}" for column, default in present.items()]
        read = self._query(f"SELECT {', '.join([*chosen, '0 AS filler'])} FROM {quoted(table)}")
        return {
            column: _numbers(read[column]) if column in present else np.broadcast_to(np.int64(default), len(read))
            for column, default in wanted.items()
        }

    def texts(self, query: str, *columns: str) -> tuple[pa.Table, IntColumns]:
        """Run a query whose other columns are integers; `columns` come as bytes, for what is in them is not checked."""
        read = self._query(query)
        empty = pa.table({column: pa.array([], pa.binary()) for column in columns})
        text = read.select(columns) if len(read) else empty
        return text, {name: _numbers(read[name]) for name in read.column_names if name not in columns}

    def pairs(self, table: str) -> dict[str, str]:
        """A table of names and values."""
        if not self.columns_of(table) >= {"name", "value"}:
            return {}
        read, _ = self.texts(
            f"SELECT {blob('name')} AS name, {blob('value')} AS value FROM {quoted(table)}", "name", "value"
        )
        return dict(zip(decoded(read["name"]), decoded(read["value"]), strict=True))

    def strings(self, ids: Int64s) -> list[str]:
        """What StringIds says of each of some ids; `string <id>` where it says nothing."""
        if not self.columns_of("StringIds") >= {"id", "value"}:
            return [f"string {number}" for number in ids.tolist()]
        text, numbers = self.texts(
            f"SELECT {integer('id')} AS id, {blob('value')} AS value FROM StringIds ORDER BY 1", "value"
        )
        place = np.searchsorted(numbers["id"], ids)
        known = place < len(numbers["id"])
        known[known] = numbers["id"][place[known]] == ids[known]
        found = iter(decoded(text["value"].take(pa.array(place[known]))))
        return [next(found) if here else f"string {number}" for here, number in zip(known, ids.tolist(), strict=True)]

    def _query(self, query: str) -> pa.Table:
        # The level below DB-API, which would import pandas.
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


@contextmanager
def opened(path: Path, source: str, progress: Progress | None = None) -> Iterator[Export]:
    """Open an export for reading. Raises UsageError where the file is damaged, there or while it is read.

    `progress` is called with the bytes of columns read so far, and None, for how many there are is not known.
    """
    # Nobody else may be writing to it; without this promise sqlite needs to write beside files of some kinds.
    settled = not any(path.with_name(path.name + journal).exists() for journal in ("-wal", "-journal"))
    address = path.absolute().as_uri() + ("?mode=ro&immutable=1" if settled else "?mode=ro")
    try:
        with sqlite.connect(address) as database, AdbcConnection(database) as connection:
            yield Export(connection, source, progress)
    except (DatabaseError, pa.ArrowException, OSError) as error:
        raise UsageError(f"{source} is an sqlite file that cannot be read: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    """sqlite's own words, and what to do about it."""
    match = _DRIVERS_WORDS.fullmatch(" ".join(str(error).split()))
    said = match["said"][:150] if match else "unknown error"
    busy = "locked" in said or "busy" in said
    return f"{said}; " + ("try again when nothing writes to it any more" if busy else "export it again")


def integer(column: str, default: int = 0) -> str:
    """SQL for a column that is a whole number in every row, whatever the file has there."""
    return f"CAST(coalesce({column}, {default}) AS INTEGER)"


def blob(column: str) -> str:
    """SQL for a text as the bytes it is."""
    return f"CAST(coalesce({column}, '') AS BLOB)"


def decoded(column: Any) -> list[str]:
    """Bytes to text, whatever they are."""
    return [str(value or b"", "utf-8", "replace") for value in column.to_pylist()]


def distinct(*columns: Int64s) -> tuple[Int64s, Int64s]:
    """The rows where each different combination first stands, in order of value, and which of them each row is."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, codes = _coded(column)
        key = _coded(key * max(len(values), 1) + codes)[1]
    first = np.empty(int(key.max()) + 1 if len(key) else 0, dtype=np.int64)
    first[key[::-1]] = np.arange(len(key))[::-1]
    return first, key


def joined(parts: Sequence[Any]) -> Any:
    """The parts in a row; a part that is alone is not copied."""
    filled = [part for part in parts if len(part)]
    return filled[0] if len(filled) == 1 else np.concatenate(parts)


def _coded(column: Int64s) -> tuple[Int64s, Int64s]:
    """Sorted values and each row's place among them: numpy's `unique`, by hashing instead of sorting all rows."""
    if len(column) and (column == column[0]).all():
        return column[:1], np.zeros(len(column), dtype=np.int64)
    encoded = pa.array(column).dictionary_encode()
    values = encoded.dictionary.to_numpy()
    order = np.argsort(values)
    place = np.empty(len(values), dtype=np.int64)
    place[order] = np.arange(len(values))
    return values[order], place[encoded.indices.to_numpy()]


def _numbers(column: Any) -> Int64s:
    values: Int64s = column.to_numpy().astype(np.int64, copy=False)
    return values


def quoted(name: str, table: str = "") -> str:
    """SQL for a name, whatever is in it."""
    return (table and table + ".") + '"' + name.replace('"', '""') + '"'
