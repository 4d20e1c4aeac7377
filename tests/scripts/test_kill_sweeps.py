"""A short run of scripts/kill-sweeps, and that it sees what it is there to see."""

from __future__ import annotations

import random
import re
import subprocess
import time
from pathlib import Path
from typing import IO, Any

import pytest

from scripts import kill_sweeps
from scripts.kill_sweeps import Broken

QUICK = (*kill_sweeps.GRID[:-2], "--repeats", "1")


class Sweep(subprocess.Popen):
    """Has had its time when it has announced a result, however long that takes on this machine."""

    def __init__(self, command: list[str], *, stderr: IO[bytes], **options: Any) -> None:
        super().__init__(command, stderr=stderr, **options)
        self.said = Path(stderr.name)

    def wait(self, timeout: float | None = None) -> int:
        if timeout is None:
            return super().wait()
        while self.poll() is None:
            if re.search(r"^\[\d/4\] ", self.said.read_text(), re.MULTILINE):
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.02)
        return self.returncode


@pytest.mark.slow
def test_two_killed_sweeps_lose_nothing(tmp_path, monkeypatch, capsys):
    """GIVEN a sweep of four points WHEN it is killed twice THEN --resume completes it, each point once

    Where it comes to its end before this process sees its result, there is another one for the second.
    """
    monkeypatch.setattr(kill_sweeps.subprocess, "Popen", Sweep)
    monkeypatch.setattr(kill_sweeps, "GRID", QUICK)
    monkeypatch.setattr(kill_sweeps, "RESULTS", 4)
    monkeypatch.setattr(kill_sweeps, "GONE_S", 120.0)  # on the busiest machine; only a failure waits for it
    kill_sweeps.torment(tmp_path, 2, random.Random(5), longest_s=1.0)
    said = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"2 kills, \d sweeps: no result lost, none twice, no process left", said)


def test_a_process_that_is_left_is_found(tmp_path, monkeypatch):
    # GIVEN
    monkeypatch.setattr(kill_sweeps, "GONE_S", 0.1)
    output = tmp_path / "sweep-0.csv"
    child = subprocess.Popen(["sh", "-c", "echo; read line", "sh", str(output)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()  # only now is its command line sure to be there

    # WHEN / THEN
    with child, pytest.raises(Broken, match="processes are left"):
        kill_sweeps._check(output, [], [], announced=0)


def test_a_lost_result_is_found(tmp_path):
    with pytest.raises(Broken, match="1 results were announced, and 0 are new"):
        kill_sweeps._check(tmp_path / "sweep-0.csv", [], [], announced=1)
