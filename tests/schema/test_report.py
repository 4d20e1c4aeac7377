"""Report: who sees which tables and columns, and which table stands for all."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table


def table(name: str, audience="everyone", *columns: Column) -> Table:
    columns = columns or (Column("x"),)
    return Table(name, name.upper(), columns, pd.DataFrame({column.name: [1] for column in columns}), audience=audience)


REPORT = Report("r", {}, (table("all"), table("people", "people"), table("scripts", "scripts")), main="scripts")


@pytest.mark.parametrize(("reader", "other"), [("people", "scripts"), ("scripts", "people")])
def test_each_sees_what_is_for_everyone_and_its_own(reader, other):
    columns = (Column("x"), Column("y", audience=reader), Column("z", audience=other))
    seen = Report("r", {}, (*REPORT.tables, table("columns", "everyone", *columns))).seen_by(reader)
    assert [one.name for one in seen.tables] == ["all", reader, "columns"]
    assert [column.name for column in seen.tables[-1].columns] == ["x", "y"]


def test_a_table_that_was_asked_for_is_for_whoever_asks():
    """GIVEN a table for scripts WHEN chosen by name THEN people see it too, and nothing else"""
    assert [one.name for one in REPORT.only("scripts").seen_by("people").tables] == ["scripts"]
    assert REPORT.only("nonsense").tables == ()


def test_one_table_stands_for_all():
    """GIVEN a report that names its main table THEN it is that, or the first where that is not among those seen"""
    assert REPORT.main_table.name == "scripts"
    assert REPORT.seen_by("people").main_table.name == "all"
    with pytest.raises(ValueError, match="report r: no tables"):
        _ = REPORT.only("nonsense").main_table


def test_a_table_by_its_name_has_all_columns():
    assert REPORT.table("scripts") is REPORT.tables[2]
    assert REPORT.table("nonsense") is None
