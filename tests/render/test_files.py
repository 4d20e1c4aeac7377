from __future__ import annotations

import dataclasses

import pytest

from perfkit.errors import UsageError
from perfkit.render.csv import csv
from perfkit.render.files import check, replacing, write
from perfkit.render.json import json_document
from perfkit.render.latex import latex
from perfkit.render.markdown import markdown
from perfkit.schema.report import Report
from tests.reports import report


def test_write_chooses_the_format_by_the_extension(tmp_path, kernels, nasty):
    # WHEN
    write(tmp_path / "a.csv", report(kernels))
    write(tmp_path / "a.md", report(kernels, nasty))
    write(tmp_path / "a.TEX", report(kernels, nasty))
    write(tmp_path / "a.json", report(kernels, nasty, summary={"a": 1}))

    # THEN
    assert (tmp_path / "a.csv").read_text() == csv(kernels)
    assert (tmp_path / "a.md").read_text() == markdown(kernels) + "\n" + markdown(nasty)
    assert (tmp_path / "a.TEX").read_text() == latex(kernels) + "\n" + latex(nasty)
    assert (tmp_path / "a.json").read_text() == json_document([report(kernels, nasty, summary={"a": 1})])
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.xls", "the extension chooses the format: use .json, "),
        ("out", "the extension chooses the format"),
        ("folder.csv", "is a directory"),
        ("missing/out.csv", "there is no directory .*missing: create it first"),
        ("file.csv/out.csv", "there is no directory"),
        ("n" * 300 + ".csv", "File name too long"),
    ],
)
def test_a_path_that_cannot_work_is_a_usage_error(tmp_path, kernels, name, message):
    # GIVEN
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file.csv").touch()

    # WHEN / THEN
    with pytest.raises(UsageError, match=message):
        write(tmp_path / name, report(kernels))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.csv", "folder.csv"]


def test_a_path_can_be_checked_before_there_is_anything_to_write(tmp_path):
    check(tmp_path / "out.json")
    with pytest.raises(UsageError, match="the extension chooses the format"):
        check(tmp_path / "out.xls")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("main", "written"), [("", "kernels"), ("nasty", "nasty"), ("gone", "kernels")])
def test_csv_holds_the_main_table(tmp_path, kernels, nasty, main, written):
    """GIVEN two tables WHEN written as CSV THEN it holds the one that the report names, else the first"""
    tables = {"kernels": kernels, "nasty": dataclasses.replace(nasty, name="nasty")}
    write(tmp_path / "a.csv", Report("r", {}, tuple(tables.values()), main=main))
    assert (tmp_path / "a.csv").read_bytes().decode() == csv(tables[written])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    # GIVEN a disk that fills up half way
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fill_up():
        with replacing(path) as file:
            file.write(b"half of it")
            raise OSError(28, "No space left on device")

    # WHEN
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        fill_up()

    # THEN
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_keeps_pointing_to_the_file_written(tmp_path, kernels):
    # GIVEN
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    link.symlink_to(target)

    # WHEN
    write(link, report(kernels))

    # THEN
    assert link.is_symlink()
    assert target.read_text() == csv(kernels)
