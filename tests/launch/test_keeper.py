"""Who is below whom, by a /proc made by hand; what the keeper does to processes is tested in test_processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perfkit.launch import keeper
from perfkit.launch.keeper import Processes


def test_the_command_line_names_this_process_its_grace_and_the_command():
    assert keeper.kept(["nsys", "profile"], 5.0) == [
        sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), "5.0", "nsys", "profile",
    ]  # fmt: skip
    assert keeper.kept(["a"])[5:] == ["0.0", "a"]


def living(proc: Path, pid: int, parent: int, state: str = "S", name: str = "sh") -> None:
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {state} {parent} 7 7 0 -1\n")


def test_the_living_and_their_parents(tmp_path):
    """GIVEN processes of any name, zombies, one that ended meanwhile, and what is no process"""
    living(tmp_path, 10, 1)
    living(tmp_path, 11, 10, "R", "a) Z 99 (b")
    living(tmp_path, 12, 10, "Z")
    living(tmp_path, 13, 10, "X")
    living(tmp_path, 14, 11, "D", "")
    (tmp_path / "15").mkdir()
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").write_text("16 (sh) S 10 7\n")
    assert sorted(Processes(tmp_path).parents()) == [(10, 1), (11, 10), (14, 11)]


def test_descendants_are_those_of_any_depth_and_nobody_else(tmp_path):
    for pid, parent in ((2, 1), (3, 2), (4, 2), (5, 3), (6, 5), (7, 1), (8, 7)):
        living(tmp_path, pid, parent)
    assert sorted(Processes(tmp_path).below(2)) == [3, 4, 5, 6]
    assert sorted(Processes(tmp_path).below(7)) == [8]
    assert Processes(tmp_path).below(6) == []


class Paper(Processes):
    """Processes that are not there: what is below is asked for round by round."""

    def __init__(self, *rounds: list[int]) -> None:
        super().__init__()
        self.rounds = [*rounds]
        self.killed: list[int] = []

    def below(self, ancestor: int) -> list[int]:
        assert ancestor == os.getpid()
        return self.rounds.pop(0)

    def kill(self, pid: int) -> None:
        self.killed.append(pid)

    def reap(self) -> None:
        pass


def test_all_that_is_left_is_killed_until_none_is():
    """GIVEN one that lives on, and one that is born meanwhile THEN rounds go on"""
    processes = Paper([4, 5], [5, 6], [])
    keeper._kill_descendants(processes)
    assert (processes.killed, processes.rounds) == ([4, 5, 5, 6], [])


def test_one_that_has_ended_already_is_no_error():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    Processes().kill(process.pid)


@pytest.mark.parametrize(("grace_s", "left"), [(0.0, 3), (1000.0, 0)])
def test_what_a_command_leaves_has_its_grace_and_no_longer_than_it_needs(grace_s, left):
    processes = Paper([4], [4], [])
    keeper._wait_for_the_rest(grace_s, processes)
    assert len(processes.rounds) == left


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
