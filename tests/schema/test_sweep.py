"""Lines of a results file: what is written is what is read."""

from __future__ import annotations

import csv
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import UsageError
from perfkit.schema import sweep
from perfkit.schema.config import RunConfig, of_own
from perfkit.schema.limits import LARGEST
from perfkit.schema.sweep import SweepRow
from tests import runs, sweeps

ROW = SweepRow(key="k", repeat=1, isolation="fresh", outcome="ok", config=runs.quick(checkpoint=True), mean_s=0.1 + 0.2,
               peak_memory_bytes=2**53 + 1)  # fmt: skip


def cells(row: SweepRow) -> dict[str, str]:
    """What is written of the row, by column."""
    return dict(zip(sweep.COLUMNS, next(csv.reader([sweep.to_line(row)])), strict=True))


def test_a_line_has_a_value_for_each_column():
    assert len(next(csv.reader([sweep.to_line(ROW)]))) == len(sweep.COLUMNS) == len(set(sweep.COLUMNS))
    assert sweep.COLUMNS[:2] == ("sweep_version", "key")
    assert next(csv.reader([sweep.header_line()])) == list(sweep.COLUMNS)


def test_every_digit_survives():
    assert sweeps.read_back(ROW) == ROW


@pytest.mark.parametrize("size", ["2.7B", "10B"])
def test_a_size_that_looks_like_a_number_stays_a_name(size):
    row = dataclasses.replace(ROW, config=RunConfig.of(model_size=size))
    assert sweeps.read_back(row).config.transformer.model_size == size


@given(st.text(min_size=1), st.floats(min_value=0, exclude_min=True, max_value=LARGEST))
def test_any_message_is_one_line_and_comes_back(message, seconds):
    row = dataclasses.replace(ROW, message=message, mean_s=seconds)
    line = sweep.to_line(row)
    assert len(line.split("\n")) == 2
    read = sweeps.read_back(row)
    assert read.message == (" ".join(message.replace("\0", r"\x00").split()) or None)
    assert read.mean_s == seconds


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"outcome": "fine"}, "column outcome holds 'fine': Invalid enum value 'fine'"),
        ({"outcome": ""}, "column outcome is empty"),
        ({"key": ""}, "column key is empty"),
        ({"batch_size": "two"}, "column batch_size holds 'two': Expected `int`, got `str`"),
        ({"batch_size": "0"}, "--batch-size 0: must be at least 1"),
        ({"repeat": "0"}, "column repeat holds '0'"),
        ({"sweep_version": "0"}, "column sweep_version holds '0'"),
        ({"sweep_version": "x" * 1000}, "column sweep_version holds 'x{40}': "),
        ({"median_s": "0"}, "column median_s holds '0': Expected `float` > 0.0"),
        ({"mean_s": "nan"}, "column mean_s holds 'nan'"),
        ({"p90_s": "inf"}, "column p90_s holds 'inf', which is not a number"),
        ({"rest_s": "nan"}, "column rest_s holds 'nan', which is not a number"),
        ({"tokens_per_s": "1e999"}, "column tokens_per_s holds '1e999': Number out of range"),
        ({"mean_s": "1e308"}, "mean_s is beyond"),
    ],
)
def test_what_is_no_row_is_refused_with_its_column(change, complaint):
    with pytest.raises(UsageError, match=complaint):
        sweep.from_cells(cells(ROW) | change)


def test_no_column_added_later_is_required():
    """GIVEN the columns of version 1 that every row of it has a value of THEN no other is required, in any version

    By hand: what names a row, and how it ended.
    """
    # GIVEN
    always = {"key": "k", "repeat": "1", "isolation": "fresh", "outcome": "error"}

    # THEN
    assert sweep.from_cells(always) == SweepRow(
        sweep_version=1, key="k", repeat=1, isolation="fresh", outcome="error", config=RunConfig()
    )


TEXTS = ["=1+1", "+1+1", "-1+1", "--batch-size 1", "@SUM(A1)", "'=1", "'", "=", "-", "\uff1d1", '=HYPERLINK("x")']


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_that_would_be_a_formula_has_an_apostrophe_in_the_file_and_none_when_it_is_read(text):
    row = dataclasses.replace(ROW, message=text, record=text)
    assert cells(row)["message"] == cells(row)["record"] == f"'{text}"
    assert sweeps.read_back(row) == row


def test_numbers_never_have_an_apostrophe():
    row = dataclasses.replace(ROW, rest_s=-1.5e-07, message="-1.5")
    assert (cells(row)["rest_s"], cells(row)["message"]) == ("-1.5e-07", "-1.5")
    assert sweeps.read_back(row) == row


def test_rows_of_version_1_have_their_apostrophes_themselves():
    """GIVEN a row written before apostrophes were THEN what stands in it is the text"""
    assert sweep.from_cells(cells(ROW) | {"sweep_version": "1", "message": "'quoted'"}).message == "'quoted'"
    assert sweep.from_cells(cells(ROW) | {"sweep_version": "2", "message": "''quoted'"}).message == "'quoted'"


def test_what_no_text_file_can_hold_is_spelled_out():
    row = dataclasses.replace(ROW, message="nul \0, surrogate \udc80")
    assert sweeps.read_back(row).message == r"nul \x00, surrogate \udc80"


def test_a_key_names_a_configuration():
    # GIVEN
    config = RunConfig.of(model_size="small", pass_type="train")

    # WHEN / THEN: as it was when this was written, so that older results are found again
    assert sweep.key_of(config) == "small_train_52165d8d"
    assert sweep.key_of(config.changed()) == sweep.key_of(config)
    assert sweep.key_of(config.changed(seed=1)) != sweep.key_of(config)
    assert sweep.key_of(RunConfig()).startswith("default_forward-backward_")


@pytest.mark.parametrize(
    "column",
    ["mean_s", "median_s", "median_low_s", "median_high_s", "min_s", "p90_s", "first_step_s"],
)
def test_times_of_steps_are_above_zero(column):
    for text in ("0", "-1"):
        with pytest.raises(UsageError, match=f"^column {column} holds '{text}'"):
            sweep.from_cells(cells(ROW) | {column: text})
    assert getattr(sweep.from_cells(cells(ROW) | {column: "1e-300"}), column) == 1e-300


@pytest.mark.parametrize("column", ["std_s", "cv", "forward_s", "backward_s", "optimizer_s", "rest_s"])
def test_differences_and_parts_may_be_zero(column):
    assert getattr(sweep.from_cells(cells(ROW) | {column: "0"}), column) == 0


def test_a_number_that_nothing_measures_is_refused_but_in_the_configuration():
    assert sweep.from_cells(cells(ROW) | {"requested_bytes": str(10**18)}).requested_bytes == 10**18
    with pytest.raises(UsageError, match=r"^requested_bytes is beyond 1e\+18"):
        sweep.from_cells(cells(ROW) | {"requested_bytes": str(10**18 + 1)})
    assert sweep.from_cells(cells(ROW) | {"seed": str(2**63 - 1)}).config.step.seed == 2**63 - 1


@pytest.mark.parametrize(("length", "shown"), [(39, 39), (40, 40), (41, 40)])
def test_of_a_wrong_cell_40_characters_are_shown(length, shown):
    with pytest.raises(UsageError) as refused:
        sweep.from_cells(cells(ROW) | {"outcome": "x" * length})
    assert str(refused.value).startswith(f"column outcome holds '{'x' * shown}': ")


@pytest.mark.parametrize(("version", "taken"), [("0", False), ("1", True), ("2", True), ("3", False)])
def test_versions_are_1_and_2(version, taken):
    if taken:
        assert sweep.from_cells(cells(ROW) | {"sweep_version": version}).sweep_version == int(version)
    else:
        with pytest.raises(UsageError, match=f"column sweep_version holds '{version}'"):
            sweep.from_cells(cells(ROW) | {"sweep_version": version})


def test_a_line_is_of_this_version_and_leaves_strange_columns_empty():
    old = dataclasses.replace(ROW, sweep_version=1)
    assert sweep.to_line(old, ("note", "key", "sweep_version", "checkpoint", "autograd_nvtx", "phase")) == (
        ",k,2,true,false,\n"
    )


def test_a_row_has_a_name_by_key_and_repeat():
    assert dataclasses.replace(ROW, key="a", repeat=3).id == ("a", 3)


def test_flat_has_the_columns_in_their_order():
    found = sweep.flat(ROW)
    assert tuple(found) == sweep.COLUMNS
    assert (found["checkpoint"], found["mean_s"], found["phase"]) == (True, ROW.mean_s, None)


OWN = of_own({"model": "a.b:C", "model_arg": ("n=4", "act=a b", "q='x'"), "input": "a:d", "input_arg": ("n=2",)},
             precision="bf16", pass_type="train")  # fmt: skip


def test_a_row_of_an_own_model_comes_back_with_its_arguments():
    """GIVEN texts with blanks and quotes WHEN written and read THEN nothing is lost, and no Transformer's is said"""
    row = dataclasses.replace(ROW, config=OWN, key=sweep.key_of(OWN))
    assert row.key.startswith("a.b.C_train_")
    assert sweeps.read_back(row) == row
    said = cells(row)
    assert (said["model"], said["input"], said["input_arg"]) == ("a.b:C", "a:d", "n=2")
    assert not said["batch_size"] + said["model_size"] + said["checkpoint"]


def test_a_row_of_an_own_model_must_be_that_of_its_key():
    row = dataclasses.replace(ROW, config=OWN, key=sweep.key_of(OWN))
    with pytest.raises(
        UsageError, match=r"the key a.b.C_train_\w+ says workload a.b.C, but column workload holds 'e.F'"
    ):
        sweep.from_cells(cells(row) | {"model": "e:F"})
