from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.analysis.time.trace_findings import UNATTRIBUTED_TIME
from perfkit.errors import UsageError
from perfkit.render.files import ascii_json, check, csv, json_document, write
from perfkit.render.findings import tables as tables_of
from perfkit.render.latex import latex
from perfkit.render.markdown import markdown
from perfkit.schema.finding import CLEAN, Cost, Evidence, Finding
from perfkit.schema.report import Report
from perfkit.schema.table import Column, Table

# pandas 3 reads floats exactly by default, and warns where it is asked to.
EXACT = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}


def report(*tables: Table, summary=None, findings=()) -> Report:
    return Report("a report", summary or {}, tables, findings=findings)


def read_csv(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""], **EXACT)


def test_csv_reads_back_as_the_frame(kernels):
    # WHEN
    text = csv(kernels)

    # THEN
    assert text.splitlines()[0] == "kernel,calls,total_ns,share,peak"
    pd.testing.assert_frame_equal(read_csv(text), kernels.frame, check_dtype=False)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_csv_keeps_every_digit(values):
    frame = pd.DataFrame({"x": values})
    text = csv(Table("t", "T", (Column("x", "1", "rate"),), frame))
    assert read_csv(text)["x"].tolist() == values


def test_csv_quotes_names_but_does_not_alter_them():
    # GIVEN
    names = ['say "hi", you', "two\nlines", "a=1", "a|b", "\x1b[31m", "carriage\rreturn", "日本", "NA"]
    table = Table("t", "T", (Column("name"), Column("n", kind="count")), pd.DataFrame({"name": names, "n": 1}))

    # WHEN
    text = csv(table)

    # THEN
    assert read_csv(text)["name"].tolist() == names
    assert '"say ""hi"", you"' in text


FORMULAS = ["=1+1", "+1+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'quoted'", "-", "\uff1d1"]


def test_what_a_spreadsheet_would_run_has_an_apostrophe_in_csv():
    """GIVEN names and a heading that begin as formulas do WHEN written as CSV THEN as text, and numbers as numbers"""
    # GIVEN
    frame = pd.DataFrame({"=name": FORMULAS, "x": -1.5, "n": -3})
    table = Table("t", "T", (Column("=name"), Column("x", "1", "rate"), Column("n", kind="count")), frame)

    # WHEN
    read = pd.read_csv(io.StringIO(csv(table)), keep_default_na=False, dtype=str)

    # THEN
    assert list(read.columns) == ["'=name", "x", "n"]
    assert read["'=name"].tolist() == ["'" + name for name in FORMULAS]
    assert set(read["x"]) == {"-1.5"}
    assert set(read["n"]) == {"-3"}


@pytest.mark.parametrize("text", ["-1.5", "+3", "-1e-07", "-.5", "1-2", "a=b", "", "<unattributed>", "日本"])
def test_a_text_that_no_spreadsheet_runs_is_as_it_was_in_csv(text):
    table = Table("t", "T", (Column("x"), Column("y")), pd.DataFrame({"x": [text], "y": ["z"]}))
    assert csv(table) == f"x,y\n{text},z\n"


def test_whole_numbers_beside_missing_ones_keep_every_digit_in_csv():
    frame = pd.DataFrame({"x": pd.Series([2**53 + 1, None, "=1"], dtype=object), "y": pd.Categorical(["=1", "b", "b"])})
    text = csv(Table("t", "T", (Column("x", kind="count"), Column("y")), frame))
    assert text == f"x,y\n{2**53 + 1},'=1\n,b\n'=1,b\n"


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


def test_csv_of_an_empty_table_is_its_header(empty):
    assert csv(empty) == "kernel,calls,total_ns,share,peak\n"


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
    table = Table("t", "T", tuple(Column(name) for name in frame), frame)

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


def test_json_and_csv_can_be_encoded_whatever_the_names(nasty):
    json_document([report(nasty)]).encode()
    assert "half a pair \\ud800" in csv(nasty)


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
        {"rule": "unattributed-time", "what": "5 ns", "cost_ns": 5, "share": 0.5,
         "evidence": [{"table": "kernels", "key": {"kernel": "gemm"}}], "advice": "--by op", "sure": "derived",
         "where": "net"},
        {"rule": "clean", "what": "clean", "cost_ns": None, "share": None, "evidence": [], "advice": "",
         "sure": "measured", "where": ""},
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
        ("out.xls", "the extension chooses the format: use .csv, .md, .json, .tex, .typ, .xlsx"),
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
    write(tmp_path / "a.csv", Report("a report", {}, tables.values(), main=main))
    assert (tmp_path / "a.csv").read_bytes().decode() == csv(tables[written])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, kernels, monkeypatch):
    # GIVEN a disk that fills up half way
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fill_up(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_up)

    # WHEN
    with pytest.raises(UsageError, match="cannot be written: No space left on device"):
        write(path, report(kernels))

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


@given(st.text())
def test_json_in_ascii_reads_back_as_the_same(name):
    document = json_document([report(summary={"name": name})])
    assert ascii_json(document).isascii()
    assert msgspec.json.decode(ascii_json(document)) == msgspec.json.decode(document)
