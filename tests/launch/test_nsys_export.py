"""Having nsys export a report: when it is asked, and what is said when it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.launch import nsys_export
from perfkit.launch.nsys_export import export, exported, is_fresh


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "r.nsys-rep"
    path.touch()
    os.utime(path, (100, 100))
    return path


def says(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """An nsys of the test's own, which finds its target in $target."""
    program = folder / "nsys"
    program.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ntarget=$2; report=$3\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(("modified", "fresh"), [(99, False), (100, True), (101, True)])
def test_an_export_as_old_as_its_report_is_fresh(
    report: Path, monkeypatch: pytest.MonkeyPatch, modified: int, fresh: bool
) -> None:
    beside = report.with_suffix(".sqlite")
    beside.touch()
    os.utime(beside, (modified, modified))
    assert is_fresh(beside, report) is fresh
    says(report.parent, monkeypatch, 'echo new >"$target"')
    with exported(report, "r") as database:
        assert (database == beside) is fresh
        assert database.read_text() == ("" if fresh else "new\n")
    assert database.exists() is fresh  # what was made for the occasion is gone


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("exit 3", "r: nsys export failed (exit code 3); export a report of a newer nsys"),
        ('touch "$target"; exit 1', "r: nsys export failed (exit code 1);"),
        ("exit 0", "r: nsys export failed (exit code 0);"),
        ("echo out; printf ' a\\n\\n b \\n' >&2; exit 1", "r: nsys export failed (a b out);"),
        (f"echo {'x' * 199}yz; exit 1", f"({'x' * 199}y);"),
    ],
)
def test_an_export_that_fails(report: Path, monkeypatch: pytest.MonkeyPatch, script: str, complaint: str) -> None:
    """GIVEN an nsys that fails, or writes nothing THEN one line with what it said, errors first, or its exit code"""
    says(report.parent, monkeypatch, script)
    with pytest.raises(UsageError) as refused:
        export(report, report.parent / "x.sqlite", "r")
    assert complaint in str(refused.value)


def test_the_report_is_named_by_its_whole_path(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says(report.parent, monkeypatch, 'printf %s "$report" >"$target"')
    monkeypatch.chdir(report.parent)
    export(Path(report.name), report.parent / "x.sqlite", "r")
    assert (report.parent / "x.sqlite").read_text() == str(report)


def test_an_export_that_does_not_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="r: nsys export did not end within 0 s: run nsys export yourself"):
        nsys_export._ran(["sleep", "60"], tmp_path / "x.sqlite", "r", None, limit_s=0)


def test_progress_is_the_size_of_what_is_written(tmp_path: Path) -> None:
    target, heard = tmp_path / "x.sqlite", list[tuple[int, int | None]]()
    command = ["sh", "-c", f"printf abc > {target}; sleep 0.5; echo done"]
    answer = nsys_export._ran(command, target, "x.nsys-rep", lambda *args: heard.append(args), poll_s=0.01)
    assert answer == (0, "done")
    assert heard[-1] == (3, None)
