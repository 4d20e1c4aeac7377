"""Points in this process: their ends, and what they leave behind."""

from __future__ import annotations

import pytest
import torch

from perfkit.measure.in_process import Executor
from perfkit.schema import record
from tests import runs


def executor(failures=None, **given):
    return Executor(build=lambda config: runs.FakeWorkload(config, failures), **given)


def run(tmp_path, failures=None, **changes):
    return executor(failures)(runs.quick(warmup_steps=1, measure_steps=2, **changes), tmp_path / "one")


def test_a_point_is_measured_and_saved(tmp_path):
    finished = run(tmp_path)
    assert (finished.outcome, finished.exit_code) == ("ok", 0)
    assert finished.record == record.load(tmp_path / "one")


def test_out_of_memory_is_an_outcome(tmp_path):
    finished = run(tmp_path, {(1, "backward"): RuntimeError(runs.CPU_OOM)})
    assert finished.outcome == "oom"
    assert finished.record.failure.phase == "measured step 1, backward"


def test_an_error_is_an_outcome_with_its_message(tmp_path):
    finished = run(tmp_path, {(1, "forward"): RuntimeError("shapes differ")})
    assert (finished.outcome, finished.last_words) == ("error", "RuntimeError: shapes differ")
    assert finished.record is None


def test_a_request_that_cannot_work_is_an_outcome(tmp_path):
    finished = run(tmp_path, num_threads=100_000)
    assert finished.outcome == "error"
    assert finished.last_words.startswith("--num-threads 100000: this machine has")


def test_ctrl_c_ends_the_sweep_when_the_record_is_saved(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, {(2, "loss"): KeyboardInterrupt()})
    assert record.load(tmp_path / "one").status == "interrupted"


def test_threads_of_one_point_are_not_those_of_the_next(tmp_path):
    # GIVEN
    before = torch.get_num_threads()
    execute = Executor()
    execute(runs.quick(num_threads=1, warmup_steps=0, measure_steps=1), tmp_path / "one")

    # WHEN
    finished = execute(runs.quick(num_threads=None, warmup_steps=0, measure_steps=1), tmp_path / "two")

    # THEN
    assert finished.record.environment.num_threads == before


@pytest.mark.parametrize(
    ("failures", "outcome", "code"),
    [({}, "ok", 0), ({(1, "loss"): RuntimeError(runs.CPU_OOM)}, "oom", 1), ({(1, "loss"): OSError("odd")}, "error", 1)],
)
def test_an_outcome_has_the_exit_code_of_a_process(tmp_path, failures, outcome, code):
    finished = run(tmp_path, failures)
    assert (finished.outcome, finished.exit_code, finished.signal) == (outcome, code, None)
    assert finished.wall_s > 0
    assert finished.stderr_tail == ("OSError: odd" if outcome == "error" else "")


def test_a_folder_that_is_there_is_an_error_and_not_written_to(tmp_path):
    (tmp_path / "one").mkdir()
    finished = run(tmp_path)
    assert finished.outcome == "error"
    assert finished.last_words.startswith("FileExistsError: ")
    assert list((tmp_path / "one").iterdir()) == []


def test_folders_above_are_made(tmp_path):
    assert executor()(runs.quick(warmup_steps=0, measure_steps=1), tmp_path / "a" / "b").outcome == "ok"


def test_each_point_has_a_rule_of_its_own(tmp_path):
    """GIVEN a rule that ends after 2 of 5 steps, made for each configuration THEN a run obeys it, and the next again"""
    made = []

    def two(samples):
        return "max-steps" if len(samples) == 2 else None

    def enough(config):
        made.append(config.step.seed)
        return two

    execute = executor(enough=enough)
    for seed in (3, 4):
        ended = execute(runs.quick(warmup_steps=0, measure_steps=5, seed=seed), tmp_path / f"{seed}").record
        assert (len(ended.steps), ended.ended_by) == (2, "max-steps")
    assert made == [3, 4]


@pytest.mark.parametrize(("mode", "calls"), [("off", 0), ("model", 1), ("block", 1)])
def test_compiled_code_is_forgotten_after_a_point_that_compiled(tmp_path, mode, calls):
    resets = []
    execute = executor(forget_compiled=lambda: resets.append(1))
    assert execute(runs.quick(warmup_steps=0, measure_steps=1, compile=mode), tmp_path / "one").outcome == "ok"
    assert len(resets) == calls


@pytest.mark.parametrize("gpu", [False, True])
def test_a_gpu_gets_its_cached_memory_back_after_each_point(tmp_path, monkeypatch, gpu):
    emptied = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    executor()._tidy(runs.quick())
    assert len(emptied) == gpu
