"""Results files in every state that a crash, a full disk or a stranger can leave them in."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.launch.journal import Journal, has_results
from perfkit.schema import sweep
from perfkit.schema.sweep import SweepRow
from tests import runs

ROWS = [
    SweepRow(key="k", repeat=n, isolation="fresh", outcome="ok", config=runs.quick(), mean_s=0.5) for n in (1, 2, 3)
]
HEADER = sweep.header_line()
LINES = [sweep.to_line(row) for row in ROWS]
WHOLE = HEADER + "".join(LINES)


def write(path: Path, rows: list[SweepRow]) -> None:
    with Journal(path) as journal:
        for row in rows:
            journal.append(row)


def test_rows_are_lines_and_come_back(tmp_path):
    # WHEN
    write(tmp_path / "r.csv", ROWS[:2])
    write(tmp_path / "r.csv", ROWS[2:])

    # THEN
    assert (tmp_path / "r.csv").read_text() == WHOLE
    with Journal(tmp_path / "r.csv") as journal:
        assert journal.rows == ROWS


def test_each_row_is_on_the_disk_before_append_returns(tmp_path, monkeypatch):
    # GIVEN
    synced = []

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path.read_text() if path.is_file() else "folder")

    monkeypatch.setattr(os, "fsync", note)

    # WHEN
    write(tmp_path / "r.csv", ROWS[:2])

    # THEN: the header under its draft name, then the name, then each row
    assert synced == [HEADER, "folder", HEADER + LINES[0], HEADER + LINES[0] + LINES[1]]


@pytest.mark.parametrize("cut", [1, 20, len(LINES[2]) // 2, len(LINES[2]) - 1])
def test_a_torn_last_line_is_cut_off(tmp_path, cut):
    # GIVEN
    (tmp_path / "r.csv").write_text(WHOLE[: len(WHOLE) - len(LINES[2]) + cut])

    # WHEN / THEN
    with Journal(tmp_path / "r.csv") as journal:
        assert journal.rows == ROWS[:2]
        journal.append(ROWS[2])
    assert (tmp_path / "r.csv").read_text() == WHOLE


def test_a_result_that_is_there_twice_is_refused(tmp_path):
    (tmp_path / "r.csv").write_text(WHOLE + LINES[1])
    with pytest.raises(
        UsageError,
        match=r"r\.csv, line 5: a second result of k, repeat 2: repair or remove the line, or choose another --output",
    ):
        Journal(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == WHOLE + LINES[1]


@pytest.mark.parametrize("before", [WHOLE, "another version\n1\n", ""])
def test_a_file_is_begun_anew_whatever_is_in_it(tmp_path, before):
    (tmp_path / "r.csv").write_text(before)
    with Journal(tmp_path / "r.csv", anew=True) as journal:
        assert journal.rows == []
        assert (tmp_path / "r.csv").read_text() == HEADER
        with pytest.raises(UsageError, match="another perfkit is writing to it"):
            Journal(tmp_path / "r.csv", anew=True)


def test_a_file_that_was_replaced_while_it_was_opened_is_in_use(tmp_path):
    """GIVEN a sweep that rewrites the file between another's opening and locking THEN the other does not write"""
    write(tmp_path / "r.csv", ROWS)

    class Late(Journal):
        def _lock(self) -> None:
            (tmp_path / "new.csv").write_text(WHOLE)
            (tmp_path / "new.csv").replace(tmp_path / "r.csv")
            super()._lock()

    with pytest.raises(UsageError, match="another perfkit is writing to it"):
        Late(tmp_path / "r.csv")


def test_a_file_that_was_removed_while_it_was_opened_is_in_use(tmp_path):
    """GIVEN a file that is gone between opening and locking THEN no row is written where nobody finds it"""
    write(tmp_path / "r.csv", ROWS)

    class Late(Journal):
        def _lock(self) -> None:
            (tmp_path / "r.csv").unlink()
            super()._lock()

    with pytest.raises(UsageError, match="another perfkit is writing to it"):
        Late(tmp_path / "r.csv")
    assert not (tmp_path / "r.csv").exists()


@pytest.mark.parametrize("change", [lambda text: text + " ", lambda text: text[:-1]])
def test_one_byte_more_or_less_is_a_change_by_another_program(tmp_path, change):
    with Journal(tmp_path / "r.csv") as journal:
        journal.append(ROWS[0])
        (tmp_path / "r.csv").write_text(changed := change(HEADER + LINES[0]))
        with pytest.raises(UsageError, match=r"check its results .1 so far"):
            journal.append(ROWS[1])
        assert journal.rows == ROWS[:1]
    assert (tmp_path / "r.csv").read_text() == changed


@pytest.mark.parametrize(("text", "torn"), [("", False), (HEADER, False), (HEADER + LINES[0], False),
                                            (HEADER + LINES[0] + "2", True)])  # fmt: skip
def test_a_journal_says_whether_a_line_was_cut_short(tmp_path, text, torn):
    (tmp_path / "r.csv").write_text(text)
    with Journal(tmp_path / "r.csv") as journal:
        assert journal.torn is torn


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be written: Is a directory; choose another --output"):
        Journal(tmp_path)
    assert has_results(tmp_path)  # something is there, whatever it is


def test_a_file_that_was_closed_after_a_refusal_is_free(tmp_path):
    (tmp_path / "r.csv").write_text("notes\n")
    with pytest.raises(UsageError, match="not the results"):
        Journal(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text(WHOLE)
    with Journal(tmp_path / "r.csv") as journal:
        assert journal.rows == ROWS


@pytest.mark.parametrize(("content", "results"), [(None, False), ("", False), (HEADER[:9], False), (HEADER, False),
                                                  (HEADER + "1", True), (WHOLE, True), ("my notes", True)])  # fmt: skip
def test_a_header_alone_is_no_result(tmp_path, content, results):
    if content is not None:
        (tmp_path / "r.csv").write_text(content)
    assert has_results(tmp_path / "r.csv") is results


@pytest.mark.parametrize("tail", ["\0" * 40, "\0" * 40 + "\n", "2,k,3,fre\0\0\0\0\n"])
def test_what_a_power_cut_leaves_at_the_end_is_cut_off(tmp_path, tail):
    (tmp_path / "r.csv").write_text(HEADER + LINES[0] + tail)
    with Journal(tmp_path / "r.csv") as journal:
        assert journal.rows == ROWS[:1]
    assert (tmp_path / "r.csv").read_text() == HEADER + LINES[0]


@pytest.mark.parametrize("text", ["", HEADER[:1], HEADER[:-1], HEADER])
def test_a_file_with_no_rows_yet_is_begun(tmp_path, text):
    (tmp_path / "r.csv").write_text(text)
    write(tmp_path / "r.csv", ROWS)
    assert (tmp_path / "r.csv").read_text() == WHOLE


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("size,mean_s\nsmall,1\n", "not the results of a perfkit sweep"),
        ("hello", "not the results of a perfkit sweep"),
        (HEADER + LINES[0].replace("2,", "3,", 1), "results of version 3, and this perfkit reads up to 2: upgrade"),
        (HEADER + "2,k\n" + LINES[0], "line 2: 2 values"),
        (HEADER + LINES[0] + "2,k\n", "line 3: 2 values"),
        (HEADER + LINES[0] + LINES[1].replace("fresh,ok", "fresh,fine"), "line 3: column outcome holds 'fine'"),
    ],
)
def test_a_strange_file_is_refused_and_left_alone(tmp_path, text, complaint):
    """GIVEN a file of which anything is not understood WHEN resuming THEN no byte of it changes"""
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(UsageError, match=complaint):
        Journal(tmp_path / "r.csv", keep=lambda row: False)
    assert (tmp_path / "r.csv").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


EXTENDED = HEADER.rstrip("\n") + ",note\n" + "".join(f"{line.rstrip()},my note {n}\n" for n, line in enumerate(LINES))


def test_columns_of_others_stay(tmp_path):
    """GIVEN a column that this version does not know WHEN rows are appended and dropped THEN none of it is lost"""
    # GIVEN
    (tmp_path / "r.csv").write_text(EXTENDED)

    # WHEN
    with Journal(tmp_path / "r.csv", keep=lambda row: row.repeat != 2) as journal:
        assert journal.rows == [ROWS[0], ROWS[2]]
        journal.append(ROWS[1])

    # THEN
    header, first, _, third = EXTENDED.splitlines(keepends=True)
    assert (tmp_path / "r.csv").read_text() == header + first + third + LINES[1].rstrip() + ",\n"


def without(text: str, column: str) -> str:
    """The file before a version that added this column."""
    table = [line.split(",") for line in text.splitlines()]
    place = table[0].index(column)
    return "".join(",".join(cells[:place] + cells[place + 1 :]) + "\n" for cells in table)


@pytest.mark.parametrize("column", ["seed", "gc", "median_s", "record", "sweep_version"])
def test_a_file_without_a_column_of_this_version_gets_it(tmp_path, column):
    """GIVEN results from before a column was there WHEN resuming THEN it comes last, empty in what was there"""
    # GIVEN
    old = without(HEADER + LINES[0], column)
    (tmp_path / "r.csv").write_text(old)
    new = dataclasses.replace(ROWS[1], config=ROWS[1].config.changed(seed=7, gc="on"), median_s=0.25)

    # WHEN
    with Journal(tmp_path / "r.csv") as journal:
        [found] = journal.rows
        journal.append(new)

    # THEN
    assert found == dataclasses.replace(ROWS[0], sweep_version=1 if column == "sweep_version" else 2)
    lines = (tmp_path / "r.csv").read_text().splitlines()
    assert lines[0] == old.splitlines()[0] + f",{column}"
    assert lines[1] == old.splitlines()[1] + ","
    with Journal(tmp_path / "r.csv") as journal:
        assert journal.rows == [found, new]
    assert (tmp_path / "r.csv").read_text().splitlines() == lines
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_results_of_version_1_are_continued_and_stay_as_they_are(tmp_path):
    """GIVEN a file of version 1, without eleven later columns WHEN rows are added THEN its lines end in empty cells
    and are else as they were; each row says its version"""
    old = (Path(__file__).parents[1] / "fixtures" / "sweep_v1.csv").read_bytes()
    (tmp_path / "r.csv").write_bytes(old)
    write(tmp_path / "r.csv", [dataclasses.replace(ROWS[0], message="=1")])
    header, *lines = old.splitlines()
    kept = (tmp_path / "r.csv").read_bytes().splitlines()
    later = (
        b",model,model_arg,input,input_arg,apply,compile_mode,checkpoint_every,checkpoint_nested,parallel,max_s"
        b",tensor_bytes"
    )
    assert kept[: len(lines) + 1] == [header + later, *(line + 11 * b"," for line in lines)]
    with Journal(tmp_path / "r.csv") as journal:
        assert [row.sweep_version for row in journal.rows] == [1, 1, 1, 2]
        assert [row.message for row in journal.rows[2:]] == ["=1+1 is what it said", "=1"]


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_text(WHOLE),
                                    lambda path: path.with_name("new").rename(path)])  # fmt: skip
def test_a_file_that_another_program_changed_takes_no_more_rows(tmp_path, change):
    """GIVEN a file that is removed, rewritten or replaced during the sweep THEN the next row is not written blindly"""
    (tmp_path / "new").write_text(WHOLE)
    with Journal(tmp_path / "r.csv") as journal:
        journal.append(ROWS[0])
        change(tmp_path / "r.csv")
        with pytest.raises(UsageError, match=r"r\.csv: another program has changed or replaced it meanwhile"):
            journal.append(ROWS[1])
    assert not (tmp_path / "r.csv").exists() or (tmp_path / "r.csv").read_text() == WHOLE


def test_a_link_to_the_file_stays_one(tmp_path):
    (tmp_path / "real.csv").write_text(without(HEADER + LINES[0], "gc"))
    (tmp_path / "r.csv").symlink_to("real.csv")
    write(tmp_path / "r.csv", ROWS[1:2])
    assert (tmp_path / "r.csv").is_symlink()
    assert len((tmp_path / "real.csv").read_text().splitlines()) == 3


def test_the_draft_of_a_rewrite_follows_no_link(tmp_path):
    """GIVEN a link where the draft goes WHEN the file is rewritten THEN what the link points to is as it was"""
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / ".r.csv.part").symlink_to("mine.txt")
    (tmp_path / "r.csv").write_text(without(HEADER + LINES[0], "gc"))
    write(tmp_path / "r.csv", ROWS[1:2])
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_rewrite_lets_no_second_sweep_in(tmp_path):
    """GIVEN a file that is rewritten WHEN another sweep opens it just before the new one is in its place THEN not"""
    # GIVEN
    (tmp_path / "r.csv").write_text(without(HEADER + LINES[0], "gc"))
    refused = []

    class Watched(Journal):
        def _write(self, data: bytes) -> None:
            super()._write(data)
            with pytest.raises(UsageError, match="another perfkit is writing to it") as error:
                Journal(tmp_path / "r.csv")
            refused.append(error)

    # WHEN / THEN
    with Watched(tmp_path / "r.csv"):
        assert len(refused) == 1


def test_rows_that_are_not_kept_leave_the_file(tmp_path):
    write(tmp_path / "r.csv", [dataclasses.replace(ROWS[0], outcome="error"), *ROWS[1:]])
    with Journal(tmp_path / "r.csv", keep=lambda row: row.outcome == "ok") as journal:
        journal.append(ROWS[0])
    assert (tmp_path / "r.csv").read_text() == HEADER + LINES[1] + LINES[2] + LINES[0]
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_two_sweeps_do_not_share_a_file(tmp_path):
    with Journal(tmp_path / "r.csv"), pytest.raises(UsageError, match="another perfkit is writing to it"):
        Journal(tmp_path / "r.csv")
    write(tmp_path / "r.csv", ROWS)  # the first has let go


def test_a_row_that_does_not_fit_leaves_no_half(tmp_path):
    """GIVEN a disk that is full when the row is synced WHEN appending THEN the file is as before"""

    class Full(Journal):
        is_full = False

        def _write(self, data: bytes) -> None:
            super()._write(data)
            if self.is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Full(tmp_path / "r.csv")
    with journal:
        journal.append(ROWS[0])
        journal.is_full = True
        with pytest.raises(UsageError, match=r"No space left on device; results saved in it: 1; .* --resume"):
            journal.append(ROWS[1])
    assert (tmp_path / "r.csv").read_text() == HEADER + LINES[0]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 KiB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_keeps_what_was_there(small_disk):
    # WHEN
    with pytest.raises(UsageError, match="No space left on device"):
        write(small_disk / "r.csv", [dataclasses.replace(ROWS[0], repeat=number) for number in range(1, 100)])

    # THEN
    with Journal(small_disk / "r.csv") as journal:
        assert len(journal.rows) > 10
        assert [row.repeat for row in journal.rows] == list(range(1, len(journal.rows) + 1))


def test_a_full_disk_takes_no_new_file(small_disk):
    (small_disk / "filler").write_bytes(bytes(8192))
    with pytest.raises(UsageError, match=r"r.csv: cannot be written: No space left on device; choose another --output"):
        Journal(small_disk / "r.csv")


def test_a_signal_while_a_file_is_rewritten_leaves_no_draft(tmp_path):
    # GIVEN
    class Signalled(Journal):
        def _write(self, data: bytes) -> None:
            super()._write(data)
            os.kill(os.getpid(), signal.SIGTERM)

    write(tmp_path / "r.csv", ROWS)

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        Signalled(tmp_path / "r.csv", keep=lambda row: row.repeat != 2)

    # THEN
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert (tmp_path / "r.csv").read_text() == HEADER + LINES[0] + LINES[2]
