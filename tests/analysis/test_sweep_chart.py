"""What the pictures of a sweep show, before they are drawn."""

from __future__ import annotations

import dataclasses
import math

import pytest

from perfkit.analysis import sweep_chart
from perfkit.schema.config import RunConfig
from tests import runs, sweeps


def row(*seconds: float, **changes):
    made = sweeps.row(RunConfig(**{"model_size": "small", "device": "cpu", **changes}), *seconds)
    return dataclasses.replace(made, peak_memory_bytes=2**30 if seconds else None)


def test_each_number_that_varies_has_its_panels_and_the_rest_tells_lines_apart():
    # GIVEN
    rows = [
        row(*[0.1 * n] * 6, model_size=size, batch_size=batch, pass_type=kind)
        for n, (size, batch, kind) in enumerate(
            [(s, b, k) for s in ("medium", "small") for b in (4, 1) for k in ("train", "forward")], start=1
        )
    ]

    # WHEN
    chart = sweep_chart.chart(rows, ["model_size", "batch_size", "pass_type"])

    # THEN
    (by_size, by_batch), memory = chart.rows
    assert (by_size.x_title, by_batch.x_title) == ("model size", "batch (sequences)")
    assert [tick for _, tick in by_size.x_ticks] == ["small\n128.6M", "medium\n423.2M"]
    assert [one.label for one in by_size.series] == [
        "batch 1, forward", "batch 1, train", "batch 4, forward", "batch 4, train"]  # fmt: skip
    assert [one.label for one in by_batch.series] == ["small, forward", "small, train", "medium, forward",
                                                      "medium, train"]  # fmt: skip
    assert [(one.color, one.dash) for one in by_size.series] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert by_batch.series[0].x == (1.0, 4.0)
    assert by_batch.series[0].y == (pytest.approx(0.8), pytest.approx(0.6))
    assert memory[0].y_quantity == "B"
    assert "order statistics over the steps of one process" in chart.notes[0]


def test_intervals_are_those_of_the_median_and_only_where_there_is_one():
    rows = [row(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, batch_size=1), row(0.1, 0.2, batch_size=2)]
    [series] = sweep_chart.chart(rows, ["batch_size"]).rows[0][0].series
    assert (series.low[0], series.y[0], series.high[0]) == (0.1, pytest.approx(0.35), 0.6)
    assert math.isnan(series.low[1])


def test_what_ran_out_of_memory_is_marked_where_it_would_be():
    chart = sweep_chart.chart([row(0.1, batch_size=1), row(batch_size=8)], ["batch_size"])
    for (panel,) in chart.rows:
        [missing] = panel.missing
        assert (missing.x, missing.label) == (8.0, "out of memory")
        assert panel.series[0].x == (1.0,)


@pytest.mark.parametrize(("largest", "log"), [(0.7, False), (0.9, True)])
def test_a_wide_range_is_logarithmic(largest, log):
    [[panel], _] = sweep_chart.chart([row(0.1, batch_size=1), row(largest, batch_size=2)], ["batch_size"]).rows
    assert panel.y_log is log
    assert panel.x_log is False


def test_without_a_number_that_varies_points_stand_side_by_side():
    chart = sweep_chart.chart([row(0.2, attention="sdpa"), row(0.1, attention="eager")], ["attention"])
    panel = chart.rows[0][0]
    assert panel.x_ticks == ((0.0, "attention eager"), (1.0, "attention sdpa"))
    assert (panel.series[0].look, panel.series[0].y) == ("marks", (0.1, 0.2))


def test_repeats_are_one_point_with_an_interval_over_processes():
    rows = [dataclasses.replace(row(*[t] * 6), repeat=n) for n, t in enumerate((0.1, 0.2, 0.3), start=1)]
    chart = sweep_chart.chart(rows, [])
    assert chart.rows[0][0].series[0].y == (pytest.approx((0.1 * 0.2 * 0.3) ** (1 / 3)),)
    assert "Student's t over processes" in chart.notes[0]


def test_a_warm_up_study_shows_every_step_in_order():
    # GIVEN
    records = [
        runs.saved(config=runs.quick(warmup_steps=n), warmup=sweeps.steps(*[0.9] * n), steps=sweeps.steps(0.3, 0.2))
        for n in (2, 0)
    ]

    # WHEN
    [[panel]] = sweep_chart.warmup_chart(records, ["warmup_steps"]).rows

    # THEN
    warm, measured, median = panel.series
    assert panel.x_ticks == ((0.0, "0"), (1.0, "2"))
    assert warm.y == (0.9, 0.9)
    assert measured.y == (0.3, 0.2, 0.3, 0.2)
    assert list(measured.x) == sorted(measured.x)
    assert measured.x[1] < median.x[0] < warm.x[0] < warm.x[1] < measured.x[2]
    assert median.y == (pytest.approx(0.25), pytest.approx(0.25))


def test_a_warm_up_study_of_several_points_has_a_panel_for_each():
    records = [runs.saved(config=runs.quick(warmup_steps=n, batch_size=b)) for n in (0, 1) for b in (1, 2, 4, 8)]
    rows = sweep_chart.warmup_chart(records, ["batch_size", "warmup_steps"]).rows
    assert [[panel.title for panel in row] for row in rows] == [["batch 1", "batch 2", "batch 4"], ["batch 8"]]
