"""The numbers of one run, by hand."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from perfkit.analysis.runs import summary as run_summary
from tests.runs import quick, sample, saved

STEPS = (
    sample(0.10, forward=0.02, loss=0.01, backward=0.04, optimizer=0.02),
    sample(0.20, forward=0.03, loss=0.02, backward=0.08, optimizer=0.04),
    sample(0.30, forward=0.04, loss=0.03, backward=0.12, optimizer=0.06),
)


def test_the_phases_and_the_rest_add_up_to_the_mean():
    """GIVEN steps of 100, 200 and 300 ms, of which the forward pass takes 30, 50 and 70 ms with its loss"""
    found = run_summary.summarize(saved(steps=STEPS, config=quick(batch_size=2, context_length=16)))
    assert found.steps == 3
    assert (found.mean_s, found.std_s, found.cv, found.median_s, found.min_s) == pytest.approx(
        (0.2, 0.1, 0.5, 0.2, 0.1)
    )
    parts = (found.forward_s, found.backward_s, found.optimizer_s, found.rest_s)
    assert parts == pytest.approx((0.05, 0.08, 0.04, 0.03))
    assert sum(parts) == pytest.approx(found.mean_s, rel=1e-15)
    assert found.tokens_per_s == pytest.approx(2 * 16 / 0.2)


def test_without_measured_steps_all_times_are_unknown():
    found = asdict(run_summary.summarize(saved(steps=())))
    assert found.pop("steps") == 0
    assert found.pop("peak_memory_bytes") is None
    assert all(math.isnan(value) for value in found.values())


def test_a_phase_that_one_step_has_is_zero_in_the_others_and_one_that_none_has_is_unknown():
    found = run_summary.summarize(saved(steps=(sample(0.1, forward=0.1), sample(0.3, forward=0.1, optimizer=0.2))))
    assert (found.forward_s, found.optimizer_s, found.rest_s) == pytest.approx((0.1, 0.1, 0.0))
    assert math.isnan(found.backward_s)


def test_series_of_phases_add_up_in_each_step():
    series = run_summary.phase_series(STEPS)
    assert list(series) == ["step", "forward", "backward", "optimizer", "rest"]
    assert series["rest"].tolist() == pytest.approx([0.01, 0.03, 0.05])
    assert np.sum([series[name] for name in list(series)[1:]], axis=0).tolist() == pytest.approx(
        series["step"].tolist()
    )


def test_data_of_a_loader_are_a_phase_of_its_own_and_in_the_rest_of_a_summary():
    steps = (sample(0.1, data=0.04, forward=0.05), sample(0.2, data=0.1, forward=0.05))
    series = run_summary.phase_series(steps)
    assert list(series) == ["step", "data", "forward", "rest"]
    assert series["data"].tolist() == [0.04, 0.1]
    assert run_summary.summarize(saved(steps=steps)).rest_s == pytest.approx(0.1)
