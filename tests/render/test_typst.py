"""Typst source: strings that hold any text, numbers aligned, rules as booktabs has them."""

from __future__ import annotations

import re

import pandas as pd

from perfkit.render.typst import string, typst
from perfkit.schema.table import Column, Table
from tests.render.conftest import NASTY_NAMES


def test_a_table_is_a_figure_with_caption_label_and_three_rules(kernels):
    # WHEN
    text = typst(kernels)

    # THEN
    assert text.startswith('#figure(\n  caption: "Kernels by device time",\n')
    assert text.endswith(") <tab:kernels>\n")
    assert "align: (left, right, right, right, right, )" in text
    assert text.count("table.hline(stroke: 0.08em)") == 2
    assert 'table.header("kernel", "calls", "total (ms)", "of step", "peak (GiB)")' in text
    assert '"gemm", "1,440", "254.123", "86.0%", "25.52"' in text
    assert '"copy", "12", "1.500", "0.5%", "–"' in text  # noqa: RUF001
    assert 'text(size: 0.8em, "2 launches were lost")' in text


def test_rows_left_out_and_totals_are_said(kernels):
    text = typst(kernels, top=2)
    assert '"… 2 more rows"' in text
    assert text.index("0.05em") < text.index('"total"')


def test_no_rows_are_said(empty):
    assert 'table.cell(colspan: 5, "no rows")' in typst(empty)


def test_every_text_stays_inside_its_string(nasty):
    """GIVEN names that mean something to Typst WHEN strings are taken out THEN only perfkit's own code is left"""
    code = re.sub(r'"(?:[^"\\]|\\.)*"', "S", typst(nasty, name_width=None))
    assert set(re.findall(r"[^\w\s:,.()\-]", code)) <= {"#", "{", "}", "<", ">"}
    assert code.count("S, S,") == len(NASTY_NAMES)


def test_a_string_escapes_what_would_end_it():
    assert string('a"b\\c') == '"a\\"b\\\\c"'
    string("half \ud800").encode()


def test_negative_numbers_have_a_minus_sign():
    table = Table("t", "T", (Column("x", "s", "time"),), pd.DataFrame({"x": [-0.5]}))
    assert '"−500.0"' in typst(table)  # noqa: RUF001
