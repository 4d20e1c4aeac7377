from __future__ import annotations

import pandas as pd
import pytest

from perfkit.render.layout import layout
from perfkit.schema.table import Column, Table


def test_first_rows_rest_and_total_add_up(kernels):
    # WHEN
    shown = layout(kernels, top=2)

    # THEN
    assert [row[:3] for row in shown.rows] == [["gemm", "1,440", "254.1"], ["softmax", "144", "40.0"]]
    assert shown.rest == ["… 2 more rows", "13", "1.5", "0.5%", ""]
    assert shown.total == ["total", "1,597", "295.6", "100.0%", ""]


@pytest.mark.parametrize("top", [None, 4, 99])
def test_no_line_for_the_rest_where_all_rows_are_shown(kernels, top):
    shown = layout(kernels, top)
    assert len(shown.rows) == 4
    assert shown.rest is None
    assert shown.total is not None


def test_one_more_row_is_singular(kernels):
    rest = layout(kernels, top=3).rest
    assert rest is not None
    assert rest[0] == "… 1 more row"


def test_no_rows_shown_leaves_the_sums(kernels):
    shown = layout(kernels, top=0)
    assert shown.rows == []
    assert shown.rest is not None
    assert shown.total is not None
    assert shown.rest[1] == shown.total[1] == "1,597"


def test_no_total_without_summed_columns_or_for_a_single_row(kernels):
    single = Table("one", "One", kernels.columns, kernels.frame.head(1))
    unsummed = Table("none", "None", (Column("kernel"), Column("peak", "B", "bytes")), kernels.frame)
    assert layout(single).total is None
    assert layout(unsummed).total is None
    assert layout(unsummed, top=1).rest == ["… 3 more rows", ""]


def test_missing_values_do_not_spoil_a_sum():
    frame = pd.DataFrame({"name": list("abc"), "ns": [5.0, None, 7.0], "none": [None, None, None]})
    columns = (
        Column("name"),
        Column("ns", "ns", "time", summed=True),
        Column("none", kind="count", summed=True),
    )
    assert layout(Table("t", "T", columns, frame)).total == ["total", "12", "-"]


def test_the_sums_are_named_in_a_text_column_or_in_one_of_their_own():
    # GIVEN
    frame = pd.DataFrame({"step": [1, 2], "time_s": [0.1, 0.2], "phase": ["a", "b"]})
    numbers = (Column("step", kind="count"), Column("time_s", "s", "time", summed=True))

    # WHEN
    with_text = layout(Table("t", "T", (*numbers, Column("phase")), frame))
    without = layout(Table("t", "T", numbers, frame), top=1)

    # THEN
    assert with_text.total == ["", "300.0", "total"]
    assert without.headings == ["", "step", "time (ms)"]
    assert without.rows == [["", "1", "100.0"]]
    assert without.rest == ["… 1 more row", "", "200.0"]
    assert without.total == ["total", "", "300.0"]


def test_only_the_rows_shown_are_formatted():
    # GIVEN names that must not be turned into text
    class Unspeakable:
        def __str__(self):
            raise AssertionError("formatted a row that is not shown")

    frame = pd.DataFrame({"name": ["a", "b", *(Unspeakable() for _ in range(1498))], "calls": 1})
    table = Table("t", "T", (Column("name"), Column("calls", kind="count", summed=True)), frame)

    # WHEN
    shown = layout(table, top=2)

    # THEN
    assert shown.rest == ["… 1,498 more rows", "1,498"]


def test_a_negative_top_is_refused(kernels):
    with pytest.raises(ValueError, match="top -1"):
        layout(kernels, top=-1)
