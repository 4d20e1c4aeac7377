"""Who is below whom, by a /proc made by hand; what the keeper does to processes is tested in test_processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perfkit.launch import keeper


def test_the_command_line_names_this_process_its_grace_and_the_command():
    assert keeper.kept(["nsys", "profile"], 5.0) == [
        sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), "5.0", "nsys", "profile",
    ]  # fmt: skip
    assert keeper.kept(["a"])[5:] == ["0.0", "a"]


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /proc."""
    monkeypatch.setattr(keeper, "Path", lambda _: tmp_path)
    return tmp_path


def living(proc: Path, pid: int, parent: int, state: str = "S", name: str = "sh") -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} {parent} 7 7 0 -1\n")


def test_the_living_and_their_parents(proc):
    """GIVEN processes of any name, zombies, one that ended meanwhile, and what is no process"""
    living(proc, 10, 1)
    living(proc, 11, 10, "R", "a) Z 99 (b")
    living(proc, 12, 10, "Z")
    living(proc, 13, 10, "X")
    living(proc, 14, 11, "D", "")
    (proc / "15").mkdir()
    (proc / "self").mkdir()
    (proc / "self" / "stat").write_text("16 (sh) S 10 7\n")
    assert sorted(keeper._parents()) == [(10, 1), (11, 10), (14, 11)]


def test_descendants_are_those_of_any_depth_and_nobody_else(proc):
    for pid, parent in ((2, 1), (3, 2), (4, 2), (5, 3), (6, 5), (7, 1), (8, 7)):
        living(proc, pid, parent)
    assert sorted(keeper._descendants(2)) == [3, 4, 5, 6]
    assert sorted(keeper._descendants(7)) == [8]
    assert keeper._descendants(6) == []


def test_all_that_is_left_is_killed_until_none_is(monkeypatch):
    """GIVEN one that is gone already, one that lives on, and one that is born meanwhile THEN rounds go on"""
    rounds = [[4, 5], [5, 6], []]
    killed: list[int] = []

    def kill(pid: int, _: int) -> None:
        killed.append(pid)
        if pid == 4:
            raise ProcessLookupError

    monkeypatch.setattr(keeper, "_descendants", lambda _: rounds.pop(0))
    monkeypatch.setattr(keeper, "_ROUND_S", 0)
    monkeypatch.setattr(keeper, "_reap", lambda: None)
    monkeypatch.setattr(keeper.os, "kill", kill)
    keeper._kill_descendants()
    assert (killed, rounds) == ([4, 5, 5, 6], [])


@pytest.mark.parametrize(("grace_s", "looks"), [(0.0, 0), (1000.0, 3)])
def test_what_a_command_leaves_has_its_grace_and_no_longer_than_it_needs(monkeypatch, grace_s, looks):
    left, seen = [[4], [4], []], []

    def look(_: int) -> list[int]:
        seen.append(1)
        return left.pop(0)

    monkeypatch.setattr(keeper, "_descendants", look)
    monkeypatch.setattr(keeper, "_ROUND_S", 0)
    monkeypatch.setattr(keeper, "_reap", lambda: None)
    keeper._wait_for_the_rest(grace_s)
    assert len(seen) == looks


def test_a_keeper_whose_parent_is_gone_runs_nothing(tmp_path):
    """GIVEN another parent than the one that asked THEN exit 1, and the command does not run"""
    ran = tmp_path / "ran"
    command = [sys.executable, "-I", "-S", keeper.__file__, "1", "0.0", "touch", str(ran)]
    assert subprocess.run(command, timeout=100, check=False).returncode == 1
    assert not ran.exists()


def test_told_to_end_it_ends_all_that_is_below_and_says_by_what():
    """GIVEN a command WHEN the keeper gets its signal THEN both end, by 128 + its number, and no zombie is left"""
    command = keeper.kept(["sh", "-c", "echo $$; exec sleep 1000"])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        process.send_signal(keeper.END)
        assert process.wait(100) == 128 + keeper.END
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_child_whose_keeper_is_gone_becomes_nothing():
    """GIVEN the number of a keeper that is not its parent THEN exit 1, not the 7 of the command"""
    child = os.fork()
    if child == 0:
        keeper._become(["sh", "-c", "exit 7"], ctypes.CDLL(None), -1, [])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_what_a_command_leaves_may_end_within_the_grace(tmp_path):
    """GIVEN a command that ends at once, by 3, and leaves one that writes a file THEN the keeper waits for that one"""
    written = tmp_path / "written"
    command = keeper.kept(["sh", "-c", f"(sleep 0.3; touch {written}) & exit 3"], 100.0)
    assert subprocess.run(command, timeout=200, check=False).returncode == 3
    assert written.exists()
