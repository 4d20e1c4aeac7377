"""The best size of groups of checkpointed blocks, from rows by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

from perfkit.analysis.reports import sweep as sweep_report
from perfkit.analysis.sweeps.checkpoints import findings
from perfkit.schema.config import RunConfig
from perfkit.schema.sweep import SweepRow
from tests import runs, sweeps

MIB = 2**20


def rows(counted: dict[int, int | None], predicted: dict[int, int] | None = None, **fields: Any) -> list[SweepRow]:
    """A point for each size of group, with its peak in MiB."""
    made = []
    for every, peak in counted.items():
        config = RunConfig.of(**{**runs.QUICK, "device": "cpu", "checkpoint_every": every, **fields})
        expected = None if predicted is None else predicted[every] * MIB
        row = sweeps.row(config, 0.1, 0.1)
        made.append(dataclasses.replace(row, tensor_bytes=peak and peak * MIB, predicted_bytes=expected))
    return made


def said(of: list[SweepRow]) -> list[str]:
    return [finding.what for finding in findings(of)]


def test_the_best_size_stands_beside_its_neighbours_and_its_prediction():
    """GIVEN peaks of 9, 7, 8 and 9 MiB for groups of 1, 2, 3 and 6, in any order, and a point without a checkpoint"""
    peaks, others = {6: 9, 1: 9, 3: 8, 2: 7}, rows({0: 2}, {0: 2})

    # WHEN
    agreed, apart = (said([*rows(peaks, expected), *others]) for expected in (peaks, {**peaks, 3: 6}))

    # THEN
    start = "groups of 2 have the lowest peak in tensors, 7.0 MiB (counted); "
    start += "groups of 1 need 9.0 MiB and groups of 3 need 8.0 MiB; 7.0 MiB was predicted"
    assert agreed == [start]
    assert apart == [f"{start}, and groups of 3 as the lowest"]


def test_at_an_end_there_is_one_neighbour_and_of_equals_the_smaller_groups_win():
    assert said(rows({1: 5, 2: 5, 4: 6})) == [
        "groups of 1 have the lowest peak in tensors, 5.0 MiB (counted); groups of 2 need 5.0 MiB"
    ]


def test_without_a_count_of_each_the_prediction_decides_and_without_both_nothing_is_said():
    text = "groups of 2 have the lowest peak in tensors, 4.0 MiB (predicted); "
    text += "groups of 1 need 5.0 MiB and groups of 4 need 6.0 MiB"
    assert said(rows({1: 5, 2: None, 4: 6}, {1: 5, 2: 4, 4: 6})) == [text]
    assert said(rows({1: 5, 2: None, 4: 6})) == []
    assert said(rows({1: 5, 2: 4})) == []  # two sizes are a comparison, no minimum with neighbours


def test_points_that_differ_otherwise_are_judged_apart():
    """GIVEN two batch sizes, nested and not THEN each has its own best size; --checkpoint counts as groups of one"""
    plain = rows({2: 4, 3: 6}) + rows({0: 5}, checkpoint=True)
    several = plain + rows({1: 9, 2: 8, 3: 7}, batch_size=8) + rows({2: 3, 3: 2, 4: 1}, checkpoint_nested=True)
    found = said(several)
    assert [text.split(" have")[0] for text in found] == [
        "--batch-size 2, --checkpoint-nested off: groups of 2",
        "--batch-size 8, --checkpoint-nested off: groups of 3",
        "--batch-size 2, --checkpoint-nested on: groups of 4",
    ]


def test_the_table_has_predicted_and_counted_peaks_where_checkpointing_varies():
    made = rows({1: 9, 2: 7, 3: 8}, {1: 9, 2: 7, 3: 8})
    for several in (made, [*made, *(dataclasses.replace(row, repeat=2) for row in made)]):
        table = sweep_report.results(several, ["checkpoint_every"])
        assert table.frame["tensor_bytes"].tolist() == [9 * MIB, 7 * MIB, 8 * MIB]
        assert table.frame["predicted_bytes"].tolist() == [9 * MIB, 7 * MIB, 8 * MIB]
    assert "tensor_bytes" not in sweep_report.results(made, ["batch_size"]).frame
