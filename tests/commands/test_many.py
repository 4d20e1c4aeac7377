"""`perfkit analyze` of many traces: the same tables whoever does the work, and nothing lost but what cannot be read."""

from __future__ import annotations

import gc
import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli
from perfkit.analysis.reports.many import files as files_report
from perfkit.analysis.reports.many.folded import Folded, joined
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.trace_table import View
from perfkit.commands import many
from perfkit.commands.inputs.addresses import FileAt, How, files_at
from perfkit.launch import tree
from perfkit.render.json import json_document
from tests.analysis.reports.many import jobs


def run(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["analyze", *map(str, arguments)])
    return code, *capsys.readouterr()


def said(whole: Folded) -> str:
    """Everything that a script gets of it."""
    return json_document([files_report.report("job", whole, View())])


def test_traces_by_two_workers_are_the_tables_of_one_process(tmp_path: Path) -> None:
    """GIVEN 32 traces and a corrupt one WHEN two workers read them, and one of those is killed meanwhile
    THEN the document is that of one process, byte for byte, and the corrupt one is a row with its reason
    """
    pytest.importorskip("distributed")
    jobs.folder(tmp_path / "job", 32)
    (tmp_path / "job" / "torn.json").write_text('{"traceEvents": [{"ph"')
    files = files_at([str(tmp_path / "job"), str(tmp_path / "job" / "torn.json")])
    here = tree.fold_here(files, tree.Tree(partial(many.of_file, view=View()), many.lost, joined))
    leaf = partial(killed_once, 20, tmp_path / "killed", view=View())
    with tree.cluster(2, None, "--workers") as client:
        there = tree.fold_by(client, files, tree.Tree(leaf, many.lost, joined))
        assert set(client.run(is_profiled).values()) == {False}  # its stacks would be kept: memory that grows
    assert (tmp_path / "killed").exists()
    assert said(there) == said(here)
    document = json.loads(said(here))
    assert (document["summary"]["files"], document["summary"]["files_read"], document["summary"]["ranks"]) == (
        33,
        32,
        32,
    )
    first = document["tables"]["files"]["rows"][0]
    assert first["name"] == "torn.json"
    assert "cut off" in first["why"]
    kernels = {row["name"]: row for row in document["tables"]["kernels"]["rows"]}
    assert kernels["gemm"]["total_ns"] == sum(2 * (200_000 + 1000 * (n % 5)) for n in range(32))
    assert kernels["extra"]["count"] == 2 * 5


def is_profiled() -> bool:
    """Whether a worker's Dask notes every 10 ms what it does."""
    return pytest.importorskip("dask").config.get("distributed.worker.profile.enabled")


def killed_once(which: int, mark: Path, file: FileAt, *, view: View) -> Folded:
    """Like of_file; the process is killed at one file, the first time."""
    if f"_{which}." in file.name and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return many.of_file(file, view=view)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    jobs.folder(tmp_path / "job", 6)
    return tmp_path / "job"


def test_the_command_adds_up_a_pattern(folder: Path, capsys: Any) -> None:
    code, out, _ = run(capsys, folder / "*.gz", "--workers", 1, "--format", "json")
    assert code == 0
    assert json.loads(out)["summary"]["files_read"] == 6


def test_a_slow_rank_comes_first(folder: Path, capsys: Any) -> None:
    """GIVEN a rank whose steps take 1.3 ms, where all others take 1 ms THEN it is what differs, in its step"""
    jobs.write(folder / "slow_77.1747000000099.pt.trace.json.gz", 3, slow_us=300)
    code, out, _ = run(capsys, folder, "--workers", 1, "--table", "outliers", "--format", "json")
    rows = json.loads(out)["tables"]["outliers"]["rows"]
    assert code == 0
    assert (rows[0]["name"], rows[0]["what"]) == ("slow_77.1747000000099.pt.trace.json.gz", "step")
    [step] = [row for row in rows if row["what"] == "step"]
    assert (step["time_ns"], step["usual_ns"], step["rank"]) == (1_300_000, 1_000_000, 3)


def test_resume_takes_what_was_made_before(folder: Path, tmp_path: Path, capsys: Any) -> None:
    """GIVEN a kept result of each file WHEN one file changes and one more comes THEN only those two are read"""
    kept = tmp_path / "kept"
    arguments = (folder, "--workers", 1, "--resume", kept, "--format", "json")
    first = run(capsys, *arguments)[1]
    before = {file: file.stat().st_mtime_ns for file in kept.iterdir()}
    assert len(before) == 6
    for file in folder.iterdir():  # nothing could be read anew: an unread file would be left out
        os.chmod(file, 0)  # noqa: PTH101
    again = run(capsys, *arguments)[1] if os.getuid() else first
    assert again == first
    for file in folder.iterdir():
        file.chmod(0o644)
    jobs.write(folder / "host0_0.1747000000000.pt.trace.json.gz", 0, steps=5)
    jobs.write(folder / "more_9.1747000000000.pt.trace.json.gz", 9)
    summary = json.loads(run(capsys, *arguments)[1])["summary"]
    assert (summary["files_read"], summary["steps"]) == (7, 5 + 6 * 2)
    after = {file: file.stat().st_mtime_ns for file in kept.iterdir()}
    assert before.items() < after.items()
    assert len(after) == 8


def test_what_is_kept_is_used(folder: Path, tmp_path: Path) -> None:
    """GIVEN kept results WHEN the files are gone meanwhile THEN they are what is told; a damaged one is made again"""
    kept = tmp_path / "kept"
    kept.mkdir()
    [file, *_] = files_at([str(folder)])
    first = many.of_file(file, view=View(), folder=kept)
    place = next(kept.iterdir())
    Path(file.name).rename(tmp_path / "away")
    assert many.of_file(file, view=View(), folder=kept).rows == first.rows
    place.write_bytes(place.read_bytes()[:-5])
    assert many.of_file(file, view=View(), folder=kept).rows[0].why.endswith("does not exist: check the path")


def test_a_step_that_a_file_lacks_leaves_it_out(folder: Path, capsys: Any) -> None:
    jobs.write(folder / "long_8.1747000000000.pt.trace.json.gz", 8, steps=9)
    code, out, _ = run(capsys, folder, "--workers", 1, "--steps", 7, "--format", "json")
    summary = json.loads(out)["summary"]
    assert (code, summary["files_read"], summary["files_left_out"]) == (0, 1, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "0"], "--workers 0: must be at least 1"),
        (["--workers", "2", "--scheduler", "tcp://x:1"], "the scheduler has its own workers"),
        (["--workers", "1", "--plot", "icicle"], "--plot is of one trace, and --workers adds up several"),
        (["--workers", "1", "--by-device"], "--by-device is of one trace"),
        (["--workers", "1", "--export-perfetto", "x.json"], "--export-perfetto writes one trace"),
        (["--workers", "1", "--table", "kernel_summary"], "--table kernel_summary: there is no table of that name"),
        (["--resume", "a\0b"], "contains a zero byte"),
    ],
    ids=["none", "both", "plot", "by-device", "perfetto", "summary", "zero"],
)
def test_what_cannot_be_is_refused_in_one_line(folder: Path, capsys: Any, arguments: list[str], message: str) -> None:
    code, _, err = run(capsys, folder, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_a_folder_that_cannot_keep_anything(folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, folder, "--workers", 1, "--resume", tmp_path / "file")
    assert code == 2
    assert "--resume" in err


def test_addresses_are_added_up_without_any_flag(capsys: Any, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    for file in jobs.folder(tmp_path, 3):
        filesystem.put_file(str(file), f"/many/{file.name}")
    code, out, _ = run(capsys, "memory://many/", "--format", "json")
    filesystem.rm("/many", recursive=True)
    document = json.loads(out)
    assert code == 0
    assert document["summary"]["files_read"] == 3
    assert {row["host"] for row in document["tables"]["files"]["rows"]} == {"host0", "host1"}


def test_nobody_works_in_more_processes_than_there_are_files(folder: Path) -> None:
    assert How().workers == 1
    assert many.report([str(folder)], View(), How(workers=1)).summary["files"] == 6


def test_a_trace_is_gone_before_the_next_one_is_read(folder: Path) -> None:
    """GIVEN two files WHEN one has been folded THEN nothing of its trace is left, though its account is a circle"""
    first, *_ = files_at([str(folder)])
    others = [thing for thing in gc.get_objects() if type(thing) is Account]  # of other tests in this process
    gc.disable()  # what is left to chance otherwise
    try:
        kept = many.of_file(first, view=View())
        accounts = [thing for thing in gc.get_objects() if type(thing) is Account]
        assert all(any(account is other for other in others) for account in accounts)
    finally:
        gc.enable()
    assert kept.rows[0].events > 0
