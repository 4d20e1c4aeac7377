"""Tables know their columns."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from perfkit.schema.table import Column, Steps, Table, each_note_once


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


def test_people_are_spared_rows_and_columns_of_nothing():
    """GIVEN a row of zeros and columns of zeros, gaps and no text WHEN brief THEN people lack them, scripts do not"""
    frame = pd.DataFrame(
        {
            "phase": ["forward", "recompute", "other"],
            "count": [3, 0, 1],
            "zero": [0, 0, 0],
            "missing": pd.Series([pd.NA] * 3, dtype="Int64"),
            "place": [None] * 3,
        }
    )
    numbers = tuple(Column(name, "", "count") for name in ("count", "zero", "missing"))
    table = Table("t", "T", (Column("phase"), *numbers, Column("place")), frame, pinned=2, brief=True)
    people, scripts = table.seen_by("people"), table.seen_by("scripts")
    assert [column.name for column in people.columns] == ["phase", "count"]
    assert people.frame["phase"].tolist() == ["forward", "other"]
    assert people.pinned == 1
    assert (len(scripts), len(scripts.columns), scripts.pinned) == (3, 5, 2)


def test_people_read_short_texts_or_full_ones_in_whole():
    """GIVEN a column that stands for another WHEN seen THEN people have one of the two, and scripts always the full"""
    full, short = Column("name", audience="scripts"), Column("short_name", short_for="name")
    table = Table(
        "t", "T", (full, short, Column("n", kind="count")), pd.DataFrame({"name": ["a"], "short_name": ["b"], "n": [1]})
    )
    assert [column.name for column in table.seen_by("people").columns] == ["short_name", "n"]
    assert [column.name for column in table.in_full().seen_by("people").columns] == ["name", "n"]
    assert [column.name for column in table.in_full().seen_by("scripts").columns] == ["name", "short_name", "n"]
    assert all(column.whole for column in table.in_full().columns)


def test_a_table_in_full_has_columns_that_a_narrow_terminal_would_leave_out():
    """GIVEN a spare column, and one for scripts WHEN in full THEN none is spare, and people still lack the other"""
    columns = (Column("a", spare=True), Column("n", kind="count", spare=True), Column("m", audience="scripts"))
    full = Table("t", "T", columns, pd.DataFrame({"a": ["x"], "n": [1], "m": ["y"]})).in_full().seen_by("people")
    assert [(column.name, column.spare) for column in full.columns] == [("a", False), ("n", False)]


REPEATING = (Column("a"), Column("sum", "ns", "time"), Column("own", "ns", "time", repeats="sum", note="its own"))


@pytest.mark.parametrize(
    ("own", "read"),
    [
        ([5, 7], ["a", "sum"]),
        ([5.0, 7.0], ["a", "sum"]),
        ([5, 6], ["a", "sum", "own"]),
        (pd.array([5, None], dtype="Int64"), ["a", "sum", "own"]),
    ],
    ids=["equal", "equal, as floats", "one row differs", "one row lacks it"],
)
def test_people_are_spared_a_column_that_repeats_another(own, read):
    """GIVEN a column that may repeat another WHEN it does in every row THEN people lack it; scripts have it always"""
    table = Table("t", "T", REPEATING, pd.DataFrame({"a": ["x", "y"], "sum": [5, 7], "own": own}))
    seen = table.seen_by("people")
    assert [column.name for column in seen.columns] == read
    assert bool(seen.remarks) == ("own" in read)
    assert len(table.seen_by("scripts").columns) == 3
    assert len(replace(table, columns=REPEATING[::2]).seen_by("people").columns) == 2, "there is nothing to repeat"


def test_a_table_of_nothing_but_zeros_stays_whole():
    table = Table("t", "T", (Column("a"), Column("n", "", "count")), pd.DataFrame({"a": ["x"], "n": [0]}), brief=True)
    assert (len(table.seen_by("people")), len(table.seen_by("people").columns)) == (1, 2)
    assert len(Table("t", "T", (Column("a"),), pd.DataFrame({"a": ["x"]}), brief=True).seen_by("people")) == 1


def test_columns_of_nothing_are_left_out_of_every_table_and_rows_of_brief_ones():
    frame = pd.DataFrame({"a": ["x", "y"], "n": [1, 0], "zero": [0.0, 0.0]})
    table = Table("t", "T", (Column("a"), *(Column(name, "", "count") for name in ("n", "zero"))), frame)
    assert [column.name for column in table.seen_by("people").columns] == ["a", "n"]
    assert len(table.seen_by("people")) == 2


def of_steps(steps: Steps | None) -> Table:
    """4,000 ns in 2 calls; 1,000 of them in the median one; 500 a step, of which 100 in one kind of call."""
    columns = (
        Column("a"),
        Column("count", "", "count", summed=True),
        Column("total_ns", "ns", "time", summed=True),
        Column("median_ns", "ns", "time"),
        Column("with_children_ns", "ns", "time", divided=True),
        Column("step_ns", "ns", "time", summed=True, divided=False),
        Column("share", "1", "share", summed=True),
        Column("per_step", "", "count", read="in total"),
        Column("step_share", "1", "share", read="per step"),
    )
    row = {"a": ["x"], "count": [2], "total_ns": [4000], "median_ns": [1000], "with_children_ns": [8000],
           "step_ns": [500], "share": [1.0], "per_step": [0.25], "step_share": [0.5]}  # fmt: skip
    return Table("t", "T", columns, pd.DataFrame(row), steps=steps)


@pytest.mark.parametrize(
    ("steps", "title", "row"),
    [
        (Steps(8), "T, mean of 8 steps", {"count": 0.25, "total_ns": 500, "with_children_ns": 1000, "step_share": 0.5}),
        (Steps(1), "T, 1 step", {"step_share": 0.5}),
        (Steps(1, only=2), "T, step 2 alone", {"step_share": 0.5}),
        (Steps(8, has_more=True), "T, total of 8 steps and of what ran outside them", {"per_step": 0.25}),
        (Steps(1, has_more=True), "T, total of 1 step and of what ran outside them", {"per_step": 0.25}),
        (Steps(8, in_total=True), "T, total of 8 steps", {"per_step": 0.25}),
        (None, "T", {"per_step": 0.25}),
    ],
)
def test_people_read_the_mean_of_a_step(steps, title, row):
    """GIVEN totals of steps WHEN read by people THEN divided, unless they have more or were asked for"""
    seen = of_steps(steps).seen_by("people")
    whole = {"a": "x", "count": 2, "total_ns": 4000, "median_ns": 1000, "with_children_ns": 8000, "step_ns": 500}
    assert seen.title == title
    assert {column.name: seen.frame[column.name][0] for column in seen.columns} == {**whole, "share": 1.0, **row}


def test_scripts_read_totals():
    seen = of_steps(Steps(8)).seen_by("scripts")
    assert (seen.title, seen.frame["total_ns"].tolist(), len(seen.columns)) == ("T", [4000], 9)


def test_totals_are_for_who_asks():
    assert of_steps(Steps(8)).in_total().seen_by("people").title == "T, total of 8 steps"
    assert of_steps(None).in_total().seen_by("people").title == "T"


def noted(**values: list[int]) -> Table:
    """A table of two columns with the same note, one with another, and a note of its own."""
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]} | values)
    columns = (
        Column("a", "", "count", "first", note="both"),
        Column("b", "", "count", note="both"),
        Column("c", "", "count", note="alone"),
    )
    return Table("t", "T", columns, frame, ("of all",))


def test_columns_of_one_note_share_it_before_the_notes_of_the_table():
    assert noted().remarks == ("first, b: both; c: alone", "of all")


def test_a_note_is_left_out_with_its_column():
    """GIVEN a column of zeros, with a note WHEN people see the table THEN the note is gone; scripts have both"""
    assert noted(b=[0], c=[0]).seen_by("people").remarks == ("first: both", "of all")
    assert noted(b=[0], c=[0]).seen_by("scripts").remarks == noted().remarks


def test_a_note_on_a_column_is_said_once_over_several_tables():
    """GIVEN two tables of which the second has one column more WHEN shown together THEN it says what is new alone"""
    shorter = noted(b=[0], c=[0]).seen_by("people")
    assert [table.remarks for table in each_note_once([shorter, noted()])] == [
        ("first: both", "of all"),
        ("b: both; c: alone",),
    ]
