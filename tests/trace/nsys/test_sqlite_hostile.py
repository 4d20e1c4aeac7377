"""Exports that were made to do harm, or damaged: refused in one line, before anything in them is run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.trace.columns import NO_TIME, Content, Trace
from perfkit.trace.load import load
from perfkit.trace.nsys import sqlite_file
from perfkit.trace.nsys.sqlite_file import contents, readable
from tests.nsys_export import NsysExport

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
COUNT = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) "
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
LONG = "x" * 90_000


def export(path: Path, *statements: str, schema: tuple[tuple[str, str, int, str], ...] = ()) -> Path:
    """A sound export, changed by statements and by rows (type, name, root page, SQL) put into its list of tables."""
    NsysExport().range("a", 0, 50).launched("k", 10, 20, 30, correlation=1).write(path)
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.execute("PRAGMA writable_schema = 1")
    database.executemany(
        "INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)",
        [(kind, name, name, root, sql) for kind, name, root, sql in schema],
    )
    database.commit()
    database.close()
    return path


def device_names(trace: Trace) -> list[str]:
    return [str(name) for name in trace.device_names()]


@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        (
            ["DROP TABLE StringIds", f"CREATE VIEW StringIds AS {ENDLESS} SELECT i AS id, 'x' AS value FROM n"],
            "StringIds is a view, but nsys writes a plain table",
        ),
        (
            [f"DROP TABLE {KERNELS}", f"CREATE VIEW {KERNELS} AS {ENDLESS} SELECT i AS start, i AS end FROM n"],
            f"{KERNELS} is a view, but nsys writes a plain table",
        ),
        (
            ["DROP TABLE StringIds", "CREATE VIEW StringIds AS SELECT 7 AS id, zeroblob(900000000) AS value"],
            "StringIds is a view",
        ),
        (
            [f"DROP TABLE {KERNELS}", f"CREATE VIRTUAL TABLE {KERNELS} USING rtree(id, start, end)"],
            f"{KERNELS} is a virtual table",
        ),
        (
            ["CREATE TRIGGER t AFTER INSERT ON NVTX_EVENTS BEGIN DELETE FROM StringIds; END"],
            "NVTX_EVENTS is a table with a trigger",
        ),
        (
            ["ALTER TABLE NVTX_EVENTS ADD COLUMN more TEXT GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL"],
            "NVTX_EVENTS has generated columns",
        ),
        (
            [
                "ALTER TABLE NVTX_EVENTS DROP COLUMN text",
                COUNT.format(1000) + "INSERT INTO NVTX_EVENTS(start, end, eventType) SELECT i, i + 1, 59 FROM n",
                f"ALTER TABLE NVTX_EVENTS ADD COLUMN text TEXT DEFAULT '{LONG}'",
            ],
            "NVTX_EVENTS has more text than the file has room for",
        ),
        (
            ["INSERT INTO StringIds VALUES (1000, CAST(zeroblob(17000000) AS TEXT))"],
            "StringIds has a text of 17,000,000 bytes",
        ),
        ([f"ALTER TABLE StringIds ADD COLUMN more TEXT DEFAULT '{LONG}{LONG}'"], "too big"),
        ([f"CREATE TABLE wide ({', '.join(f'c{number}' for number in range(300))})"], "too many columns on wide"),
    ],
    ids=["endless", "endless kernels", "zeroblob", "virtual", "trigger", "generated", "default", "text", "sql", "wide"],
)
def test_what_nsys_does_not_write_is_refused(tmp_path: Path, statements: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        load(export(tmp_path / "x.sqlite", *statements))
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith("export it again")


@pytest.mark.parametrize(
    "schema",
    [
        (("table", "StringIds", 2, f"CREATE VIEW StringIds AS {ENDLESS} SELECT i AS id, i AS value FROM n"),),
        (
            ("table", "StringIds", 2, "CREATE TABLE other(a)"),
            ("view", "other", 0, f"CREATE VIEW StringIds AS {ENDLESS} SELECT i AS id, i AS value FROM n"),
        ),
        (
            ("table", 'String"Ids', 2, "CREATE TABLE StringIds(id, value)"),
            ("view", "StringIds", 0, 'CREATE VIEW "String""Ids" AS SELECT 1'),
        ),
    ],
    ids=["by type", "by name", "by quotes"],
)
def test_a_list_of_tables_that_lies(tmp_path: Path, schema: tuple[tuple[str, str, int, str], ...]) -> None:
    """GIVEN entries whose SQL makes something else than they say WHEN read THEN refused: sqlite goes by the SQL"""
    path = export(tmp_path / "x.sqlite", "DROP TABLE StringIds", schema=schema)
    with pytest.raises(UsageError, match=r"malformed database schema|list of tables is damaged"):
        load(path)


def test_a_list_of_tables_without_end(tmp_path: Path) -> None:
    """GIVEN 30,000 entries in 1 MB, where an export has 70 WHEN read THEN sqlite is stopped in their midst"""
    many = tuple(("table", f"t{number}", 2, f"CREATE TABLE t{number}(a)") for number in range(30_000))
    with pytest.raises(UsageError, match="its list of tables does not end"):
        load(export(tmp_path / "x.sqlite", schema=many))


def test_names_in_every_kind_of_quotes() -> None:
    """GIVEN names quoted as sqlite may keep them THEN each is what it says"""
    for written, name in (
        ('"a b"', "a b"), ('"a""b"', 'a"b'), ("'a''b'", "a'b"), ("`a``b`", "a`b"), ("[a b]", "a b"), ("a$1", "a$1"),
    ):  # fmt: skip
        made = sqlite_file._MADE.match(f"CREATE TABLE {written}(x)")
        assert made is not None
        assert sqlite_file._unquoted(made["name"]) == name


def test_views_and_indexes_of_ones_own_do_no_harm(tmp_path: Path) -> None:
    """GIVEN a user's view, and indexes of the very expressions that are read WHEN read THEN as without them"""
    path = export(
        tmp_path / "x.sqlite",
        "CREATE VIEW mine AS SELECT * FROM StringIds",
        f'CREATE INDEX i ON {KERNELS}(CASE typeof("start") WHEN \'integer\' THEN "start" ELSE 0 END)',
        f"CREATE INDEX j ON {KERNELS}(start DESC, end)",
        "CREATE TABLE 'odd name' (a)",
    )
    trace = load(path)
    assert (device_names(trace), trace.device.start.tolist(), len(trace.host)) == (["k"], [20], 2)


def test_many_ranges_of_one_long_registered_name(tmp_path: Path) -> None:
    """GIVEN 20,000 ranges of one name of 900 kB WHEN read THEN it is there once: written out they are 18 GB"""
    path = export(
        tmp_path / "x.sqlite",
        f"INSERT INTO StringIds VALUES (1000, '{LONG * 10}')",
        COUNT.format(20_000)
        + "INSERT INTO NVTX_EVENTS(start, end, eventType, textId) SELECT i, i + 1, 59, 1000 FROM n",
    )
    trace = load(path)
    assert len(trace.host) == 20_002
    assert sum(name.startswith("xxx") for name in trace.names) == 1


def test_one_id_for_many_strings(tmp_path: Path) -> None:
    """GIVEN 1,000 strings of one id, and as many ranges of it WHEN read THEN a range each, not a million"""
    path = export(
        tmp_path / "x.sqlite",
        "DROP TABLE StringIds",
        "CREATE TABLE StringIds (id, value)",
        COUNT.format(1000) + "INSERT INTO StringIds SELECT 5, 'n' || i FROM n",
        COUNT.format(1000) + "INSERT INTO NVTX_EVENTS(start, end, eventType, textId) SELECT i, i + 1, 59, 5 FROM n",
    )
    trace = load(path)
    assert len(trace.host) == 1002
    assert set(trace.host_names().tolist()) == {"a", "n1", "string 7"}


def test_a_whole_number_that_is_a_long_text_is_none(tmp_path: Path) -> None:
    path = export(tmp_path / "x.sqlite", f"UPDATE {KERNELS} SET streamId = '{LONG}', deviceId = x'00'")
    assert load(path).device.stream.tolist() == [-1]


def test_a_tree_that_leads_in_circles(tmp_path: Path) -> None:
    """GIVEN 12 pages that each lead 400 times to the next, 400^12 rows in 70 kB WHEN read THEN sqlite is stopped

    Page layout: https://www.sqlite.org/fileformat2.html#b_tree_pages
    """
    path = export(tmp_path / "x.sqlite")
    database = sqlite3.connect(path)
    [(root,)] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'NVTX_EVENTS'")
    [(size,)] = database.execute("PRAGMA page_size")
    database.close()
    data = bytearray(path.read_bytes())
    data += data[(root - 1) * size : root * size]  # the leaf
    for _ in range(12):
        child, cells = len(data) // size, 400
        page = bytearray(size)
        struct.pack_into(">BHHHBI", page, 0, 5, 0, cells, size - 5 * cells, 0, child)
        for cell in range(cells):
            place = size - 5 * (cell + 1)
            struct.pack_into(">H", page, 12 + 2 * cell, place)
            struct.pack_into(">IB", page, place, child, 1)
        data += page
    data[(root - 1) * size : root * size] = page
    struct.pack_into(">I", data, 28, len(data) // size)
    path.write_bytes(data)
    with pytest.raises(UsageError, match="NVTX_EVENTS has more rows than the file has room for"):
        load(path)


def test_cells_that_share_one_long_value(tmp_path: Path) -> None:
    """GIVEN 400 rows whose pointers all lead to one cell of 2 MB WHEN read THEN refused: that is 800 MB of 2"""
    path = tmp_path / "x.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE NVTX_EVENTS(start, end, eventType, text)")
    database.execute("INSERT INTO NVTX_EVENTS VALUES (1, 2, 59, ?)", ("x" * 2_000_000,))
    database.commit()
    [(root,)] = database.execute("SELECT rootpage FROM sqlite_master")
    [(size,)] = database.execute("PRAGMA page_size")
    database.close()
    data = bytearray(path.read_bytes())
    at = (root - 1) * size
    [cell] = struct.unpack_from(">H", data, at + 8)
    struct.pack_into(">H", data, at + 3, 400)
    for index in range(400):
        struct.pack_into(">H", data, at + 8 + 2 * index, cell)
    path.write_bytes(data)
    with pytest.raises(UsageError, match="NVTX_EVENTS has more text than the file has room for"):
        load(path)


def test_a_file_of_holes_has_the_room_of_what_is_in_it(tmp_path: Path) -> None:
    """GIVEN 1 TB of nothing on the disk WHEN asked for its room THEN it is little: 1 TB is no bound"""
    path = tmp_path / "x.sqlite"
    path.touch()
    os.truncate(path, 2**40)
    if path.stat().st_blocks * 512 > 2**30:
        pytest.skip("this file system stores holes")
    assert sqlite_file.room(path) <= 2**30


def test_damaged_counts_and_what_lies_beside(tmp_path: Path) -> None:
    """GIVEN wrong counts of pages, or journals that are none THEN one line, or the file as it is; never a hang"""
    path = export(tmp_path / "x.sqlite")
    sound = path.read_bytes()
    for count in (0x7FFFFFFF, 1):
        path.write_bytes(sound[:28] + struct.pack(">I", count) + sound[32:])
        with pytest.raises(UsageError, match="cannot be read"):
            load(path)
    path.write_bytes(sound)
    os.mkfifo(tmp_path / "x.sqlite-wal")
    (tmp_path / "x.sqlite-journal").mkdir()
    assert device_names(load(path)) == ["k"]
    (tmp_path / "x.sqlite-journal").rmdir()
    (tmp_path / "x.sqlite-wal").unlink()
    (tmp_path / "x.sqlite-wal").write_bytes(b"\xff" * 100_000)
    assert device_names(load(path)) == ["k"]


@pytest.mark.parametrize("content", list(Content))
def test_times_that_are_none(tmp_path: Path, content: Content) -> None:
    """GIVEN a kernel at -2^63, and one that ends at 2^63 - 1 WHEN read THEN they are counted and left out"""
    rows = NsysExport().range("a", 0, 50).kernel("k", 10, 20, None)
    rows.kernel("early", -(2**63), 20, None).kernel("late", 10, 2**63 - 1, None)
    rows.range("ever", 0, 2**63 - 1)
    trace = load(rows.write(tmp_path / "x.sqlite"), content=content)
    assert device_names(trace) == ["k"]
    expected = {KERNELS + NO_TIME: 2} | ({} if content is Content.KERNELS else {"NVTX_EVENTS" + NO_TIME: 1})
    assert trace.facts.ignored == expected


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"deviceId", b"device\x87d", "KERNEL has a column whose name is not text"),
        (b"CUPTI_ACTIVITY_KIND_KERNEL", b"CUPTI_ACTIVITY_KIND_K\x87RNEL", "its list of tables is damaged at 'CUPTI_"),
        (b"CREATE TABLE StringIds", b"CREATE TABLE \x87\x1b[31mIds", "malformed database schema"),
    ],
    ids=["column", "table", "sqlite's own words"],
)
def test_names_that_are_no_text(tmp_path: Path, old: bytes, new: bytes, complaint: str) -> None:
    """GIVEN a file whose list of tables is not UTF-8 WHEN read THEN one line that a terminal can show"""
    path = export(tmp_path / "x.sqlite")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    with pytest.raises(UsageError, match=complaint) as refused:
        load(path)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_texts_of_two_bytes_a_letter(tmp_path: Path, encoding: str) -> None:
    """GIVEN an export copied into a database of UTF-16, which nsys does not write WHEN read THEN refused: every name
    would have a zero byte behind each letter"""
    with sqlite3.connect(tmp_path / "x.sqlite") as database:
        database.execute(f"PRAGMA encoding = '{encoding}'")
        with sqlite3.connect(export(tmp_path / "plain.sqlite")) as plain:
            database.executescript("\n".join(plain.iterdump()))
    with pytest.raises(UsageError, match=f"its texts are {encoding}, but nsys writes UTF-8; export it again"):
        load(tmp_path / "x.sqlite")


@pytest.mark.parametrize(("kind", "what"), [("VIEW", "view"), ("TABLE", "")])
def test_names_in_small_letters(tmp_path: Path, kind: str, what: str) -> None:
    """GIVEN tables and columns in small letters, which are the same to sqlite, and a view in their place WHEN read
    THEN the tables are read, and the view is refused as in capitals"""
    tables = (KERNELS, "NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_RUNTIME", "StringIds")
    path = export(
        tmp_path / "x.sqlite",
        f'ALTER TABLE {KERNELS} RENAME COLUMN "deviceId" TO DEVICEID',
        f"UPDATE {KERNELS} SET deviceId = 3",
        *(f"ALTER TABLE {table} RENAME TO moved_{table}" for table in tables),
        *(f"CREATE {kind} {table.lower()} AS SELECT * FROM moved_{table}" for table in tables),
    )
    if what:
        with pytest.raises(UsageError, match="is a view, but nsys writes a plain table"):
            load(path)
    else:
        trace = load(path)
        assert (device_names(trace), trace.device.device.tolist(), len(trace.host)) == (["k"], [3], 2)


def test_a_trigger_on_a_table_in_small_letters(tmp_path: Path) -> None:
    path = export(
        tmp_path / "x.sqlite", "CREATE TRIGGER t AFTER INSERT ON nvtx_events BEGIN DELETE FROM StringIds; END"
    )
    with pytest.raises(UsageError, match="NVTX_EVENTS is a table with a trigger"):
        load(path)


def test_letters_that_only_look_alike_are_others(tmp_path: Path) -> None:
    """GIVEN a table with the Kelvin sign for its K, whose small letter is k, but not to sqlite THEN it is another"""
    alike = KERNELS.replace("_K", "_\u212a")
    trace = load(export(tmp_path / "x.sqlite", f"ALTER TABLE {KERNELS} RENAME TO {alike}"))
    assert (device_names(trace), len(trace.host)) == ([], 2)


# --- what lies beside ---------------------------------------------------------------------------------------------


def beside(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def with_changes(path: Path, mode: str) -> Path:
    """An export of 2,000 kernels, and a program that has deleted all but one and ended before they were."""
    export(path, COUNT.format(1999) + f"INSERT INTO {KERNELS} SELECT {KERNELS}.* FROM {KERNELS}, n")
    path.rename(path.with_name("open.sqlite"))
    with contextlib.closing(sqlite3.connect(path.with_name("open.sqlite"))) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute("PRAGMA cache_size = 1")
        database.execute(f"DELETE FROM {KERNELS} WHERE rowid > 1")
        if mode == "WAL":
            database.commit()
        for made in list(path.parent.iterdir()):
            shutil.copyfile(made, path.with_name(made.name.replace("open", path.stem)))
    for made in path.parent.glob("open*"):
        made.unlink()
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return path


@pytest.mark.parametrize("name", ["x.sqlite", "link.sqlite"])
def test_changes_in_a_file_beside_are_read_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    """GIVEN an export whose last change is still in x.sqlite-wal WHEN read, by a link too THEN the change is there, and
    the folder is as it was"""
    with_changes(tmp_path / "x.sqlite", "WAL")
    (tmp_path / "link.sqlite").symlink_to("x.sqlite")
    before = beside(tmp_path)
    assert len(before["x.sqlite-wal"]) > 0
    assert device_names(load(tmp_path / name)) == ["k"]
    assert beside(tmp_path) == before


def test_changes_of_a_program_that_is_still_there(tmp_path: Path) -> None:
    path = export(tmp_path / "x.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"UPDATE {KERNELS} SET deviceId = 5")
        database.commit()
        before = beside(tmp_path)
        assert load(path).device.device.tolist() == [5]
        assert beside(tmp_path) == before


def test_half_a_change_is_not_taken_back(tmp_path: Path) -> None:
    """GIVEN an export in the midst of a change WHEN read THEN one line says so, and the folder is as it was"""
    path = with_changes(tmp_path / "x.sqlite", "DELETE")
    before = beside(tmp_path)
    assert len(before["x.sqlite-journal"]) > 0
    with pytest.raises(UsageError, match="try again when no program writes to it"):
        load(path)
    assert beside(tmp_path) == before


def test_files_too_large_to_copy(tmp_path: Path) -> None:
    """GIVEN changes beside a file of more than is copied WHEN read THEN one line says how to put them into it"""
    path = with_changes(tmp_path / "x.sqlite", "WAL")
    size = sum(len(content) for content in beside(tmp_path).values())
    with readable(path, most_copied=size) as address:
        assert KERNELS.lower() in contents(address)
    refused = pytest.raises(UsageError, match=r"x.sqlite-wal holds .* run sqlite3 x.sqlite 'PRAGMA wal_checkpoint")
    with refused, readable(path, most_copied=size - 1):
        pass


def test_a_file_that_is_written_to_while_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a program that puts its changes into the file while that is copied WHEN read THEN one line says so: half of
    the copy is of before"""
    path = with_changes(tmp_path / "x.sqlite", "WAL")
    copied = shutil.copyfile

    def copy_and_write(source: Path, target: Path) -> None:
        copied(source, target)
        os.utime(path, ns=(0, 0))

    monkeypatch.setattr(shutil, "copyfile", copy_and_write)
    with pytest.raises(UsageError, match="changed while it was read: try again when no program writes to it"):
        load(path)


def test_an_empty_file_beside_holds_no_changes(tmp_path: Path) -> None:
    path = export(tmp_path / "x.sqlite")
    (tmp_path / "x.sqlite-wal").touch()
    with readable(path, most_copied=0) as address:
        assert address.startswith(path.as_uri())
    assert device_names(load(path)) == ["k"]
