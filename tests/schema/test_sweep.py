"""Lines of a results file: what is written is what is read."""

from __future__ import annotations

import csv
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.errors import UsageError
from perfkit.schema import sweep
from perfkit.schema.config import RunConfig
from perfkit.schema.limits import LARGEST
from perfkit.schema.sweep import SweepRow
from tests import runs

ROW = SweepRow(key="k", repeat=1, isolation="fresh", outcome="ok", config=runs.quick(checkpoint=True), mean_s=0.1 + 0.2,
               peak_memory_bytes=2**53 + 1)  # fmt: skip


def test_a_line_has_a_value_for_each_column():
    assert len(next(csv.reader([sweep.to_line(ROW)]))) == len(sweep.COLUMNS) == len(set(sweep.COLUMNS))
    assert sweep.COLUMNS[:2] == ("sweep_version", "key")
    assert next(csv.reader([sweep.header_line()])) == list(sweep.COLUMNS)


def test_every_digit_survives():
    assert sweep.from_line(sweep.to_line(ROW).rstrip("\n")) == ROW


@pytest.mark.parametrize("size", ["2.7B", "10B"])
def test_a_size_that_looks_like_a_number_stays_a_name(size):
    row = dataclasses.replace(ROW, config=RunConfig(model_size=size))
    assert sweep.from_line(sweep.to_line(row).rstrip("\n")).config.model_size == size


@given(st.text(min_size=1), st.floats(-LARGEST, LARGEST))
def test_any_message_is_one_line_and_comes_back(message, seconds):
    row = dataclasses.replace(ROW, message=message, mean_s=seconds)
    line = sweep.to_line(row)
    assert len(line.split("\n")) == 2
    read = sweep.from_line(line.rstrip("\n"))
    assert read.message == (" ".join(message.split()) or None)
    assert read.mean_s == seconds


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda line: line + ",1", "values for"),
        (lambda line: line.replace("fresh,ok", "fresh,fine"), "Invalid enum value 'fine'"),
        (lambda line: line.replace("forward-backward,2,", "forward-backward,two,"), "batch_size"),
        (lambda line: line.replace("forward-backward,2,", "forward-backward,0,"), "--batch-size 0: must be at least 1"),
        (lambda line: line.replace(repr(ROW.mean_s), "1e308"), "mean_s is beyond"),
        (lambda line: line.replace(repr(ROW.mean_s), "-inf"), "mean_s is beyond"),
        (lambda line: line.replace(repr(ROW.mean_s), "nan"), "mean_s is beyond"),
    ],
)
def test_what_is_no_row_is_refused(change, complaint):
    with pytest.raises(UsageError, match=complaint):
        sweep.from_line(change(sweep.to_line(ROW).rstrip("\n")))


def test_a_key_names_a_configuration():
    # GIVEN
    config = RunConfig(model_size="small", pass_type="train")

    # WHEN / THEN: as it was when this was written, so that older results are found again
    assert sweep.key_of(config) == "small_train_52165d8d"
    assert sweep.key_of(dataclasses.replace(config)) == sweep.key_of(config)
    assert sweep.key_of(dataclasses.replace(config, seed=1)) != sweep.key_of(config)
    assert sweep.key_of(RunConfig()).startswith("default_forward-backward_")
