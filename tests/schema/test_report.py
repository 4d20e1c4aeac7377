"""Report: who sees which tables and columns, and which table stands for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pandas as pd
import pytest

from perfkit.schema.finding import CLEAN, Finding
from perfkit.schema.report import LazyTable, Report
from perfkit.schema.table import Audience, Column, Table

Value = TypeVar("Value")


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


# --- what is computed, and when -------------------------------------------------------------------------------------


class Counted:
    """Functions that note when they are called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def _noted(self, name: str, value: Value) -> Callable[[], Value]:
        def compute() -> Value:
            self.calls.append(name)
            return value

        return compute

    def table(self, name: str, audience: Audience = "everyone") -> LazyTable:
        return LazyTable(name, self._noted(name, table(name)), audience)

    def report(self) -> Report:
        return Report(
            "r",
            self._noted("summary", {"n": 1}),
            (self.table("a"), self.table("b", "scripts"), self.table("c")),
            findings=self._noted("findings", [Finding(CLEAN, "clean")]),
            main="c",
        )


def test_nothing_is_computed_before_it_is_asked_for():
    """GIVEN a report of functions WHEN its names are asked for, and who sees what THEN none of them has been called"""
    counted = Counted()
    report = counted.report()
    assert (report.names, report.seen_by("people").names) == (("a", "b", "c"), ("a", "c"))
    assert report.only("b").plus({"m": 2}, findings=[Finding(CLEAN, "too")]).names == ("b",)
    assert (report.table("nonsense"), counted.calls) == (None, [])


def test_what_is_asked_for_is_computed_once_in_whatever_report_derived_from_it():
    counted = Counted()
    report = counted.report()
    for one in (report, report.only("a", "c"), report.seen_by("people"), report.plus({"m": 2}), report):
        assert one.table("a") is not None
        assert one.main_table.name == "c"
        assert one.summary["n"] == 1
        assert one.findings[0].what == "clean"
    assert counted.calls == ["a", "c", "summary", "findings"]


def test_more_comes_behind_what_is_there():
    more = REPORT.plus({"n": 1}, (table("more"),), findings=[Finding(CLEAN, "clean")])
    assert more.names == (*REPORT.names, "more")
    assert (more.summary, more.findings, more.main) == ({"n": 1}, (Finding(CLEAN, "clean"),), "scripts")
    assert (REPORT.summary, REPORT.findings) == ({}, ())


def test_a_table_has_the_name_and_the_audience_that_were_announced():
    assert LazyTable("x", lambda: table("x", "people"), "scripts").table.audience == "scripts"
    with pytest.raises(ValueError, match="table x: was announced as y"):
        _ = LazyTable("y", lambda: table("x")).table
