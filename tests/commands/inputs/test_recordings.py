"""Which traces are recordings of one job, and whose each is."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from perfkit.commands.inputs.paths import inputs_of
from perfkit.commands.inputs.recordings import (
    alone_in,
    are_of_one_job,
    in_folder,
    of_one_job,
    recording_file,
    twice_there,
)


def written(path: Path, rank: int | None = None, world_size: int = 8) -> Path:
    """A trace, as much of it as is looked at."""
    said = {} if rank is None else {"distributedInfo": {"backend": "nccl", "rank": rank, "world_size": world_size}}
    text = json.dumps({"schemaVersion": 1, **said, "traceEvents": [{"rank": 5}]}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize(
    ("name", "said", "rank", "world_size"),
    [
        ("rank0.json", None, 0, None), ("trace_rank-12.json.gz", None, 12, None), ("rank_3/trace.json", None, 3, None),
        ("1747-TP-1.trace.json.gz", None, 1, None), ("frank2.json", None, None, None), ("t.json", (5, 8), 5, 8),
        ("rank0.json.gz", (5, 8), 5, 8), ("rank3.json", (0, 1), 3, None), ("t.json", (0, 1), 0, 1),
    ],
)  # fmt: skip
def test_the_file_says_its_rank_else_its_name(tmp_path, name, said, rank, world_size):
    file = recording_file(written(tmp_path / name, *(said or ())))
    assert (file.rank, file.world_size) == (rank, world_size)


def test_a_folder_of_traces(tmp_path):
    """GIVEN a folder with one trace, two by the profiler's names, and others by their content THEN all count"""
    written(tmp_path / "a.pt.trace.json")
    assert in_folder(tmp_path) == []
    written(tmp_path / "b.pt.trace.json.gz")
    written(tmp_path / "c.json")
    assert [file.path.name for file in in_folder(tmp_path)] == ["a.pt.trace.json", "b.pt.trace.json.gz", "c.json"]
    other = tmp_path / "other"
    written(other / "rank0.json")
    written(other / "rank1.json.gz")
    (other / "config.json").write_text("{}")
    (other / "broken.json.gz").write_bytes(b"\x1f\x8b broken")
    assert [(file.path.name, file.rank) for file in in_folder(other)] == [("rank0.json", 0), ("rank1.json.gz", 1)]


def test_a_folder_of_folders(tmp_path):
    """GIVEN torchtitan's profile_traces/iteration_10/rank0_trace.json THEN the ranks of all iterations"""
    for iteration in (10, 20):
        for rank in (0, 1):
            written(tmp_path / f"iteration_{iteration}" / f"rank{rank}_trace.json")
    assert [file.rank for file in in_folder(tmp_path)] == [0, 1, 0, 1]
    assert in_folder(tmp_path / "iteration_10" / "nothing") == []


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (["rank0.json", "rank1.json"], 2), (["a/rank0.json", "b/rank0.json"], 0), (["a.json", "b.json"], 0),
        (["rank0.json", "b.json"], 0), (["h_1.1700000000001.pt.trace.json", "h_1.1700000000002.pt.trace.json"], 2),
        (["h_1.1700000000001.pt.trace.json", "h_2.1700000000002.pt.trace.json"], 0), (["rank0.json"], 0),
    ],
)  # fmt: skip
def test_several_paths_are_of_one_job_by_their_names(tmp_path, names, count):
    paths = [str(written(tmp_path / name)) for name in names]
    assert len(of_one_job(inputs_of(paths))) == count


@pytest.mark.parametrize(
    ("names", "are"),
    [
        (["rank0.json", "rank1.json"], True), (["a.pt.trace.json", "b.pt.trace.json"], False),
        (["iteration_10/rank0.json", "iteration_20/rank0.json", "iteration_10/rank1.json"], True),
        (["run1/rank0.json", "run2/rank0.json"], False), (["rank0.json", "rank1.json", "other.json"], False),
        (["rank0_a100.json", "rank0_v100.json"], False), (["rank0_step_5.json", "rank0_step_9.json"], True),
        (["h_1.1700000000001.pt.trace.json", "h_1.1700000000002.pt.trace.json"], True),
    ],
)  # fmt: skip
def test_traces_of_one_folder_need_not_be_of_one_job(tmp_path, names, are):
    """GIVEN ranks, cycles of ranks, and traces that lie beside each other THEN the last are of no job"""
    for name in names:
        written(tmp_path / name)
    assert are_of_one_job(in_folder(tmp_path)) == are


def test_several_paths_are_of_one_job_by_what_they_say(tmp_path):
    ranks = [str(written(tmp_path / f"{rank}.json", rank)) for rank in (0, 1)]
    assert [file.rank for file in of_one_job(inputs_of(ranks))] == [0, 1]
    other = str(written(tmp_path / "other.json", 2, world_size=4))
    assert of_one_job(inputs_of([*ranks, other])) == []
    same = str(written(tmp_path / "same.json", 0))
    assert of_one_job(inputs_of([ranks[0], same])) == []
    (tmp_path / "folder").mkdir()
    assert of_one_job(inputs_of([ranks[0], str(tmp_path / "folder")])) == []


def test_the_only_trace_of_a_folder_is_found_by_its_content(tmp_path):
    """GIVEN a folder with one trace whose name says nothing, or of a folder with it THEN it; names come first"""
    (tmp_path / "settings.json").write_text("{}")
    assert alone_in(tmp_path) is None
    below = written(tmp_path / "rank_0" / "t.pt.trace.json")
    assert alone_in(tmp_path) == below
    beside = written(tmp_path / "rank0.json")
    assert alone_in(tmp_path) == beside
    written(tmp_path / "a.pt.trace.json")
    assert alone_in(tmp_path) is None


@pytest.mark.parametrize(
    ("said", "twice"),
    [
        ({"a.json": (0, 4), "b.json": (0, 4), "c.json": (1, 4)}, {0: ["a.json", "b.json"]}),
        ({"a.json": (0, 4), "b.json": (0, 4)}, {0: ["a.json", "b.json"]}),
        ({"rank0.json": (), "rank0_again.json": (), "rank1.json": ()}, {0: ["rank0.json", "rank0_again.json"]}),
        ({"rank0.json": (), "rank0_again.json": ()}, {}),
        ({"a.json": (0, 4), "b.json": (0, 4), "c.json": (1, 8)}, {}),
        ({"a.json": (0, 4), "b.json": (0, 4), "c.json": ()}, {}),
        ({"a.json": (0, 4), "b.json": (1, 4)}, {}),
        ({"step_5/a.json": (0, 4), "step_9/a.json": (0, 4)}, {}),
    ],
    ids=["by files", "one rank", "by names", "by names alone", "two jobs", "and another", "each once", "cycles"],
)
def test_a_rank_that_is_there_twice_is_named(tmp_path, said, twice):
    for name, whose in said.items():
        written(tmp_path / name, *whose)
    files = in_folder(tmp_path)
    assert {rank: [file.path.name for file in several] for rank, several in twice_there(files).items()} == twice
    assert not (twice and are_of_one_job(files))
