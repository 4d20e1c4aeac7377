"""What TAB offers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from perfkit.commands.inputs import completing


def typed(text: str) -> Any:
    return SimpleNamespace(incomplete=text)


def test_names_that_begin_so():
    assert completing.names(("wall", "wall_time", "gaps"))(typed("wa")) == ["wall", "wall_time"]


def test_runs_end_a_path_and_other_folders_go_on(tmp_path, monkeypatch):
    """GIVEN a run in traces/, a sweep and a text WHEN TAB is pressed THEN what perfkit reads, as it is spelled"""
    run = tmp_path / "traces" / "20261127_small_train"
    run.mkdir(parents=True)
    (run / "record.json").write_text("{}")
    (tmp_path / "growth.csv").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden").mkdir()
    monkeypatch.chdir(tmp_path)
    assert completing.paths(typed("")) == ["growth.csv", "traces/", "traces/20261127_small_train"]
    assert completing.paths(typed("./tr")) == ["./traces/"]
    assert completing.paths(typed("traces/2026")) == ["traces/20261127_small_train"]
    assert completing.paths(typed("nowhere/x")) == []
