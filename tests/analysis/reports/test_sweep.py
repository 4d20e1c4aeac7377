"""Tables of a sweep, from rows by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.reports import sweep as sweep_report
from perfkit.analysis.sweeps import points as sweep_points
from perfkit.errors import UsageError
from perfkit.render import latex, terminal, typst
from perfkit.schema.config import RunConfig
from tests import runs, sweeps
from tests.reports import lines_in, tables_for_people

QUICK: dict[str, Any] = dict(runs.QUICK, device="cpu", model_size="tiny")


def config(**changes):
    return RunConfig.of(**{**QUICK, **changes})


ROWS = [
    sweeps.row(config(batch_size=4), 0.04, 0.05, 0.04, 0.05, 0.04, 0.05),
    sweeps.row(config(batch_size=2), 0.02, 0.03, 0.02, 0.03, 0.02, 0.03),
    sweeps.row(config(batch_size=8)),
]


def test_results_are_in_the_order_of_the_grid_and_failures_apart():
    # WHEN
    report = sweep_report.report(ROWS, ["batch_size"])

    # THEN
    results, failed = tables_for_people(report)
    assert [column.name for column in results.columns][:4] == ["batch_size", "steps", "mean_s", "std_s"]
    assert results.frame["batch_size"].tolist() == [2, 4]
    assert results.frame["mean_s"].tolist() == pytest.approx([0.025, 0.045])
    assert failed.title == "Failed (out of memory)"
    [row] = failed.frame.to_dict("records")
    assert row == {
        "batch_size": 8, "outcome": "oom", "phase": "warm-up step 1, backward", "requested_bytes": 2**31,
        "available_bytes": 2**30, "try_first": "--checkpoint", "try_second": "--batch-size 1",
    }  # fmt: skip
    assert lines_in(report) == ("3 results: 2 ok, 1 out of memory",)
    assert len(report.seen_by("scripts").main_table) == 3


def test_columns_are_chosen_by_name_and_in_order():
    table = sweep_report.results(ROWS, ["batch_size"], ["size", "cv", "batch", "cv"])
    assert list(table.frame.columns) == ["model_size", "cv", "batch_size"]
    with pytest.raises(
        UsageError, match=r"--columns speed: there is no such column \(did you mean seed\?\); choose from .*mean_s"
    ):
        sweep_report.results(ROWS, ["batch_size"], ["speed"])


def test_repeats_are_one_line_with_an_interval_over_processes():
    # GIVEN three processes whose medians are 0.02, 0.03 and 0.04
    rows = [sweeps.row(config(), *[second] * 6, repeat=n) for n, second in enumerate((0.02, 0.03, 0.04), start=1)]
    rows.append(sweeps.row(config(), repeat=4))

    # WHEN
    [row] = sweep_report.results(rows, []).frame.to_dict("records")

    # THEN
    mean = (0.02 * 0.03 * 0.04) ** (1 / 3)
    width = math.exp(4.302653 * np.log([0.02, 0.03, 0.04]).std(ddof=1) / math.sqrt(3))
    assert (row["processes"], row["failed"]) == (3, 1)
    assert (row["median_s"], row["low_s"], row["high_s"]) == pytest.approx((mean, mean / width, mean * width))
    assert row["between_cv"] == pytest.approx(1 / 3)
    assert row["within_cv"] == 0


def test_repeats_in_one_process_have_no_interval_over_processes():
    # GIVEN
    rows = [sweeps.row(config(), *[second] * 6, repeat=n, isolation="shared") for n, second in ((1, 0.02), (2, 0.04))]

    # WHEN
    table = sweep_report.results(rows, [])

    # THEN
    [row] = table.frame.to_dict("records")
    assert (row["median_s"], row["processes"]) == (pytest.approx(math.sqrt(0.02 * 0.04)), 2)
    assert math.isnan(row["low_s"])
    assert math.isnan(row["high_s"])
    assert [column.title for column in table.columns if column.name == "processes"] == ["repeats"]
    assert "in one process" in table.remarks[0]


def test_no_interval_of_a_time_reaches_zero():
    """GIVEN two processes that differ eightfold, whose interval by plain means begins far below zero"""
    rows = [sweeps.row(config(), *[second] * 6, repeat=n) for n, second in ((1, 0.01), (2, 0.08))]
    [point] = sweep_points.points_of(rows)
    assert 0 < point.low_s < 0.01
    assert point.high_s > 0.08


def test_flags_to_try_and_messages_are_whole_however_narrow_the_terminal():
    # GIVEN
    tries = ("--batch-size 976 --checkpoint --attention sdpa", "--context-length 488 --precision bf16")
    rows = [sweeps.row(config(batch_size=8), try_first=tries[0], try_second=tries[1]),
            sweeps.row(config(batch_size=2), outcome="error", message="signal 11: " + "why " * 30)]  # fmt: skip

    # THEN
    for table in sweep_report.failures(rows, ["batch_size"]):
        shown = [terminal.render(table, width=80, color=False), latex.latex(table), typst.typst(table)]
        for one in shown:
            assert "…" not in one
    assert all(flags in terminal.render(sweep_report.failures(rows, ["batch_size"])[0], width=80, color=False)
               for flags in tries)  # fmt: skip


def test_what_was_not_run_is_one_line_whatever_the_repeats():
    rows = [sweeps.row(config(batch_size=8), repeat=n, outcome="predicted-oom") for n in (1, 2, 3)]
    [failed] = sweep_report.failures(rows, ["batch_size"])
    assert len(failed.frame) == 1


def test_one_process_has_the_interval_of_its_median():
    [point] = sweep_points.points_of(ROWS[:1])
    assert (point.median_s, point.low_s, point.high_s) == (pytest.approx(0.045), 0.04, 0.05)
    assert math.isnan(point.between_cv)
    assert point.outcome == "ok"


def test_the_interval_over_processes_covers():
    """GIVEN 2,000 sweeps of 5 processes that differ by 2% WHEN counting THEN the interval holds the truth in 95%"""
    generator = np.random.default_rng(3)
    rows = [sweeps.row(config(), 1.0, 1.0, repeat=n) for n in range(1, 6)]
    hits = 0
    for medians in 1 + 0.02 * generator.standard_normal((2000, 5)):
        drawn = [type(row)(**{**_fields(row), "median_s": float(m)}) for row, m in zip(rows, medians, strict=True)]
        [point] = sweep_points.points_of(drawn)
        hits += point.low_s <= 1 <= point.high_s
    assert 0.935 <= hits / 2000 <= 0.965


def _fields(row):
    return {name: getattr(row, name) for name in type(row).__dataclass_fields__}


def test_warm_up_has_a_study_of_its_own():
    # GIVEN
    rows = [sweeps.row(config(warmup_steps=n), 0.1 if n < 2 else 0.02, 0.02, 0.02) for n in (5, 0, 2)]

    # WHEN
    study = tables_for_people(sweep_report.report(rows, ["warmup_steps"]))[-1]

    # THEN
    assert study.title == "Warm-up study"
    assert study.frame["warmup_steps"].tolist() == [0, 2, 5]
    assert study.frame["first_step_s"].tolist() == [0.1, 0.02, 0.02]
    assert study.frame["cv"].tolist() == pytest.approx([0.989743, 0, 0], abs=1e-6)


def test_other_failures_have_a_table_with_their_message():
    rows = [sweeps.row(config(batch_size=2), outcome="timeout", message="stopped after 9 s")]
    report = sweep_report.report(rows, ["batch_size"])
    assert [table.title for table in tables_for_people(report)] == ["Step time", "Failed"]
    assert tables_for_people(report)[1].frame.to_dict("records") == [
        {"batch_size": 2, "repeat": 1, "outcome": "timeout", "message": "stopped after 9 s"}
    ]


def test_a_shared_process_is_said():
    rows = [sweeps.row(config(), 0.02, isolation="shared")]
    assert "1 of them share a process" in lines_in(sweep_report.report(rows, []))[1]


def test_a_sweep_that_has_nothing_yet_has_an_empty_table():
    report = sweep_report.report([], ["batch_size"])
    assert len(tables_for_people(report)[0]) == 0
