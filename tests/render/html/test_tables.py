"""Tables as HTML and as data. Read back by Python's own HTML parser."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd

from perfkit.render.html import tables
from perfkit.schema.table import Column, Table

_COLUMNS = (Column("name"), Column("total_ns", "ns", "time", "sum", summed=True))


def made(rows: list[tuple[str, int]], **columns: list[str]) -> Table:
    frame = pd.DataFrame(rows, columns=["name", "total_ns"]).assign(**columns)
    return Table("kernels", "Kernels", _COLUMNS, frame)


class Reader(HTMLParser):
    """Rows of cells, and the tips of names."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tips: list[str] = []
        self._is_cell = False
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._is_cell |= tag in ("td", "th")
        self.tips += [value for name, value in attrs if name == "title" and tag == "bdi"]

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._is_cell = False

    def handle_data(self, data):
        if self._is_cell and self.rows:
            self.rows[-1][-1] += data


def test_a_short_table_is_all_html():
    """GIVEN two rows THEN heading with its unit, both rows, and their total; no data"""
    markup, data = tables.table(made([("<gemm>", 3_000), ("add", 1_000)]), 1, "Kernels")
    assert data is None
    assert Reader(markup).rows == [["name", "sum (us)"], ["<gemm>", "3.000"], ["add", "1.000"], ["total", "4.000"]]
    assert "<caption><span>Kernels</span></caption>" in markup


def test_a_long_table_begins_in_html_and_goes_on_as_data():
    """GIVEN 30 rows THEN 20 of them and the total in HTML, all 30 as data"""
    markup, data = tables.table(made([(f"k{n}", 30 - n) for n in range(30)]), 7, "Kernels")
    assert data is not None
    assert len(Reader(markup).rows) == 1 + tables.FIRST + 1
    assert (data["id"], len(data["rows"]), data["rows"][29]) == ("table-7", 30, ["k29", "1"])
    assert data["text"] == [True, False]


def test_more_rows_than_a_page_holds_are_one_row():
    """GIVEN room for 25 rows WHEN there are 30 THEN the five last are added up"""
    markup, data = tables.table(made([(f"k{n}", 1) for n in range(30)]), 1, "Kernels", 25)
    assert data is not None
    assert len(data["rows"]) == 25
    assert Reader(markup).rows[-2:] == [["… 5 more rows", "5"], ["total", "30"]]


def test_long_names_are_short_and_stay_different():
    """GIVEN two names of 3,000 letters that differ in one THEN two short texts, the whole ones in the tips"""
    one, other = "a" * 1500 + "1" + "a" * 1500, "a" * 1500 + "2" + "a" * 1500
    reader = Reader(tables.table(made([(one, 2), (other, 1)]), 1, "Kernels")[0])
    shown = [row[0] for row in reader.rows[1:3]]
    assert shown[0] != shown[1]
    assert max(map(len, shown)) <= tables.NAME_WIDTH
    assert len(reader.tips) == 2


def test_short_names_stand_for_the_whole_ones():
    """GIVEN a table with short names THEN these are shown, under `name`, and the whole names are the tips"""
    table = made([("void add<float>", 2), ("plain", 1)], short_name=["add (float)", "plain"])
    columns = (Column("short_name", title="name", short_for="name"), *_COLUMNS[1:])
    table = replace(table, columns=columns)
    reader = Reader(tables.table(table, 1, "Kernels")[0])
    assert [row[0] for row in reader.rows[:3]] == ["name", "add (float)", "plain"]
    assert reader.tips == ["void add<float>"]


def test_a_table_without_texts_has_no_blank_column():
    """GIVEN one row of numbers THEN no column that would name a sum"""
    table = Table("time", "Step time", (Column("n", "", "count"),), pd.DataFrame({"n": [3]}))
    assert Reader(tables.table(table, 1, "Step time")[0]).rows == [["n"], ["3"]]
