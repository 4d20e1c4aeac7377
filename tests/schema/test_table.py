"""Tables know their columns."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.schema.table import Column, Table


def test_a_column_is_text_unless_told_and_headed_by_its_name_in_words():
    column = Column("peak_memory_bytes")
    assert (column.unit, column.kind, column.summed, column.whole, column.spare) == ("", "text", False, False, False)
    assert column.heading == "peak memory bytes"
    assert Column("peak_memory_bytes", title="peak_memory").heading == "peak_memory"


def test_a_table_has_the_rows_of_its_frame_and_pins_none():
    table = Table("t", "T", (Column("b"),), pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]}))
    assert (len(table), table.pinned, table.notes) == (3, 0, ())


def test_a_column_that_the_frame_lacks_is_refused_by_name():
    frame = pd.DataFrame({"a": [1]})
    with pytest.raises(ValueError, match="table times: no such column in its frame: b, c"):
        Table("times", "T", (Column("a"), Column("b"), Column("c")), frame)
