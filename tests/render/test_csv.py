from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.render.csv import csv
from perfkit.schema.table import Column, Table

# pandas 3 reads floats exactly by default, and warns where it is asked to.
EXACT: Any = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}


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


def test_csv_of_an_empty_table_is_its_header(empty):
    assert csv(empty) == "kernel,calls,total_ns,share,peak\n"


def test_csv_can_be_encoded_whatever_the_names(nasty):
    assert "half a pair \\ud800" in csv(nasty)
