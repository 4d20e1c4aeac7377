"""Jobs of two ranks, from torchrun to what is said of them."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from perfkit.cli import main
from perfkit.commands.processes import job
from perfkit.errors import OutOfMemoryError, UsageError
from perfkit.launch.torchrun import Place
from perfkit.schema import record as records
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Failure, RunRecord
from tests.commands.processes.ranks import torchrun
from tests.reference.test_ranks import assert_equal_files
from tests.runs import QUICK, saved

STEPS = 3
SLEEP_S = 0.5

SLOW = f"""
import sys, time
from perfkit.cli import main
from perfkit.commands.run import Doing, _run_here
from perfkit.measure.loop import Observer
import torch.distributed as dist

class Sleeps(Observer):
    def phase(self, name):
        if name == "backward" and dist.get_rank() == 1:
            time.sleep({SLEEP_S})

def run(config, folder, observers):
    return _run_here(config, folder, (*observers, Sleeps()))

sys.exit(main(["run", *sys.argv[1:]], doing=Doing(run=run)))
"""
"""Rank 1 sleeps in each step's backward, before it has any gradient."""

FAILS = """
import sys
from perfkit.cli import main
from perfkit.commands.run import Doing, _run_here
from perfkit.measure.loop import Observer, StepId
import torch.distributed as dist

class Fails(Observer):
    def before(self, step):
        if step == StepId("measured", 1) and dist.get_rank() == 1:
            raise MemoryError("planted")

def run(config, folder, observers):
    return _run_here(config, folder, (*observers, Fails()))

sys.exit(main(["run", *sys.argv[1:]], doing=Doing(run=run)))
"""


def analysed(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `perfkit analyze --format json` says of a folder."""
    assert main(["analyze", str(folder), "--format", "json", "--no-cache"]) == 0
    return json.loads(capsys.readouterr().out)


def rows(made: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of a table."""
    found: list[dict[str, Any]] = made["findings"] if name == "findings" else made["tables"][name]["rows"]
    return found


def job_of(how: str, folder: Path, *flags: str, program: Path | None = None) -> RunRecord:
    """The record of a job that ended well, whose layout is checked."""
    ended = torchrun("--parallel", how, "--profiler", "torch", "--measure-steps", str(STEPS), "--folder", str(folder),
                     *flags, program=program)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("saved in") == 1, "rank 0 alone speaks"
    assert [path.parent for path in folder.rglob("record.json")] == [folder], "one record for the job"
    record = records.load(folder)
    assert [one.rank for one in record.ranks] == [1]
    assert len(record.steps) == len(record.ranks[0].steps) == STEPS
    traces = [record.artifacts["trace"], record.ranks[0].artifacts["trace"]]
    assert sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.pt.trace.json.gz")) == traces
    assert assert_equal_files([folder / trace for trace in traces]) > 0, "to the nanosecond, by another reading"
    return record


@pytest.mark.slow
def test_ddp_with_a_rank_that_was_slowed_on_purpose(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """GIVEN rank 1 sleeps for 500 ms of each step THEN it is named, at what it slept; all gradients are all-reduced"""
    program = tmp_path / "slow.py"
    program.write_text(SLOW)
    record = job_of("ddp", tmp_path / "job", program=program)
    made = analysed(tmp_path / "job", capsys)
    parameters = record.config.transformer.parameters
    reduced = [row for row in rows(made, "exchanges") if row["collective"] == "all_reduce"]
    assert sum(row["message_bytes"] * row["count"] for row in reduced) == 4 * parameters * STEPS
    (slow,) = [one for one in rows(made, "findings") if one["rule"] == "straggler"]
    assert slow["where"] == "rank 1"
    assert 0.5 * SLEEP_S * 1e9 < slow["cost_ns"] < 2 * SLEEP_S * 1e9
    waits = {row["rank"]: row["wait_ns"] for row in rows(made, "ranks")}
    assert waits[0] > 0.5 * STEPS * SLEEP_S * 1e9 > waits[1]
    assert [row["rank"] for row in rows(made, "rank_results")] == [0, 1]
    assert all(row["resident_bytes"] > 2**20 for row in rows(made, "rank_results"))


@pytest.mark.slow
def test_fsdp(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """THEN blocks are gathered in forward and in backward, the rest once; gradients are reduced and scattered once"""
    record = job_of("fsdp", tmp_path / "job")
    block = 4 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32)
    rest = 4 * record.config.transformer.parameters - block
    made = analysed(tmp_path / "job", capsys)
    found = {(row["collective"], row["message_bytes"]): row["count"] for row in rows(made, "exchanges")}
    assert found == {
        ("all_gather", block): 2 * STEPS, ("all_gather", rest): STEPS,
        ("reduce_scatter", block): STEPS, ("reduce_scatter", rest): STEPS,
    }  # fmt: skip


@pytest.mark.slow
def test_tp(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """THEN attention and MLP take an all-reduce of the activations each, in forward and in backward"""
    job_of("tp", tmp_path / "job", "--pass-type", "train")
    made = analysed(tmp_path / "job", capsys)
    activations = 4 * QUICK["batch_size"] * QUICK["context_length"] * QUICK["d_model"]
    found = [(row["collective"], row["message_bytes"], row["count"]) for row in rows(made, "exchanges")]
    assert found == [("all_reduce", activations, 4 * STEPS)]


@pytest.mark.slow
def test_a_rank_that_fails_ends_the_others_and_is_named(tmp_path: Path):
    """GIVEN rank 1 runs out of memory before step 2 THEN rank 0 does not wait for it, and the record says so"""
    program = tmp_path / "fails.py"
    program.write_text(FAILS)
    began = time.monotonic()
    ended = torchrun("--parallel", "ddp", "--measure-steps", "50", "--folder", str(tmp_path / "job"), program=program)
    assert time.monotonic() - began < 100
    assert ended.returncode != 0
    assert "rank 1: out of memory in measured step 1" in ended.stderr
    assert not re.search(r'File ".*perfkit/(commands|measure|workload)/', ended.stderr), "torchrun's own alone"
    record = records.load(tmp_path / "job")
    assert record.status == "oom"
    assert record.failure is not None
    assert record.failure.message.startswith("rank 1: out of memory in measured step 1, at its end")
    assert len(record.steps) <= 2


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run --parallel ddp", "--parallel ddp needs torchrun, which starts the processes: torchrun --nproc-per-node"),
        ("run --parallel ddp --repeats 2", "--repeats starts its processes itself, and --parallel ddp needs torchrun"),
        ("run --parallel ddp --estimate", "an estimate knows one process: leave out --parallel ddp"),
        ("sweep --parallel ddp --model-sizes tiny", "a sweep starts its processes itself, and --parallel ddp needs"),
        ("compare --run '--parallel ddp' '--seed 1'", "perfkit compare --run starts its processes itself, and"),
    ],
    ids=["alone", "repeats", "estimate", "sweep", "compare"],
)
def test_what_starts_no_ranks_says_what_does(
    command: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.rglob("record.json")) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"device": "cuda:1"}, "each rank has a GPU of its own: leave out the number"),
        ({"parallel": "tp"}, "--num-heads 2 does not divide by 3 ranks"),
    ],
    ids=["a GPU by number", "heads"],
)
def test_what_no_rank_can_do_is_refused_by_all(fields: dict[str, Any], words: str):
    config = RunConfig.of(**{**QUICK, "device": "cpu", "parallel": "ddp"} | fields)
    with pytest.raises(UsageError, match=words):
        job.resolve(config, Place(1, 3, 1, 3))


def test_how_a_rank_ends():
    """GIVEN a job of which rank 1 failed THEN rank 0 says so with what is saved, and other ranks their own failure"""
    failure = Failure(phase="x", message="rank 1: out of memory")
    record = saved(status="oom", failure=failure)
    ended = job.failure(record, Path("there"), Place(0, 2, 0, 2))
    assert isinstance(ended, OutOfMemoryError)
    assert str(ended) == "rank 1: out of memory; 2 of 2 measured steps saved in there"
    assert str(job.failure(record, Path("there"), Place(2, 3, 2, 3))) == "rank 2: rank 1: out of memory"
    assert job.failure(saved(), Path("there"), Place(0, 2, 0, 2)) is None
