"""Workbooks as openpyxl reads them back: numbers are numbers, text is text."""

from __future__ import annotations

import io
import math

import openpyxl
import pandas as pd
import pytest

from perfkit.errors import UsageError
from perfkit.render import excel, files
from perfkit.render.excel import workbook
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from tests.render.conftest import NASTY_NAMES


def read(data: bytes) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(data))


def values(sheet) -> list[list[object]]:
    return [[cell.value for cell in row] for row in sheet.iter_rows()]


def test_numbers_are_numbers_in_the_unit_of_the_heading(kernels):
    # WHEN
    sheet = read(workbook([kernels]))["kernels"]

    # THEN
    heading, *rows = values(sheet)
    assert heading == ["kernel", "calls", "total (ms)", "of step", "peak (GiB)"]
    assert rows[0] == ["gemm", 1440, 254.123456, 0.8596, pytest.approx(27_400_000_000 / 2**30)]
    assert rows[2][4] is None  # missing is empty, not zero
    assert rows[5][0] == "2 launches were lost"
    assert sheet["C2"].number_format == "#,##0.000"
    assert sheet["D2"].number_format == "0.0%"
    assert sheet.freeze_panes == "A2"


def test_columns_of_one_scale_share_their_unit():
    columns = (Column("mean_s", "s", "time", scale="t"), Column("std_s", "s", "time", scale="t"))
    sheet = read(workbook([Table("t", "T", columns, pd.DataFrame({"mean_s": [0.5], "std_s": [0.0004]}))]))["t"]
    assert values(sheet) == [["mean (ms)", "std (ms)"], [500.0, pytest.approx(0.4)]]


def test_text_is_never_a_formula():
    names = ["=1+1", "@SUM(A1)", "+1", "https://x.y", "{=1}"]
    table = Table("t", "T", (Column("name"),), pd.DataFrame({"name": names}))
    sheet = read(workbook([table]))["t"]
    assert [cell.value for cell in sheet["A"][1:]] == names
    assert {cell.data_type for cell in sheet["A"][1:]} == {"s"}


def test_any_name_can_be_written(nasty):
    sheet = read(workbook([nasty]))[nasty.name]
    assert len(sheet["A"]) >= len(NASTY_NAMES) + 1


def test_infinities_are_text_and_nothing_is_lost():
    table = Table("t", "T", (Column("x", "1", "rate"),), pd.DataFrame({"x": [math.inf, -math.inf, math.nan, 2.5]}))
    assert [row[0] for row in values(read(workbook([table]))["t"])] == ["x", "inf", "-inf", None, 2.5]


def test_sheets_have_names_that_excel_takes(kernels):
    tables = [Table(name, "T", kernels.columns, kernels.frame) for name in ("a/b:c", "A/B:C", "x" * 40, "'")]
    assert read(workbook(tables)).sheetnames == ["a-b-c", "A-B-C 2", "x" * 31, "table"]


def test_more_rows_than_a_sheet_holds_are_refused(kernels, monkeypatch):
    monkeypatch.setattr(excel, "_ROWS", 6)
    with pytest.raises(UsageError, match="4 rows do not fit"):
        workbook([kernels])


def test_a_workbook_is_written_by_its_extension(tmp_path, kernels):
    files.write(tmp_path / "t.xlsx", Report("r", {}, (kernels,)))
    assert openpyxl.load_workbook(tmp_path / "t.xlsx").sheetnames == ["kernels"]
