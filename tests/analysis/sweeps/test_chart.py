"""What the pictures of a sweep show, before they are drawn."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from perfkit.analysis.sweeps import chart as sweep_chart
from perfkit.schema.config import RunConfig, of_own
from tests import runs, sweeps


def row(*seconds: float, outcome: Any = "", **changes):
    made = sweeps.row(RunConfig.of(**{"model_size": "small", "device": "cpu", **changes}), *seconds)
    return dataclasses.replace(made, peak_memory_bytes=2**30 if seconds else None, outcome=outcome or made.outcome)


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
    rows = [row(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, batch_size=1), row(0.1, batch_size=2)]
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


@pytest.mark.parametrize(
    ("varied", "axes"),
    [
        (["batch_size"], ["batch (sequences)"]), (["context_length"], ["context length (tokens)"]),
        (["d_ff", "num_layers"], ["d ff", "num layers"]), (["model_size", "seed"], ["model size"]),
        (["seed", "attention", "checkpoint"], [""]), ([], [""]),
    ],
)  # fmt: skip
def test_numbers_are_axes_but_not_the_seed(varied, axes):
    times, memory = sweep_chart.chart([row(0.1)], varied).rows
    assert [panel.x_title for panel in times] == [panel.x_title for panel in memory] == axes
    assert {(panel.y_title, panel.y_quantity) for panel in times} == {("step time", "s")}
    assert {(panel.y_title, panel.y_quantity) for panel in memory} == {("peak memory", "B")}


def test_memory_has_no_interval_and_no_point_where_none_is_known():
    # GIVEN
    rows = [row(0.1, batch_size=1), dataclasses.replace(row(0.1, batch_size=2), peak_memory_bytes=None)]
    rows.append(dataclasses.replace(row(batch_size=4), peak_memory_bytes=2**34))  # of a run that did not end

    # WHEN
    _, [panel] = sweep_chart.chart(rows, ["batch_size"]).rows

    # THEN
    [series] = panel.series
    assert (series.x, series.y, series.low, series.high) == ((1.0,), (2.0**30,), (), ())


@pytest.mark.parametrize(
    ("outcome", "label"),
    [("oom", "out of memory"), ("predicted-oom", "predicted not to fit"), ("timeout", "timeout")],
)
def test_a_failure_is_named_in_the_colour_of_its_line(outcome, label):
    # GIVEN
    rows = [row(0.1, batch_size=1, precision="bf16"), row(0.1, batch_size=1), row(batch_size=8, outcome=outcome)]

    # WHEN
    [[panel], _] = sweep_chart.chart(rows, ["batch_size", "precision"]).rows

    # THEN
    [missing] = panel.missing
    [line] = [one for one in panel.series if one.label == "fp32"]
    assert (missing.label, missing.color) == (label, line.color)
    assert line.color == 1  # bf16 comes before fp32
    assert {one.look for one in panel.series} == {"line"}


@pytest.mark.parametrize(("batches", "log"), [((1, 7), False), ((1, 8), True), ((2, 4, 16), True), ((64,), False)])
def test_an_axis_that_spans_a_factor_of_eight_is_logarithmic(batches, log):
    [[panel], _] = sweep_chart.chart([row(0.1, batch_size=n) for n in batches], ["batch_size"]).rows
    assert panel.x_log is log
    assert panel.x_ticks == tuple((float(n), str(n)) for n in batches)


def test_large_numbers_are_written_with_separators_and_names_by_their_values():
    [[panel], _] = sweep_chart.chart([row(0.1, context_length=2048)], ["context_length"]).rows
    assert panel.x_ticks == ((2048.0, "2,048"),)
    [[panel], _] = sweep_chart.chart([row(0.1)], []).rows
    assert panel.x_ticks == ((0.0, "small"),)
    assert panel.x_log is False


def test_a_size_whose_parameters_are_unknown_stands_at_its_number():
    """GIVEN a point that failed before its model was known THEN its size is written without parameters"""
    unknown = dataclasses.replace(row(model_size="medium"), parameters=None)
    [[panel], _] = sweep_chart.chart([row(0.1), unknown], ["model_size"]).rows
    assert panel.x_ticks == ((128_625_408.0, "small\n128.6M"), (1.0, "medium"))


def test_categories_keep_their_places_however_often_they_come():
    # GIVEN
    rows = [row(0.1 * n, checkpoint=on, attention=kind) for n, (on, kind) in enumerate(
        [(True, "sdpa"), (False, "sdpa"), (True, "eager"), (False, "eager")], start=1)]  # fmt: skip
    rows.append(dataclasses.replace(rows[0], repeat=2))

    # WHEN
    [[panel], _] = sweep_chart.chart(rows, ["checkpoint", "attention"]).rows

    # THEN
    assert panel.x_ticks == (
        (0.0, "no checkpoint\nattention eager"), (1.0, "no checkpoint\nattention sdpa"),
        (2.0, "checkpoint\nattention eager"), (3.0, "checkpoint\nattention sdpa"),
    )  # fmt: skip
    assert panel.series[0].x == (0.0, 1.0, 2.0, 3.0)
    assert panel.series[0].y == pytest.approx((0.4, 0.2, 0.3, 0.1))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("checkpoint", True, "checkpoint"), ("autograd_nvtx", False, "no autograd nvtx"), ("batch_size", 4, "batch 4"),
        ("context_length", 2048, "context 2,048"), ("num_layers", 2, "num layers 2"), ("model_size", "tiny", "tiny"),
        ("pass_type", "train", "train"), ("precision", "bf16", "bf16"), ("optimizer", "adamw", "adamw"),
        ("attention", "sdpa", "attention sdpa"), ("gc", "off", "gc off"),
    ],
)  # fmt: skip
def test_a_value_is_said_so_that_it_can_be_read_without_its_flag(name, value, said):
    assert sweep_chart._said(name, value) == said


def test_steps_of_a_warm_up_study_stand_evenly_in_0_65_of_their_place():
    """GIVEN groups of two and of four steps WHEN drawn THEN from 0.325 left of their tick on, 0.65 / 3 apart"""
    # GIVEN
    records = [
        runs.saved(config=runs.quick(warmup_steps=n), warmup=sweeps.steps(*[0.9] * n), steps=sweeps.steps(0.1, 0.1))
        for n in (0, 2)
    ]

    # WHEN
    [[panel]] = sweep_chart.warmup_chart(records, ["warmup_steps"]).rows

    # THEN
    warm, measured, median = panel.series
    apart = 0.65 / 3
    assert measured.x == pytest.approx((-0.325, -0.325 + apart, 0.675 + 2 * apart, 0.675 + 3 * apart))
    assert warm.x == pytest.approx((0.675, 0.675 + apart))
    assert median.x == pytest.approx((0.425, 1.425))  # 0.1 to the right of the last place
    assert all(map(math.isnan, (*median.low, *median.high)))  # of two steps there is no interval
    assert (panel.y_log, panel.y_title, panel.y_quantity, panel.x_title) == (True, "step time", "s", "warm-up steps")
    assert [(one.label, one.look, one.color) for one in panel.series] == [
        ("warm-up step", "circles", 1), ("measured step", "dots", 0), ("median of the measured", "marks", 2),
    ]  # fmt: skip


def test_a_warm_up_study_without_warm_up_shows_what_there_is():
    # GIVEN
    records = [
        runs.saved(config=runs.quick(warmup_steps=0), warmup=(), steps=sweeps.steps(*(0.1 * n for n in range(1, 7)))),
        runs.saved(config=runs.quick(warmup_steps=1), steps=()),
    ]

    # WHEN
    [[panel]] = sweep_chart.warmup_chart(records, ["warmup_steps"]).rows

    # THEN
    measured, median = panel.series
    assert measured.x[0] == pytest.approx(-0.325)
    assert measured.x[-1] == pytest.approx(0.325)
    assert (median.y, median.low, median.high) == ((pytest.approx(0.35),), (0.1,), (pytest.approx(0.6),))
    assert (panel.y_log, panel.x_ticks) == (False, ((0.0, "0"),))


def test_the_panels_of_a_warm_up_study_are_in_the_order_of_their_values():
    # GIVEN
    records = [
        runs.saved(config=runs.quick(warmup_steps=0, batch_size=batch, precision=precision), warmup=())
        for batch in (16, 2) for precision in ("fp32", "bf16")
    ]  # fmt: skip

    # WHEN
    rows = sweep_chart.warmup_chart(records, ["batch_size", "precision", "warmup_steps"]).rows

    # THEN
    titles = ["batch 2, bf16", "batch 2, fp32", "batch 16, bf16"], ["batch 16, fp32"]
    assert tuple([panel.title for panel in row] for row in rows) == titles


def test_panels_side_by_side_have_one_kind_of_axis():
    """GIVEN batches of which one has a slow first step WHEN drawn THEN all axes of time are logarithmic, or none is"""
    records = [
        runs.saved(config=runs.quick(warmup_steps=1, batch_size=size), warmup=(runs.sample(first),))
        for size, first in ((1, 0.02), (2, 2.0))
    ]
    for kept, is_log in ((records, True), (records[:1], False)):
        [panels] = sweep_chart.warmup_chart(kept, ["batch_size", "warmup_steps"]).rows
        assert {panel.y_log for panel in panels} == {is_log}


@pytest.mark.parametrize(("values", "wide"), [([], False), ([0, 8], False), ([-1, 9], False), ([1], False),
                                              ([1, 7.9], False), ([8, 1], True)])  # fmt: skip
def test_only_positive_values_that_span_a_factor_of_eight_are_wide(values, wide):
    assert sweep_chart.is_wide(values) is wide


@pytest.mark.parametrize(
    ("counts", "said", "bars"),
    [
        ([6], "bars: its 95% interval (order statistics over the steps of one process)", 1),
        ([5], "bars: from the fastest to the slowest step (fewer than 6 steps have no 95% interval)", 1),
        ([1], "a point without a bar", 0),
        ([6, 5], "; other bars: from the fastest to the slowest step", 2),
        ([5, 1], "bars: from the fastest to the slowest step", 1),
    ],
)
def test_the_note_promises_the_bars_that_are_drawn(counts, said, bars):
    """GIVEN points of so many steps THEN the note says what their bars span, and so many have one"""
    rows = [row(*(0.1 + 0.01 * n for n in range(count)), batch_size=2**place) for place, count in enumerate(counts)]
    found = sweep_chart.chart(rows, ["batch_size"])
    [[panel], _] = found.rows
    assert said in found.notes[0]
    assert sum(not math.isnan(low) for series in panel.series for low in series.low) == bars


def test_a_bar_of_five_steps_spans_them():
    """GIVEN steps of 0.1 to 0.14 s THEN the bar is from 0.1 to 0.14"""
    [[panel], _] = sweep_chart.chart([row(0.12, 0.1, 0.14, 0.13, 0.11)], []).rows
    assert (panel.series[0].low, panel.series[0].high) == ((0.1,), (0.14,))


def test_the_note_of_several_processes():
    rows = [dataclasses.replace(row(0.1 + 0.01 * n), repeat=n) for n in (1, 2)]
    time, memory = sweep_chart.chart(rows, []).notes
    assert "geometric mean of the processes' median steps; bars: its 95% interval (Student's t" in time
    assert "resident set" in memory


def test_a_sweep_that_only_failed_has_panels_without_points():
    [[panel], _] = sweep_chart.chart([row(batch_size=8)], ["batch_size"]).rows
    assert [series.y for series in panel.series] == [()]
    assert (panel.y_log, panel.x_ticks) == (False, ((8.0, "8"),))


def test_numbers_beside_none_do_not_stand_upon_each_other():
    """GIVEN no number of threads, and 1 and 8 WHEN charted THEN three places, as far from each other"""
    [[panel], _] = sweep_chart.chart([row(0.1, num_threads=n) for n in (None, 1, 8)], ["num_threads"]).rows
    assert sorted(place for place, _ in panel.x_ticks) == [0.0, 1.0, 2.0]
    assert {text for _, text in panel.x_ticks} == {"None", "1", "8"}


def test_an_argument_of_an_own_model_is_an_axis_where_it_is_a_number():
    """GIVEN numbers, one with a point, and texts WHEN drawn THEN numbers have an axis, and texts tell lines apart"""
    rows = [
        sweeps.row(of_own({"model": "m:a", "model_arg": (f"width={width}", f"act={act}"), "input": "m:b"}), 0.1 * place)
        for place, (width, act) in enumerate([("2", "relu"), ("0.5", "relu"), ("2", "gelu"), ("0.5", "gelu")], start=1)
    ]
    ((panel,), _) = sweep_chart.chart(rows, ["model_arg.width", "model_arg.act"]).rows
    assert (panel.x_title, panel.x_ticks) == ("width", ((0.5, "0.5"), (2.0, "2")))
    assert [(one.label, one.x, one.y) for one in panel.series] == [
        ("act gelu", (0.5, 2.0), pytest.approx((0.4, 0.3))), ("act relu", (0.5, 2.0), pytest.approx((0.2, 0.1)))
    ]  # fmt: skip


def test_arguments_that_are_texts_or_truths_are_categories():
    rows = [
        sweeps.row(of_own({"model": "m:a", "model_arg": (f"bias={bias}",), "input": "m:b"}), 0.1)
        for bias in ("True", "False")
    ]
    ((panel,), _) = sweep_chart.chart(rows, ["model_arg.bias"]).rows
    assert panel.x_ticks == ((0.0, "no bias"), (1.0, "bias"))
