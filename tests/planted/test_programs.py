"""The programs: each says what is wrong, both twins do the same work, and each runs by itself. Nothing is timed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from perfkit.trace.load import load
from tests.planted import running
from tests.planted.program import accepted_rules, all_pairs, all_programs, pair, program

ROOT = Path(__file__).parents[2]
OTHER_WORK = {"one_wide_layer"}
"""Programs whose fault is that they compute something else."""


def test_there_are_24_faults_at_least():
    assert len(all_programs()) >= 24


@pytest.mark.parametrize("one", all_programs() + all_pairs(), ids=lambda one: f"{type(one).__name__}-{one.name}")
def test_a_fault_is_described(one):
    assert one.wrong
    assert one.where
    module = importlib.import_module(one.build.__module__ if hasattr(one, "build") else one.step.__module__)
    assert module.__doc__
    assert module.__doc__ != one.wrong


def test_each_fault_has_a_place_for_its_rules_and_no_other_has():
    names = {one.name for one in all_programs()}
    assert set(accepted_rules()) == names
    assert {one.name for one in all_pairs()} <= names


def test_rules_are_read_from_a_file_of_their_own(tmp_path):
    file = tmp_path / "rules.toml"
    file.write_text('[rules]\nslow = ["one-rule", "another"]\nother = []\n')
    assert accepted_rules(file) == {"slow": {"one-rule", "another"}, "other": frozenset()}


@pytest.mark.parametrize("find", [program, pair])
def test_an_unknown_name_is_no_program(find):
    with pytest.raises(KeyError, match="os"):
        find("os")


@pytest.fixture
def _one_thread():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("one", all_programs(), ids=lambda one: one.name)
def test_both_twins_compute_the_same(one):
    """WHEN both sides run two steps from the same seed, THEN their losses agree: only the fault differs."""
    losses = {}
    for fault in (True, False):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        model, step = one.build(fault, "cpu")
        assert isinstance(model, torch.nn.Module)
        losses[fault] = [float(step()) for _ in range(2)]
    if one.name not in OTHER_WORK:
        assert losses[True] == pytest.approx(losses[False], rel=2e-3)


def test_a_side_is_timed_by_the_step_and_waits_once():
    ticks = iter([10.0, 16.0])
    made = running.Running(lambda fault, device: (torch.nn.Identity(), lambda: None), True, "cpu")
    assert made.seconds_per_step(3, clock=lambda: next(ticks)) == 2.0


def test_a_side_is_warmed_up_and_recorded_steps_are_whole(tmp_path):
    """GIVEN a program that counts its steps, THEN five warm it up, one the profiler, and two are in the file."""
    done = []
    model = torch.nn.Linear(4, 4)

    def step():
        done.append(torch.is_grad_enabled())
        return model(torch.ones(1, 4))

    made = running.Running(lambda fault, device: (model, step), True, "cpu")
    assert len(done) == running.WARMUP
    ticks = iter([0.0, 6.0])
    assert made.record(tmp_path / "two.json.gz", 2, clock=lambda: next(ticks)) == 3.0
    assert len(done) == running.WARMUP + 1 + 2
    trace = load(tmp_path / "two.json.gz")
    named = [trace.names[name] for name in trace.host.name]
    assert sum(name.startswith("ProfilerStep#") for name in named) == 2
    assert named.count("aten::linear") == 2
    assert named.count("perfkit::Linear") == 2


def test_a_file_runs_by_itself_and_leaves_a_recording(tmp_path):
    file = tmp_path / "alone.pt.trace.json.gz"
    command = [sys.executable, "tests/planted/programs/samples_one_by_one.py", "--fault", "--steps", "2"]
    done = subprocess.run([*command, "--record", str(file)], cwd=ROOT, capture_output=True, check=True, text=True)
    assert "ms a step (median of 2;" in done.stdout
    assert "perfkit::encoder" in load(file).names


def test_a_side_must_be_named():
    command = [sys.executable, "tests/planted/programs/samples_one_by_one.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 2
    assert "one of the arguments --fault --healthy is required" in done.stderr
