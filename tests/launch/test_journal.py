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
        UsageError, match=r"r\.csv, line 5: a second result of k, repeat 2; drop one; choose another --output"
    ):
        Journal(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == WHOLE + LINES[1]


@pytest.mark.parametrize("before", [WHOLE, "another version\n1\n", ""])
def test_a_file_is_begun_anew_whatever_is_in_it(tmp_path, before):
    (tmp_path / "r.csv").write_text(before)
    with Journal(tmp_path / "r.csv", anew=True) as journal:
        assert journal.rows == []
        assert (tmp_path / "r.csv").read_text() == HEADER
        with pytest.raises(UsageError, match="another sweep is writing it"):
            Journal(tmp_path / "r.csv", anew=True)


def test_a_file_that_was_replaced_while_it_was_opened_is_in_use(tmp_path, monkeypatch):
    """GIVEN a sweep that rewrites the file between another's opening and locking THEN the other does not write"""
    write(tmp_path / "r.csv", ROWS)
    lock = Journal._lock

    def late(journal):
        (tmp_path / "new.csv").write_text(WHOLE)
        (tmp_path / "new.csv").replace(tmp_path / "r.csv")
        lock(journal)

    monkeypatch.setattr(Journal, "_lock", late)
    with pytest.raises(UsageError, match="another sweep is writing it"):
        Journal(tmp_path / "r.csv")


@pytest.mark.parametrize(("content", "results"), [(None, False), ("", False), (HEADER[:9], False), (HEADER, False),
                                                  (HEADER + "1", True), (WHOLE, True), ("my notes", True)])  # fmt: skip
def test_a_header_alone_is_no_result(tmp_path, content, results):
    if content is not None:
        (tmp_path / "r.csv").write_text(content)
    assert has_results(tmp_path / "r.csv") is results


@pytest.mark.parametrize("tail", ["\0" * 40, "\0" * 40 + "\n", "1,k,3,fre\0\0\0\0\n"])
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
        (HEADER + LINES[0].replace("1,", "2,", 1), "results of version 2, and this perfkit writes version 1"),
        (HEADER.replace(",mean_s", ",mean_ms") + LINES[0], r"other columns .*\(mean_ms, mean_s\)"),
        (HEADER + "1,k\n" + LINES[0], "line 2: 2 values"),
    ],
)
def test_a_strange_file_is_refused_and_left_alone(tmp_path, text, complaint):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(UsageError, match=complaint):
        Journal(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == text


def test_rows_that_are_not_kept_leave_the_file(tmp_path):
    write(tmp_path / "r.csv", [dataclasses.replace(ROWS[0], outcome="error"), *ROWS[1:]])
    with Journal(tmp_path / "r.csv", keep=lambda row: row.outcome == "ok") as journal:
        journal.append(ROWS[0])
    assert (tmp_path / "r.csv").read_text() == HEADER + LINES[1] + LINES[2] + LINES[0]
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_two_sweeps_do_not_share_a_file(tmp_path):
    with Journal(tmp_path / "r.csv"), pytest.raises(UsageError, match="another sweep is writing it"):
        Journal(tmp_path / "r.csv")
    write(tmp_path / "r.csv", ROWS)  # the first has let go


def test_a_row_that_does_not_fit_leaves_no_half(tmp_path, monkeypatch):
    """GIVEN a disk that is full when the row is synced WHEN appending THEN the file is as before"""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(tmp_path / "r.csv") as journal:
        journal.append(ROWS[0])
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"No space left on device; 1 results are in it: .* --resume"):
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
        write(small_disk / "r.csv", [dataclasses.replace(ROWS[0], repeat=number) for number in range(100)])

    # THEN
    with Journal(small_disk / "r.csv") as journal:
        assert len(journal.rows) > 10
        assert [row.repeat for row in journal.rows] == list(range(len(journal.rows)))


def test_a_full_disk_takes_no_new_file(small_disk):
    (small_disk / "filler").write_bytes(bytes(8192))
    with pytest.raises(UsageError, match=r"r.csv: cannot be written: No space left on device; choose another --output"):
        Journal(small_disk / "r.csv")


def test_a_signal_while_a_file_is_rewritten_leaves_no_draft(tmp_path, monkeypatch):
    # GIVEN
    write(tmp_path / "r.csv", ROWS)
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGTERM))

    # WHEN
    with signals.installed(), signals.raised(), pytest.raises(signals.Interrupted):
        Journal(tmp_path / "r.csv", keep=lambda row: row.repeat != 2)

    # THEN
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert (tmp_path / "r.csv").read_text() == HEADER + LINES[0] + LINES[2]
