"""Tables that show themselves."""

from __future__ import annotations

import pandas as pd

from perfkit.api.table import framed
from perfkit.schema.table import Column, Table

_COLUMNS = (
    Column("name"),
    Column("total_ns", "ns", "time", "sum", summed=True),
    Column("key", audience="scripts"),
)
ROWS = 30


def table() -> Table:
    """30 rows of 1 ms, and a column in the frame that no column describes."""
    rows = [(f"<gemm {number}>", 1_000_000, "k", 0) for number in range(ROWS)]
    frame = pd.DataFrame(rows, columns=["name", "total_ns", "key", "inner"])
    return Table("kernels", "Kernels", _COLUMNS, frame, ("a note",))


def test_the_frame_has_what_is_described_and_its_units():
    frame = framed(table()).frame
    assert list(frame) == ["name", "total_ns", "key"]
    assert frame.attrs == {"name": "", "total_ns": "ns", "key": ""}
    assert "inner" in table().frame


def test_at_a_prompt_it_is_the_text_of_twenty_rows_and_the_sum_of_the_others():
    """GIVEN 30 rows of 1 ms THEN 20 of them, 10 more of 10 ms, 30 ms in total, the note; no column for scripts"""
    lines = repr(framed(table())).splitlines()
    assert lines[0] == "Kernels"
    assert lines[1].split() == ["name", "sum", "(ms)"]
    assert sum(line.startswith("<gemm") for line in lines) == 20
    assert [line.split() for line in lines[-4:] if "more" in line] == [["…", "10", "more", "rows", "10.000"]]
    assert lines[-2].split() == ["total", "30.000"]
    assert lines[-1] == "a note"


def test_in_a_notebook_it_is_a_table_of_the_same_rows():
    markup = framed(table())._repr_html_()
    assert markup.count("<tr>") == 1 + 20 + 2
    assert "&lt;gemm 0&gt;" in markup
    assert "key" not in markup
    assert "<p>a note</p>" in markup
