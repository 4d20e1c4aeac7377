from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.analysis.findings.trace import UNATTRIBUTED_TIME
from perfkit.render.findings import tables as tables_of
from perfkit.render.json import ascii_json, json_document
from perfkit.schema.finding import CLEAN, Cost, Evidence, Finding
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table
from tests.render.test_csv import FORMULAS
from tests.reports import report


def test_json_has_the_raw_name_and_nothing_that_a_terminal_obeys():
    """GIVEN names with controls, marks of direction and formulas WHEN read back THEN they are as they were"""
    names = [*FORMULAS, "\x1b[31m", "\x9b31m", "\x7f", "\u202egnp", "\u2066", "\ue000", "\U000e0041", "日本 é 😀"]
    table = Table("t", "T", (Column("name"),), pd.DataFrame({"name": names}))
    text = json_document([report(table, summary={"=1": "\x9b"})])
    document = msgspec.json.decode(text)
    assert [row["name"] for row in document["tables"]["t"]["rows"]] == names
    assert document["summary"] == {"=1": "\x9b"}
    assert all(line.isprintable() for line in text.split("\n"))
    assert "日本 é 😀" in text


def test_json_holds_raw_values_and_the_meaning_of_columns(kernels):
    # WHEN
    document = msgspec.json.decode(json_document([report(kernels, summary={"gpu": "H100", "steps": np.int64(10)})]))

    # THEN
    assert document["summary"] == {"gpu": "H100", "steps": 10}
    table = document["tables"]["kernels"]
    assert table["title"] == "Kernels by device time"
    assert table["columns"][2] == {"name": "total_ns", "unit": "ns", "kind": "time"}
    assert table["rows"][0] == {
        "kernel": "gemm",
        "calls": 1440,
        "total_ns": 254_123_456,
        "share": 0.8596,
        "peak": 27_400_000_000,
    }
    assert table["rows"][2]["peak"] is None
    assert table["notes"] == ["2 launches were lost"]


def test_json_turns_whatever_pandas_holds_into_plain_values():
    # GIVEN
    frame = pd.DataFrame(
        {
            "ints": pd.array([1, None], dtype="Int64"),
            "mixed": pd.Series([np.float32(0.5), pd.NA], dtype=object),
            "floats": [math.nan, math.inf],
            "names": pd.Series(["né", None], dtype="category"),
            "flags": [True, False],
        }
    )
    table = Table("t", "T", tuple(Column(str(name)) for name in frame), frame)

    # WHEN
    text = json_document([report(table, summary={"path": Path("a/b"), "nan": math.nan, "array": np.arange(2)})])

    # THEN
    document = msgspec.json.decode(text)
    assert document["summary"] == {"path": "a/b", "nan": None, "array": [0, 1]}
    assert document["tables"]["t"]["rows"] == [
        {"ints": 1, "mixed": 0.5, "floats": None, "names": "né", "flags": True},
        {"ints": None, "mixed": None, "floats": None, "names": None, "flags": False},
    ]
    assert "né" in text


def test_json_can_be_encoded_whatever_the_names(nasty):
    json_document([report(nasty)]).encode()


FINDING = Finding(
    UNATTRIBUTED_TIME,
    "5 ns",
    Cost(5, 0.5),
    (Evidence("kernels", {"kernel": "gemm"}),),
    advice="--by op",
    sure="derived",
    where="net",
)


def test_json_has_findings_beside_summary_and_tables(kernels):
    """GIVEN a finding with everything and one with a sentence alone THEN all keys are there, and null is unknown"""
    document = msgspec.json.decode(json_document([report(kernels, findings=(FINDING, Finding(CLEAN, "clean")))]))
    assert list(document) == ["summary", "tables", "findings"]
    assert document["findings"] == [
        {"rule": "unattributed-time", "what": "5 ns", "cost_ns": 5, "share": 0.5, "gain_ns": None,
         "evidence": [{"table": "kernels", "key": {"kernel": "gemm"}}], "advice": "--by op", "sure": "derived",
         "where": "net"},
        {"rule": "clean", "what": "clean", "cost_ns": None, "share": None, "gain_ns": None, "evidence": [],
         "advice": "", "sure": "measured", "where": ""},
    ]  # fmt: skip


def test_json_has_no_table_that_is_made_of_findings(kernels):
    made = tables_of([FINDING, Finding(CLEAN, "clean")])
    assert [table.name for table in made] == ["findings", "integrity"]
    assert list(msgspec.json.decode(json_document([report(kernels, *made)]))["tables"]) == ["kernels"]


def test_reports_that_have_nothing_in_common_are_one_in_json(kernels, nasty):
    one, other = report(kernels, summary={"a": 1}), report(dataclasses.replace(nasty, name="n"), summary={"b": 2})
    document = msgspec.json.decode(json_document([one, other]))
    assert (document["summary"], list(document["tables"])) == ({"a": 1, "b": 2}, ["kernels", "n"])


@pytest.mark.parametrize("common", ["summary", "tables"])
def test_reports_of_two_sources_do_not_clash_in_json(kernels, nasty, common):
    """GIVEN two reports with the same key of the summary, or a table of one name WHEN written THEN both are there, by
    the reports' titles, and each finding says whose it is"""
    first = Report("a.json", {"n": 1}, (kernels,), findings=(FINDING,))
    second = Report("b.json", {"n" if common == "summary" else "m": 2},
                    (dataclasses.replace(nasty, name="kernels" if common == "tables" else "other"),),
                    findings=(Finding(CLEAN, "clean"),))  # fmt: skip
    document = msgspec.json.decode(json_document([first, second]))
    assert document["summary"] == {"a.json": first.summary, "b.json": second.summary}
    assert {name: list(tables) for name, tables in document["tables"].items()} == {
        "a.json": ["kernels"], "b.json": [second.tables[0].name],
    }  # fmt: skip
    assert document["tables"]["a.json"]["kernels"]["title"] == kernels.title
    assert [one["where"] for one in document["findings"]] == ["a.json: net", "b.json"]


def test_reports_of_one_title_are_numbered_in_json(kernels):
    document = msgspec.json.decode(json_document([report(kernels)] * 3))
    assert list(document["tables"]) == ["a report", "a report (2)", "a report (3)"]


def test_json_refuses_what_would_lose_data(kernels):
    with pytest.raises(ValueError, match="tables share a name: kernels, kernels"):
        json_document([report(kernels, kernels)])
    with pytest.raises(TypeError, match="cannot write a object to JSON"):
        json_document([report(summary={"x": object()})])


@given(st.text())
def test_json_in_ascii_reads_back_as_the_same(name):
    document = json_document([report(summary={"name": name})])
    assert ascii_json(document).isascii()
    assert msgspec.json.decode(ascii_json(document)) == msgspec.json.decode(document)


def test_reports_of_several_sources_stand_apart_in_json_although_they_could_be_one(kernels):
    """GIVEN reports that have nothing in common WHEN they are to stand apart THEN each is under its title"""
    one, other = Report("a", {"n": 1}, (kernels,)), Report("b", {"m": 2}, findings=(FINDING,))
    document = msgspec.json.decode(json_document([one, other], by_title=True))
    assert document["summary"] == {"a": {"n": 1}, "b": {"m": 2}}
    assert {name: list(tables) for name, tables in document["tables"].items()} == {"a": ["kernels"], "b": []}
    assert [finding["where"] for finding in document["findings"]] == ["b: net"]
