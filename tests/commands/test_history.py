"""`perfkit history`: the runs below a folder, and one line for what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfkit import cli
from perfkit.schema import record
from tests.analysis.reports.many.test_history import history


def run(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    code = cli.main(["history", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_runs_at_any_depth_are_one_history(tmp_path: Path, capsys: Any) -> None:
    """GIVEN 16 runs in folders of folders, and plain steps beside one THEN the change is told, of the 16 alone"""
    for name, saved in history():
        folder = tmp_path / f"night{len(name)}" / name
        folder.mkdir(parents=True)
        record.save(saved, folder)
    (folder / "plain").mkdir()
    record.save(saved, folder / "plain")
    code, out, err = run(capsys, tmp_path, "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert (document["summary"]["runs"], document["summary"]["changes"]) == (16, 1)
    assert "slower since 444444444444" in err
    assert "slower since 444444444444" in run(capsys, tmp_path)[1]


@pytest.mark.parametrize(("name", "message"), [("empty", "has no runs in it"), ("nowhere", "is no folder")])
def test_a_folder_without_runs(tmp_path: Path, capsys: Any, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = run(capsys, tmp_path / name)
    assert code == 2
    assert message in err
