"""A short run of scripts/kill-sweeps, and that it sees what it is there to see."""

from __future__ import annotations

import random
import re
import subprocess

import pytest

from scripts import kill_sweeps
from scripts.kill_sweeps import Broken

QUICK = (*kill_sweeps.GRID[:-2], "--repeats", "1")


@pytest.mark.slow
def test_two_killed_sweeps_lose_nothing(tmp_path, monkeypatch, capsys):
    """GIVEN a sweep of four points WHEN it is killed twice THEN --resume completes it, each point once

    Where it comes to its end between the kills, there is another one for the second.
    """
    monkeypatch.setattr(kill_sweeps, "GRID", QUICK)
    monkeypatch.setattr(kill_sweeps, "RESULTS", 4)
    monkeypatch.setattr(kill_sweeps, "GONE_S", 120.0)  # on the busiest machine; only a failure waits for it
    kill_sweeps.torment(tmp_path, 2, random.Random(5), longest_s=6.0)
    said = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"2 kills, [12] sweeps: no result lost, none twice, no process left", said)


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
