"""What torchrun says of a process, and what is refused with and without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from perfkit.errors import UsageError
from perfkit.launch import torchrun
from perfkit.launch.torchrun import Place
from perfkit.schema.config import RunConfig

BY_TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "here", "MASTER_PORT": "1",
}  # fmt: skip
DDP = RunConfig.of(parallel="ddp")


def test_the_place_of_a_rank():
    place = torchrun.place_of(DDP, BY_TORCHRUN)
    assert place == Place(rank=3, ranks=8, local_rank=1, on_machine=2)
    assert not place.is_first


def test_a_job_needs_torchrun_and_the_command_is_said():
    with pytest.raises(UsageError, match="needs torchrun, which starts the processes: torchrun --nproc-per-node 2 -m "):
        torchrun.place_of(DDP, {})


def test_torchrun_without_a_job_would_measure_each_process_alone():
    with pytest.raises(UsageError, match="started 8 processes, and without --parallel each would measure alone"):
        torchrun.place_of(RunConfig(), BY_TORCHRUN)
    assert torchrun.place_of(RunConfig(), BY_TORCHRUN | {"WORLD_SIZE": "1"}) is None
    assert torchrun.place_of(RunConfig(), {}) is None


def test_what_starts_processes_itself_refuses_a_job():
    with pytest.raises(UsageError, match="--repeats starts its processes itself, and --parallel ddp needs torchrun"):
        torchrun.refuse(DDP, "--repeats")
    with pytest.raises(UsageError, match="an estimate knows one process: leave out --parallel ddp"):
        torchrun.refuse_estimate(DDP)
    torchrun.refuse(RunConfig(), "--repeats")
    torchrun.refuse_estimate(RunConfig())


def test_the_command_that_starts_ranks_starts_so_many(tmp_path):
    """GIVEN a program that says its rank WHEN started for two THEN it is started as 0 and as 1, of 2"""
    program = tmp_path / "said.py"
    program.write_text("import os, sys\nopen(sys.argv[1] + os.environ['RANK'], 'w').write(os.environ['WORLD_SIZE'])\n")
    subprocess.run([*torchrun.command(2), sys.executable, program, tmp_path / "rank"], check=True, timeout=120)
    assert {file.name: file.read_text() for file in tmp_path.glob("rank*")} == {"rank0": "2", "rank1": "2"}
