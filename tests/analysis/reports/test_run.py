"""The report of one run: each number of hand-made steps, by hand."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from perfkit.analysis.reports import run as run_report
from perfkit.analysis.reports.run import LITTLE_WARMUP, RANGE_COST, RECORDED_MEMORY, WARMUP_TIMES
from perfkit.render.medium import Medium
from perfkit.render.writers import WRITERS
from perfkit.schema.finding import OVER_CAPACITY
from perfkit.schema.record import AnnotationCost, MemoryPeaks
from tests.reports import tables_for_people, tables_for_scripts
from tests.runs import quick, sample, saved

STEPS = (
    sample(0.10, forward=0.02, loss=0.01, backward=0.04, optimizer=0.02),
    sample(0.20, forward=0.03, loss=0.02, backward=0.08, optimizer=0.04),
    sample(0.30, forward=0.04, loss=0.03, backward=0.12, optimizer=0.06),
)


def trained(**changes):
    return saved(**{"steps": STEPS, "config": quick(warmup_steps=2, measure_steps=3)} | changes)


def said(rule, **changes):
    """What a rule says of a run, or None."""
    return next((one.what for one in run_report.report(trained(**changes)).findings if one.rule is rule), None)


def only(table):
    [row] = table.frame.to_dict("records")
    return row


def test_a_run_is_a_row_whose_parts_add_up_to_its_mean():
    """GIVEN steps of 100, 200 and 300 ms THEN forward holds the loss, and the rest is what no phase has"""
    made = trained()
    row = only(run_report.result_table([made]))
    assert (row["steps"], row["status"], row["pass_type"]) == (3, "ok", made.config.step.pass_type)
    wanted = {"mean_s": 0.2, "std_s": 0.1, "cv": 0.5, "median_s": 0.2, "min_s": 0.1, "forward_s": 0.05}
    wanted |= {"backward_s": 0.08, "optimizer_s": 0.04, "rest_s": 0.03}
    assert {name: row[name] for name in wanted} == pytest.approx(wanted)
    assert row["tokens_per_s"] == pytest.approx(made.config.step.batch_size * made.config.step.context_length / 0.2)


def test_a_phase_that_no_step_has_is_unknown_and_takes_nothing_from_the_rest():
    """GIVEN a forward pass of 3 of 10 ms THEN backward and optimizer are nan, and the rest is 7 ms"""
    row = only(run_report.result_table([trained(steps=(sample(0.01, forward=0.003),) * 2)]))
    assert (row["forward_s"], row["rest_s"]) == pytest.approx((0.003, 0.007))
    assert math.isnan(row["backward_s"])
    assert math.isnan(row["optimizer_s"])


def test_a_run_without_steps_has_its_configuration_and_no_times():
    row = only(run_report.result_table([trained(steps=(), status="oom")]))
    assert (row["steps"], row["status"]) == (0, "oom")
    assert math.isnan(row["mean_s"])
    shown = run_report.report(trained(steps=())).seen_by("people")
    assert [table.name for table in shown.tables] == ["run"]


def test_each_phase_is_a_row_and_the_rest_is_the_last():
    table = run_report.phase_times(trained())
    rows = {row["phase"]: row for row in table.frame.to_dict("records")}
    assert list(rows) == ["forward", "loss", "backward", "optimizer", "outside phases"]
    assert [rows[name]["mean_s"] for name in rows] == pytest.approx([0.03, 0.02, 0.08, 0.04, 0.03])
    assert [rows[name]["share"] for name in rows] == pytest.approx([0.15, 0.10, 0.40, 0.20, 0.15])
    backward = rows["backward"]
    assert [backward[name] for name in ("std_s", "median_s", "min_s", "max_s")] == pytest.approx(
        [0.04, 0.08, 0.04, 0.12]
    )
    assert table.pinned == 5
    summed = {column.name for column in table.columns if column.summed}
    assert summed == {"mean_s", "share"}


def test_a_phase_that_the_first_step_has_not_is_a_row():
    """GIVEN gradients of two steps accumulated, so that the second alone has an optimizer THEN it has its time"""
    table = run_report.phase_times(
        trained(steps=(sample(0.01, forward=0.01), sample(0.03, forward=0.01, optimizer=0.02)))
    )
    found = dict(zip(table.frame["phase"], table.frame["mean_s"], strict=True))
    assert found == pytest.approx({"forward": 0.01, "optimizer": 0.01, "outside phases": 0.0})


def test_what_observers_added_by_a_name_is_a_table_for_everyone_where_there_is_any():
    """GIVEN a number, a text and what could not be read THEN each is a row, raw in JSON, for every writer"""
    report = run_report.report(trained(observed={"files left open": 4, "governor": "none", "unknown": None}))
    table = report.table("observed")
    assert table.frame.to_numpy().tolist() == [["files left open", 4], ["governor", "none"], ["unknown", None]]
    assert [shown[-1].name for shown in (tables_for_people(report), tables_for_scripts(report))] == ["observed"] * 2
    for writer in WRITERS:
        assert writer.document([report], Medium())
    [json_writer] = (writer for writer in WRITERS if writer.form == "json")
    rows = json.loads(json_writer.document([report], Medium()))["tables"]["observed"]["rows"]
    assert [row["value"] for row in rows] == [4, "none", None]
    assert run_report.report(trained()).table("observed") is None


def test_steps_are_counted_from_1_in_warm_up_and_again_when_measured():
    """GIVEN one step of warm-up with a forward pass only THEN its other phases are missing, not 0"""
    table = run_report.steps_table(trained(warmup=(sample(0.5, forward=0.4),)))
    frame = table.frame
    assert list(zip(frame["kind"], frame["step"], strict=True)) == [
        ("warm-up", 1), ("measured", 1), ("measured", 2), ("measured", 3),
    ]  # fmt: skip
    assert frame["rest_s"].tolist() == pytest.approx([0.1, 0.01, 0.03, 0.05])
    assert frame["backward_s"].isna().tolist() == [True, False, False, False]
    assert [c.name for c in table.columns][-3:] == ["backward_s", "optimizer_s", "rest_s"]


@pytest.mark.parametrize(
    ("walls", "line"),
    [
        ((), "warm-up: none"),
        ((0.5,), "warm-up, 1 step: 500.0 ms"),
        ((0.5, 0.25), "warm-up, 2 steps: 500.0 ms, 250.0 ms"),
    ],
)
def test_warm_up_is_a_line(walls, line):
    assert said(WARMUP_TIMES, warmup=tuple(sample(wall) for wall in walls)) == line


@pytest.mark.parametrize(
    ("warmup", "changes", "is_said"),
    [
        (0, {}, True),
        (1, {}, True),
        (2, {}, False),
        (1, {"config": quick(pass_type="forward")}, False),
        (1, {"steps": ()}, False),
    ],
)
def test_fewer_than_two_steps_of_warm_up_are_said_where_something_is_trained(warmup, changes, is_said):
    """GIVEN gradients, which appear in step 1, and an optimizer's state, at its end THEN step 1 is like no other"""
    assert (said(LITTLE_WARMUP, warmup=(sample(0.5),) * warmup, **changes) is not None) is is_said


def test_what_ranges_cost_is_a_line():
    """GIVEN 20 ranges of 2 us, and 300 backward nodes of 1 us THEN 40 and 300 us a step"""
    cost = AnnotationCost(ranges=20, seconds_per_range=2e-6)
    line = said(RANGE_COST, annotation=cost)
    assert line == "module ranges: 20 a step, 2.000 us each while nothing records them, about 40.00 us a step"
    nodes = dataclasses.replace(cost, nodes=300.0, seconds_per_node=1e-6)
    assert said(RANGE_COST, annotation=nodes) == (f"{line}; 300 backward nodes, 1.000 us each, about 300.0 us a step")
    assert said(RANGE_COST, annotation=None) is None


@pytest.mark.parametrize(
    ("memory", "line"),
    [
        (MemoryPeaks(tensors=3 * 2**20, resident=7 * 2**20), "3.0 MiB in tensors; the process had 7.0 MiB resident"),
        (MemoryPeaks(allocated=2**30, reserved=2**31, resident=2**20),
         "1.0 GiB in tensors; the process had 2.0 GiB reserved by the allocator"),
        (MemoryPeaks(tensors=2**20), "1.0 MiB in tensors"),
    ],
)  # fmt: skip
def test_a_run_that_recorded_memory_says_its_peak_first(memory, line):
    made = {"config": quick(profiler="memory"), "memory": memory}
    assert said(RECORDED_MEMORY, **made) == f"memory: at its peak {line}"
    assert said(RECORDED_MEMORY, memory=memory) is None


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({}, "forward-backward, fp32, attention eager"),
        ({"compile": "block"}, "compile block, on"),
        ({"compile": "model", "compile_mode": "max-autotune"}, "compile model max-autotune, on"),
        ({"checkpoint": True}, "checkpoint, on"),
        ({"checkpoint_every": 3, "checkpoint_nested": True}, "checkpoint every 3 blocks, nested, on"),
    ],
)
def test_the_headline_says_what_is_measured(changes, flags):
    config = quick(batch_size=3, context_length=32, **changes)
    line = run_report.headline(config)
    assert line.endswith(f"on {config.step.device}")
    assert "batch 3 x context 32" in line
    assert flags in line
    assert ("compile" in line, "checkpoint" in line) == ("compile" in changes, "checkpoint" in str(changes))


@pytest.mark.parametrize(("artifacts", "is_said"), [({}, True), ({"trace": "trace.json"}, False)])
def test_a_run_that_spilled_says_so_unless_its_trace_does(artifacts, is_said):
    """GIVEN 32 GiB reserved of 16 THEN the run says it; with a trace, whose report has it, it does not"""
    config = dataclasses.replace(quick(), step=dataclasses.replace(quick().step, device="cuda"))
    held = MemoryPeaks(reserved=2**35)
    assert (said(OVER_CAPACITY, config=config, memory=held, artifacts=artifacts) is not None) == is_said
