"""Tables as columns: bounds of what is read, rows by their combinations, and texts by their ids."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import adbc_driver_sqlite
import numpy as np
import pytest
from adbc_driver_manager import AdbcConnection

from perfkit.errors import UsageError
from perfkit.trace.columns import MAX_NS, MISSING
from perfkit.trace.nsys.sqlite_file import contents
from perfkit.trace.nsys.tables import Export, decoded, distinct, joined, opened, quoted

MAX_TIME = 1 << 61  # 73 years in ns
TEN_YEARS = 315_360_000 * 10**9


def made(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


@contextlib.contextmanager
def limited(path: Path, *, room: int = 2**20, longest_text: int = 2**20) -> Iterator[Export]:
    """A file as an export of which no more than this is read."""
    address = path.as_uri()
    with adbc_driver_sqlite.connect(address) as database, AdbcConnection(database) as connection:
        yield Export(connection, contents(address), room, "x", longest_text=longest_text)


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        (MAX_TIME, MAX_TIME, True),
        (MAX_TIME, MAX_TIME + 1, False),
        (MAX_TIME + 1, MAX_TIME, False),
        (-MAX_TIME, -MAX_TIME, True),
        (-MAX_TIME, -MAX_TIME - 1, False),
        (-MAX_TIME - 1, -MAX_TIME, False),
        (-(2**63), -(2**63), False),
        (2**63 - 1, -(2**63), False),
        (-7, TEN_YEARS - 7, True),
        (-7, TEN_YEARS - 6, False),
        (MAX_TIME, -MAX_TIME, True),  # it ends before it starts: another matter
    ],
)
def test_the_last_time_that_is_one(tmp_path: Path, start: int, end: int, kept: bool) -> None:
    path = made(
        tmp_path / "x.sqlite",
        "CREATE TABLE T(start, end, label)",
        f"INSERT INTO T VALUES ({start}, {end}, 'a'), (3, 4, 'b')",
    )
    with opened(path, "x") as export:
        text, numbers = export.events("T", {"start": 0, "end": MISSING}, ("label",))
        without_text = export.events("T", {"start": 0, "end": MISSING})[1]
        assert export.ignored == ({} if kept else {"T without a usable time": 1})
    assert decoded(text["label"]) == (["a", "b"] if kept else ["b"])
    assert len(numbers["start"]) == len(without_text["end"]) == (2 if kept else 1)
    assert MAX_NS == MAX_TIME


@pytest.mark.parametrize(("room", "fits"), [(6 * 3, True), (6 * 3 - 1, False)])
def test_rows_that_just_fit(tmp_path: Path, room: int, fits: bool) -> None:
    """GIVEN three rows, of which each needs six bytes at least WHEN the file has room for three, or two THEN so"""
    path = made(tmp_path / "x.sqlite", "CREATE TABLE T(a)", "INSERT INTO T VALUES (1), (2), (3)")
    with limited(path, room=room) as export:
        if fits:
            assert export.integers("T", {"a": 0})["a"].tolist() == [1, 2, 3]
        else:
            with pytest.raises(UsageError, match="T has more rows than the file has room for"):
                export.integers("T", {"a": 0})


@pytest.mark.parametrize(("room", "fits"), [(30, True), (29, False)])
def test_texts_that_just_fit(tmp_path: Path, room: int, fits: bool) -> None:
    """GIVEN 30 bytes of text in two rows of two columns THEN they fit into 30 bytes, and into 29 not"""
    path = made(
        tmp_path / "x.sqlite",
        "CREATE TABLE T(a, b)",
        f"INSERT INTO T VALUES ('{'x' * 12}', '\u00e9'), ('{'y' * 9}', '{'z' * 7}')",
    )
    with limited(path, room=room) as export:
        if fits:
            assert decoded(export.read("T", {}, ("a", "b"))[0]["b"]) == ["\u00e9", "z" * 7]
        else:
            with pytest.raises(UsageError, match="T has more text than the file has room for"):
                export.read("T", {}, ("a", "b"))


@pytest.mark.parametrize(("longest", "fits"), [(8, True), (9, False)])
def test_the_longest_text(tmp_path: Path, longest: int, fits: bool) -> None:
    path = made(
        tmp_path / "x.sqlite", "CREATE TABLE T(a, b)", f"INSERT INTO T VALUES ('{'x' * longest}', 'y'), ('', NULL)"
    )
    with limited(path, longest_text=8) as export:
        if fits:
            assert decoded(export.read("T", {}, ("a",))[0]["a"]) == ["x" * 8, ""]
        else:
            with pytest.raises(UsageError, match="T has a text of 9 bytes, which is too long for a name"):
                export.read("T", {}, ("a",))


@pytest.mark.parametrize("columns", ["start, end", "start, end, label", "label"])
def test_tables_without_rows_or_columns(tmp_path: Path, columns: str) -> None:
    """GIVEN empty tables, and none WHEN read THEN columns of the right types without a row"""
    path = made(tmp_path / "x.sqlite", f"CREATE TABLE T({columns})")
    with opened(path, "x") as export:
        for table in ("T", "not there"):
            text, numbers = export.read(table, {"start": 0, "end": MISSING}, ("label",))
            assert decoded(text["label"]) == []
            assert [numbers[column].tolist() for column in ("start", "end")] == [[], []]
            assert {column.dtype for column in numbers.values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    ("columns", "values", "expected"),
    [
        ("n, label", "7, 'a'", (7, "a")),
        ("n, other", "7, 'a'", (7, "")),
        ("other, label", "7, 'a'", (5, "a")),
        ("other", "7", (5, "")),
        ("n, label", "NULL, NULL", (5, "")),
        ("n, label", "7.5, 8", (5, "8")),
        ("n, label", "7.0, 8", (7, "8")),
        ("n, label", "'7', x'61'", (5, "a")),
    ],
)
def test_values_and_their_defaults(tmp_path: Path, columns: str, values: str, expected: tuple[int, str]) -> None:
    path = made(tmp_path / "x.sqlite", f"CREATE TABLE T({columns})", f"INSERT INTO T VALUES ({values})")
    with opened(path, "x") as export:
        text, numbers = export.read("T", {"n": 5}, ("label",))
    assert (numbers["n"].tolist(), decoded(text["label"])) == ([expected[0]], [expected[1]])


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], ["string 5", "string 9", "string 1"]),
        (["CREATE TABLE StringIds(id)", "INSERT INTO StringIds VALUES (5)"], ["string 5", "string 9", "string 1"]),
        (["CREATE TABLE StringIds(value)", "INSERT INTO StringIds VALUES ('x')"], ["string 5", "string 9", "string 1"]),
        (["CREATE TABLE StringIds(id, value)"], ["string 5", "string 9", "string 1"]),
        (
            ["CREATE TABLE StringIds(id, value)", "INSERT INTO StringIds VALUES (9, 'nine'), (5, 'five'), (2, 'two')"],
            ["five", "nine", "string 1"],
        ),
    ],
)
def test_strings_of_ids(tmp_path: Path, statements: list[str], expected: list[str]) -> None:
    """GIVEN ids at, between and beyond those of the table, in no order THEN what it says of each, or its number"""
    path = made(tmp_path / "x.sqlite", "CREATE TABLE other(a)", *statements)
    with opened(path, "x") as export:
        assert export.strings(np.array([5, 9, 1])) == expected


@pytest.mark.parametrize(
    "columns",
    [
        [[]],
        [[], []],
        [[4]],
        [[4, 4, 4]],
        [[7, -1, 7, 3]],
        [[1, 1, 0, 0, 1], [2, 3, 2, 3, 2]],
        [[5, 5, 5], [1, 0, 1], [2**40, -(2**40), 2**40]],
        [[1, 2, 0, 1], [0, 0, 2, 0], [9, 8, 7, 9]],
    ],
)
def test_different_rows(columns: list[list[int]]) -> None:
    """GIVEN columns THEN each combination's first row, in order of value, and each row's place: plain Python's"""
    rows = list(zip(*columns, strict=True))
    order = sorted(set(rows))
    first, place = distinct(*(np.array(column, dtype=np.int64) for column in columns))
    assert first.tolist() == [rows.index(row) for row in order]
    assert place.tolist() == [order.index(row) for row in rows]


@pytest.mark.parametrize("parts", [[[]], [[], []], [[1]], [[], [1, 2]], [[1], [], [2]], [[3], [1], [2]]])
def test_parts_in_a_row(parts: list[list[int]]) -> None:
    arrays = [np.array(part, dtype=np.int64) for part in parts]
    found: Any = joined(arrays)
    assert found.tolist() == [value for part in parts for value in part]
    if sum(bool(part) for part in parts) == 1:
        assert any(found is array for array in arrays)


def test_names_in_quotes() -> None:
    assert [quoted(name) for name in ("a", 'a"b', "")] == ['"a"', '"a""b"', '""']


def test_a_table_with_a_version_in_its_name(tmp_path: Path) -> None:
    """GIVEN only KERNEL_V2, _V3 and _V10 WHEN asked for KERNEL THEN it is the newest; its own name wins over all"""
    versions = [f"CREATE TABLE KERNEL_V{version}(a)" for version in (2, 10, 3)]
    rows = [f"INSERT INTO KERNEL_V{version} VALUES ({version})" for version in (2, 10, 3)]
    path = made(tmp_path / "x.sqlite", *versions, *rows)
    with opened(path, "x") as export:
        assert export.has("KERNEL", "a")
        assert export.integers("KERNEL", {"a": 0})["a"].tolist() == [10]
        assert export.integers("KERNEL_V3", {"a": 0})["a"].tolist() == [3]
    path = made(path, "CREATE TABLE Kernel(b)", "INSERT INTO Kernel VALUES (1)")
    with opened(path, "x") as export:
        assert export.integers("KERNEL", {"b": 0})["b"].tolist() == [1]


def test_a_view_with_a_version_in_its_name_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "x.sqlite", "CREATE TABLE T(a)", "CREATE VIEW KERNEL_V2 AS SELECT a FROM T")
    with opened(path, "x") as export, pytest.raises(UsageError, match="KERNEL is a view"):
        export.integers("KERNEL", {"a": 0})
