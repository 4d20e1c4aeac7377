"""Times that a person writes, and the prediction of a run from others."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.study.budget import Pace, seconds, steps, work
from perfkit.errors import UsageError
from tests import runs, sweeps


@pytest.mark.parametrize(("text", "found"), [("90s", 90), ("10m", 600), ("10 min", 600), ("1.5h", 5400)])
def test_a_time(text: str, found: float):
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["10", "m", "0s", "ten minutes"])
def test_no_time(text: str):
    with pytest.raises(UsageError, match="not a time"):
        seconds(text)


def test_a_larger_run_takes_as_much_longer_in_its_steps_and_as_long_to_start():
    """GIVEN a process of 10 s whose 15 steps take 0.2 s each: 7 s to start, 3 s of steps. One with double the batch
    does twice the work: 7 + 6 s"""
    config, larger = (runs.quick(warmup_steps=5, batch_size=batch) for batch in (2, 4))
    row = dataclasses.replace(sweeps.row(config, 0.2, 0.2), process_s=10.0)
    pace = Pace()

    # WHEN
    before = pace.predict(larger)
    pace.ended(row)

    # THEN
    assert before is None
    assert steps(config) == 15
    assert work(larger) == 2 * work(config)
    assert pace.predict(larger) == pytest.approx(13.0)


def test_compiling_is_a_start_of_its_own():
    """GIVEN 7 s to start, and a run that compiles, which is taken to need 60 s more THEN one that compiled for 93 s
    says how long the next does, and plain runs start as before"""
    config = runs.quick(warmup_steps=5)
    compiled = config.changed(compile="model")
    pace = Pace()
    pace.ended(dataclasses.replace(sweeps.row(config, 0.2, 0.2), process_s=10.0))
    before = pace.predict(compiled)
    pace.ended(dataclasses.replace(sweeps.row(compiled, 0.2, 0.2), process_s=103.0, config=compiled))
    assert (before, pace.predict(compiled), pace.predict(config)) == pytest.approx((70.0, 103.0, 10.0))


def test_a_failure_tells_nothing():
    pace = Pace()
    pace.ended(sweeps.row(runs.quick()))
    assert pace.predict(runs.quick()) is None
