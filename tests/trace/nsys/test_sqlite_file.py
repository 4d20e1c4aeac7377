"""What an sqlite file holds, and how much it has room for: the bounds themselves. Attacks: test_sqlite_hostile."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from perfkit.trace.nsys.sqlite_file import _held, contents, most_rows, room

MIB = 2**20


def made(path: Path, *statements: str) -> str:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return path.as_uri() + "?mode=ro"


@pytest.mark.parametrize(
    ("size", "blocks", "expected"),
    [
        (5, 0, 5),
        (64 * MIB, 0, 64 * MIB),  # taken at its word
        (64 * MIB + 1, 0, 64 * MIB),
        (64 * MIB + 1, 4096, 64 * MIB),  # 2 MiB on the disk, which hold 64 compressed
        (65 * MIB, 4160, 65 * MIB),  # 64 KiB and 2 MiB / 32 more
        (2**40, 4160, 65 * MIB),
        (2**40, 2**18, 4096 * MIB),  # 128 MiB on the disk
    ],
)
def test_a_file_holds_no_more_than_its_blocks_can(size: int, blocks: int, expected: int) -> None:
    """GIVEN a file of a size, with so many blocks of 512 bytes THEN 32 times these at most, or 64 MiB"""
    assert _held(size, blocks) == expected


def test_a_sparse_file_has_no_room(tmp_path: Path) -> None:
    """GIVEN a file of 1 TiB with nothing in it THEN what a small file is taken at its word for"""
    with (tmp_path / "x.sqlite").open("wb") as file:
        file.truncate(2**40)
    assert room(tmp_path / "x.sqlite") == 64 * MIB


def test_room_of_real_files(tmp_path: Path) -> None:
    """GIVEN a file of 5 bytes, alone and beside a journal of 7, and none THEN those"""
    path = tmp_path / "x.sqlite"
    assert room(path) == 0
    path.write_bytes(b"12345")
    assert room(path) == 5
    (tmp_path / "x.sqlite-wal").write_bytes(b"1234567")
    assert room(path) == 12


@pytest.mark.parametrize(("size", "rows"), [(0, 0), (5, 0), (6, 1), (11, 1), (12, 2)])
def test_a_row_takes_six_bytes_at_least(size: int, rows: int) -> None:
    assert most_rows(size) == rows


def test_kinds_of_entries(tmp_path: Path) -> None:
    """GIVEN one of each kind THEN tables and views by name, and the table that a trigger is on by that"""
    address = made(
        tmp_path / "x.sqlite",
        "CREATE TABLE plain(a)",
        "CREATE TABLE triggered(a UNIQUE)",
        'CREATE TABLE "odd ""name"(a)',
        "CREATE INDEX i ON plain(a)",
        "CREATE UNIQUE INDEX u ON plain(a)",
        "CREATE VIEW v AS SELECT * FROM plain",
        "CREATE VIRTUAL TABLE r USING rtree(id, low, high)",
        "CREATE TRIGGER t AFTER INSERT ON triggered BEGIN DELETE FROM plain; END",
    )
    found = contents(address)
    assert {name: kind for name, kind in found.items() if not name.startswith("r_")} == {
        "plain": "table", "triggered": "table with a trigger", 'odd "name': "table", "v": "view", "r": "virtual table",
    }  # fmt: skip


@pytest.mark.parametrize(("columns", "fits"), [(200, True), (201, False)])
def test_the_most_columns(tmp_path: Path, columns: int, fits: bool) -> None:
    address = made(tmp_path / "x.sqlite", f"CREATE TABLE t({', '.join(f'c{number}' for number in range(columns))})")
    if fits:
        assert contents(address) == {"t": "table"}
    else:
        with pytest.raises(sqlite3.DatabaseError, match="too many columns on t"):
            contents(address)


@pytest.mark.parametrize(("length", "fits"), [(90_000, True), (100_001, False)])
def test_the_longest_sql(tmp_path: Path, length: int, fits: bool) -> None:
    address = made(tmp_path / "x.sqlite", f"CREATE TABLE t(a /* {'x' * length} */)")
    if fits:
        assert contents(address) == {"t": "table"}
    else:
        with pytest.raises(sqlite3.DatabaseError, match="too big"):
            contents(address)


def test_many_entries_are_read(tmp_path: Path) -> None:
    """GIVEN 5,000 entries, at ten steps each half of what is allowed THEN all are read"""
    address = made(
        tmp_path / "x.sqlite",
        "CREATE TABLE t0(a)",
        "PRAGMA writable_schema = 1",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 4999)"
        " INSERT INTO sqlite_master SELECT 'table', 't' || i, 't' || i, 2, 'CREATE TABLE t' || i || '(a)' FROM n",
    )
    assert len(contents(address)) == 5000


@pytest.mark.parametrize("length", [99, 100, 101])
def test_a_damaged_entry_is_named_by_its_beginning(tmp_path: Path, length: int) -> None:
    """GIVEN an entry whose SQL spells its name otherwise, which sqlite takes THEN 100 characters of it are said"""
    address = made(
        tmp_path / "x.sqlite",
        f"CREATE TABLE {'n' * length}(a)",
        "PRAGMA writable_schema = 1",
        "UPDATE sqlite_master SET name = upper(name), tbl_name = upper(name)",
    )
    with pytest.raises(sqlite3.DatabaseError, match=f"list of tables is damaged at '{'N' * min(length, 100)}'$"):
        contents(address)
