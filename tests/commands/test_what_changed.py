"""`perfkit compare` of profiled runs, and of two phases of one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli
from perfkit.schema import record as records
from tests.docs.pages import ROOT

SAMPLE = ROOT / "traces" / "samples" / "tiny_train_cpu"


def run(folder: Path, minute: int) -> Path:
    """The sample as a run of its own, which began at another time."""
    shutil.copytree(SAMPLE, folder)
    saved = records.load(folder)
    records.save(dataclasses.replace(saved, created=f"2026-01-02T03:{minute:02}:00+00:00"), folder)
    return folder


def shown(capsys: Any, *arguments: str) -> dict[str, Any]:
    assert cli.main(["compare", *arguments, "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_profiled_runs_say_what_changed(tmp_path, capsys):
    """GIVEN one trace on both sides THEN nothing differs, row by row, and no side is called faster"""
    a, b = run(tmp_path / "a", 1), run(tmp_path / "b", 2)
    found = shown(capsys, str(a), str(b))
    assert {row["difference_ns"] for row in found["tables"]["changes"]["rows"]} == {0}
    assert {"comparison", "phases", "categories", "groups", "kernels"} <= set(found["tables"])
    assert cli.main(["compare", str(a), str(b)]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("it is not shown which side is faster: A takes ")


def test_several_processes_have_an_interval_for_each_kind(tmp_path, capsys):
    for place, name in enumerate(("a/1", "b/1", "a/2", "b/2")):
        run(tmp_path / name, place)
    found = shown(capsys, str(tmp_path / "a"), str(tmp_path / "b"))
    kinds = {row["category"]: row for row in found["tables"]["kinds"]["rows"]}
    assert kinds["matmul"]["ratio"] == 1
    assert kinds["matmul"]["low"] == kinds["matmul"]["high"] == 1


def test_forward_beside_the_whole_step(capsys):
    found = shown(capsys, str(SAMPLE), "--phases", "forward", "all")
    rows = found["tables"]["categories"]["rows"]
    assert sum(row["share_a"] for row in rows) == pytest.approx(1)
    assert sum(row["total_ns_a"] for row in rows) < sum(row["total_ns_b"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phases", "forward", "forward"], "--phases forward forward: name two that differ"),
        ([str(SAMPLE), "--phases", "forward", "all"], "--phases compares two phases of one trace or run"),
        (["--phases", "forward", "all", "--fail-on", "slower:2%"], "--fail-on compares two sides"),
        (["--phases", "recompute", "all"], "--phases recompute: this trace has no time in it"),
    ],
    ids=["same", "two paths", "fail-on", "absent"],
)
def test_phases_that_cannot_be_compared(capsys, arguments, said):
    assert cli.main(["compare", str(SAMPLE), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_phase_of_a_run_that_was_not_profiled(tmp_path, capsys):
    """GIVEN a run's folder without a trace THEN the line says how to record one"""
    records.save(dataclasses.replace(records.load(SAMPLE), artifacts={}), tmp_path)
    assert cli.main(["compare", str(tmp_path), "--phases", "forward", "all"]) == 2
    assert "is a run without a trace: record one with perfkit run --profiler torch" in capsys.readouterr().err
