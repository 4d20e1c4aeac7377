"""Jobs of which not all ranks are there, or one too often, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfkit import cli

ONLY_0 = "the trace of only 1 of 4 ranks was read, rank 0: it says nothing of ranks 1-3"
REMARK = "this is rank 0 of a job of 4 ranks: nothing here is about the other 3"


def written(path: Path, rank: int, start: int = 0, *, world: int = 4) -> Path:
    """A trace of one rank: a step with an operator, from `start`, us."""
    at = {"pid": 9, "tid": 9, "ph": "X"}
    events = [{**at, "cat": "user_annotation", "name": "ProfilerStep#0", "ts": start, "dur": 100},
              {**at, "cat": "cpu_op", "name": "aten::mm", "ts": start + 10, "dur": 50}]  # fmt: skip
    said = {"distributedInfo": {"backend": "gloo", "rank": rank, "world_size": world}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**said, "traceEvents": events}))
    return path


def analyzed(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> list[str]:
    assert cli.main(["analyze", *map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", ["rank0.json", "t.pt.trace.json", "rank_0/t.json"])
def test_a_folder_with_one_rank_of_several_begins_with_it(tmp_path, capsys, name):
    """GIVEN the trace of rank 0 of 4 WHEN its folder is named THEN the first line says so; of itself a remark does"""
    path = written(tmp_path / "job" / name, 0)
    lines = analyzed(capsys, tmp_path / "job")
    assert lines[0] == ONLY_0
    assert lines[1].startswith("100.0 us a step")
    assert REMARK not in lines
    lines = analyzed(capsys, path)
    assert lines[0].startswith("100.0 us a step")
    assert lines.count(REMARK) == 1
    assert ONLY_0 not in lines


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_several_ranks_begin_with_how_many_there_are(tmp_path, capsys, ranks):
    paths = [written(tmp_path / f"{rank}.json", rank) for rank in range(ranks)]
    missing = {2: "ranks 0, 1: they say nothing of ranks 2, 3", 3: "ranks 0-2: they say nothing of rank 3"}
    for lines in (analyzed(capsys, tmp_path), analyzed(capsys, *paths)):
        said = [line for line in lines if "only" in line]
        assert said == ([f"the traces of only {ranks} of 4 ranks were read, {missing[ranks]}"] if ranks < 4 else [])
        assert lines[:1] == (said or lines[:1])


def test_a_copy_of_a_ranks_trace_is_left_out_by_name(tmp_path, capsys):
    """GIVEN rank 0 twice, once under another name THEN the others are the job, and both files are named"""
    for rank in range(4):
        written(tmp_path / f"rank{rank}.json", rank)
    written(tmp_path / "rank0_copy.json", 0)
    lines = analyzed(capsys, tmp_path)
    assert "100.0 us a step   4 recordings (4 ranks), a row each: name one of them, or --table, to see more" in lines
    assert "left out: rank0_copy.json, the same recording of rank 0 as rank0.json: one of the two can go" in lines
    for rank in (1, 2, 3):
        (tmp_path / f"rank{rank}.json").unlink()
    assert analyzed(capsys, tmp_path)[:2] == [ONLY_0, "100.0 us a step   1 recording: name it, or --table, to see more"]


def test_two_recordings_of_one_rank_are_named(tmp_path, capsys):
    """GIVEN rank 0 twice, at different times THEN its two files are named with what to do; so it is with two jobs"""
    for rank in (0, 1):
        written(tmp_path / f"a{rank}.json", rank, world=2)
    written(tmp_path / "b0.json", 0, 500, world=2)
    cycles = "if they are cycles of the profiler, put each into a folder named for it (step_10, step_20)"
    assert analyzed(capsys, tmp_path)[0] == (
        "rank 0 is there twice (a0.json, b0.json), so these 3 traces are not read as one job:"
        f" keep one of them here, and move the rest elsewhere; {cycles}"
    )
    written(tmp_path / "b1.json", 1, 500, world=2)
    assert analyzed(capsys, tmp_path)[0] == (
        "rank 0 is there twice (a0.json, b0.json), and so is 1 other rank, so these 4 traces are not read as one job:"
        f" keep each job in a folder of its own; {cycles}"
    )
    for name in ("a0", "a1", "b0", "b1"):
        place = tmp_path / f"step_{name[0]}".replace("a", "10").replace("b", "20")
        place.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").rename(place / f"{name}.json")
    assert (
        "100.0 us a step   4 recordings (2 ranks, 2 cycles), a row each: name one of them, or --table, to see more"
        in analyzed(capsys, tmp_path)
    )
