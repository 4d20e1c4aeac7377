"""What became of a point, as its row says it."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.sweeps.rows import Forecast, finished_row, skipped_row
from perfkit.schema.campaign import Point, Turn
from perfkit.schema.config import RunConfig
from perfkit.schema.record import MemoryPeaks
from tests import runs, sweeps

CONFIG = runs.quick(measure_steps=2)
TURN = Turn(Point(key="k", config=CONFIG), 2)


def row_of(finished, forecast=None):
    return finished_row(TURN, finished, "r.runs/k.2", "fresh", forecast)


def test_a_good_run_gives_its_numbers():
    # WHEN
    row = row_of(sweeps.finished(runs.saved(memory=MemoryPeaks(resident=1000))))

    # THEN
    assert (row.key, row.repeat, row.outcome, row.isolation) == ("k", 2, "ok", "fresh")
    assert (row.steps, row.mean_s, row.first_step_s) == (2, pytest.approx(0.03), 0.02)
    assert (row.forward_s, row.optimizer_s) == (pytest.approx(0.01), None)
    assert row.peak_memory_bytes == 1000
    assert isinstance(row.peak_memory_bytes, int)
    assert row.parameters == 16_736
    assert (row.process_s, row.record, row.device_name) == (4.0, "r.runs/k.2", "a CPU")
    assert row.message is row.phase is row.median_low_s is None
    assert sweeps.read_back(row) == row


def test_out_of_memory_says_where_how_much_and_what_to_try():
    row = row_of(sweeps.out_of_memory(CONFIG))
    assert (row.outcome, row.phase, row.requested_bytes) == ("oom", "warm-up step 1, backward", 2**31)
    assert (row.try_first, row.try_second) == ("--checkpoint", "--batch-size 1")
    assert row.message == sweeps.OOM.message
    assert row.available_bytes == 2**30
    assert row.steps == 0
    assert row.mean_s is None


@pytest.mark.parametrize(
    ("device", "reserved", "outcome"),
    [("cuda", 2**34 + 1, "spilled"), ("cuda", 2**34, "ok"), ("cuda", None, "ok"), ("cpu", 2**40, "ok")],
)
def test_more_than_the_gpu_has_was_spilled(device, reserved, outcome):
    """GIVEN a GPU of 16 GiB WHEN the allocator held more THEN part of it was elsewhere"""
    environment = dataclasses.replace(runs.ENVIRONMENT, device=device, device_memory=2**34)
    found = runs.saved(environment=environment, memory=MemoryPeaks(allocated=1, reserved=reserved))
    assert row_of(sweeps.finished(found)).outcome == outcome


@pytest.mark.parametrize(
    ("changes", "outcome", "message"),
    [
        ({"outcome": "timeout", "exit_code": None, "wall_s": 30.0}, "timeout", "stopped after 30.00 s"),
        ({"outcome": "host-killed", "exit_code": None, "signal": 9}, "host-killed", "killed from outside"),
        ({"outcome": "error", "exit_code": None, "signal": 11}, "error", "ended by signal 11: it said nothing"),
        ({"outcome": "error", "exit_code": 2, "stderr_tail": "table\nperfkit: --x: no\n"}, "error", "--x: no"),
        ({"outcome": "interrupted", "exit_code": 130, "stderr_tail": "perfkit: interrupted"}, "error", "interrupted"),
    ],
)
def test_a_failure_without_a_record_says_why(changes, outcome, message):
    row = row_of(sweeps.finished(None, **changes))
    assert row.outcome == outcome
    assert row.message is not None
    assert row.message.startswith(message)
    assert row.record is None


def test_a_run_that_left_no_record_still_has_its_size_and_context():
    # GIVEN
    turn = Turn(Point(key="k", config=RunConfig.of(model_size="tiny")), 1)

    # WHEN
    row = finished_row(turn, sweeps.finished(None, outcome="timeout", exit_code=None), "x", "fresh", None)

    # THEN
    assert (row.config.step.context_length, row.config.transformer.d_model, row.config.step.device) == (
        128,
        128,
        "auto",
    )
    assert row.parameters == RunConfig.of(model_size="tiny").transformer.parameters


def test_what_is_predicted_not_to_fit_is_a_row_too():
    forecast = Forecast(peak_bytes=3 * 2**30, available_bytes=2**30, fits=False, suggestions=("--checkpoint",))
    row = skipped_row(TURN, "fresh", forecast)
    assert (row.outcome, row.predicted_bytes, row.try_first, row.try_second) == (
        "predicted-oom", 3 * 2**30, "--checkpoint", None)  # fmt: skip
    assert row.message == "not run: needs about 3.0 GiB, and there are 1.0 GiB; --force runs it"


def test_a_model_without_a_size_has_no_number_of_parameters():
    turn = Turn(Point(key="k", config=RunConfig()), 1)
    row = finished_row(turn, sweeps.finished(None, outcome="timeout", exit_code=None), "x", "shared", None)
    assert (row.parameters, row.isolation, row.config) == (None, "shared", RunConfig())


def test_a_forecast_that_came_true_or_not_is_beside_what_was_measured():
    forecast = Forecast(peak_bytes=7, available_bytes=9, fits=True)
    row = row_of(sweeps.finished(runs.saved()), forecast)
    assert (row.predicted_bytes, row.available_bytes) == (7, None)
    assert row_of(sweeps.finished(runs.saved())).predicted_bytes is None
