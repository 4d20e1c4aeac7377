"""Points in this process: their ends, and what they leave behind."""

from __future__ import annotations

import pytest
import torch

from perfkit.measure import runner
from perfkit.measure.in_process import Executor
from perfkit.schema import record
from tests import runs


def run(tmp_path, monkeypatch, failures=None, **changes):
    monkeypatch.setattr(runner, "Workload", lambda config: runs.FakeWorkload(config, failures))
    return Executor()(runs.quick(warmup_steps=1, measure_steps=2, **changes), tmp_path / "one")


def test_a_point_is_measured_and_saved(tmp_path, monkeypatch):
    finished = run(tmp_path, monkeypatch)
    assert (finished.outcome, finished.exit_code) == ("ok", 0)
    assert finished.record == record.load(tmp_path / "one")


def test_out_of_memory_is_an_outcome(tmp_path, monkeypatch):
    finished = run(tmp_path, monkeypatch, {(1, "backward"): RuntimeError(runs.CPU_OOM)})
    assert finished.outcome == "oom"
    assert finished.record.failure.phase == "measured step 1, backward"


def test_an_error_is_an_outcome_with_its_message(tmp_path, monkeypatch):
    finished = run(tmp_path, monkeypatch, {(1, "forward"): RuntimeError("shapes differ")})
    assert (finished.outcome, finished.last_words) == ("error", "RuntimeError: shapes differ")
    assert finished.record is None


def test_a_request_that_cannot_work_is_an_outcome(tmp_path, monkeypatch):
    finished = run(tmp_path, monkeypatch, num_threads=100_000)
    assert finished.outcome == "error"
    assert finished.last_words.startswith("--num-threads 100000: this machine has")


def test_ctrl_c_ends_the_sweep_when_the_record_is_saved(tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, monkeypatch, {(2, "loss"): KeyboardInterrupt()})
    assert record.load(tmp_path / "one").status == "interrupted"


def test_threads_of_one_point_are_not_those_of_the_next(tmp_path):
    # GIVEN
    before = torch.get_num_threads()
    executor = Executor()
    executor(runs.quick(num_threads=1, warmup_steps=0, measure_steps=1), tmp_path / "one")

    # WHEN
    finished = executor(runs.quick(num_threads=None, warmup_steps=0, measure_steps=1), tmp_path / "two")

    # THEN
    assert finished.record.environment.num_threads == before
