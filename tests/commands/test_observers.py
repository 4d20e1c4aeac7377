"""What a command adds to the loop: progress, flags to try, what lies beside."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from perfkit.analysis.runs import stopping
from perfkit.commands.console.progress import StageProgress
from perfkit.commands.observers import Beside, RunProgress, StepEvents, results, usual
from perfkit.measure import runner
from perfkit.measure.loop import StepId
from perfkit.measure.observers.suggestions import Suggestions
from perfkit.workload.step import TransformerWorkload
from tests.runs import CPU_OOM, FakeWorkload, quick, sample, saved

OOM = RuntimeError(CPU_OOM)


def shown(tmp_path, failures=None, **fields) -> list[str]:
    """The lines of a run of a fake workload, where there is no terminal."""
    config = quick(**{"warmup_steps": 2, "measure_steps": 3} | fields)
    screen = io.StringIO()
    with RunProgress(config, StageProgress(Console(file=screen))) as progress:
        observers = [progress, *usual()]
        enough = stopping.rule(config)
        runner.run(config, tmp_path, observers, enough=enough, build=lambda config: FakeWorkload(config, failures))
    return screen.getvalue().splitlines()


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({}, ["warm-up steps, 2", "measured steps, 3"]),
        ({"warmup_steps": 0}, ["measured steps, 3"]),
        ({"warmup_steps": 0, "target_ci": 0.99, "max_steps": 20}, ["measured steps"]),
        ({"warmup_steps": 1, "profiler": "torch"}, ["warm-up steps, 1", "measured steps, 3", "writing the trace"]),
    ],
)
def test_each_stage_of_a_run_is_a_line(tmp_path, fields, lines):
    assert shown(tmp_path, **fields) == ["building the model", *lines]


@pytest.mark.parametrize(("failing", "last"), [((0, "loss"), "warm-up steps, 2"), ((3, "loss"), "writing the trace")])
def test_a_trace_is_written_of_measured_steps_only(tmp_path, failing, last):
    assert shown(tmp_path, {failing: OOM}, profiler="torch")[-1] == last


def test_on_a_terminal_each_step_is_counted(tmp_path):
    screen = io.StringIO()
    config = quick(warmup_steps=0, measure_steps=2)
    stages = StageProgress(Console(file=screen, force_terminal=True, width=80, highlight=False))
    with RunProgress(config, stages) as progress:
        runner.run(config, tmp_path, [progress], build=FakeWorkload)
    for part in ("building the model", "measured steps", "0/2", "1/2", "2/2"):
        assert part in screen.getvalue()


def test_every_run_has_flags_to_try():
    assert Suggestions in map(type, usual())


def test_what_lies_beside_a_run_is_named_with_the_rest():
    made = Beside({"plain": "plain/record.json"}).add_to(saved(artifacts={"trace": "t"}))
    assert made.artifacts == {"trace": "t", "plain": "plain/record.json"}


class Events:
    """An event file on a disk that is full, or not."""

    def __init__(self, error: OSError | None = None) -> None:
        self.error, self.name = error, "events.1"
        self.noted: list[tuple[object, ...]] = []

    def step(self, *noted) -> None:
        self.noted.append(noted)

    def flush(self) -> None:
        if self.error:
            raise self.error


def test_steps_are_noted_for_tensorboard_and_the_file_is_an_artifact():
    events = Events()
    said: list[str] = []
    observer = StepEvents(events, said.append)
    observer.after(StepId("warm-up", 0), sample(0.5))
    observer.close()
    assert events.noted == [("warm-up", 0, sample(0.5))]
    assert observer.add_to(saved()).artifacts == {"tensorboard": "events.1"}
    assert said == []


def test_a_full_disk_ends_the_events_and_not_the_run():
    """GIVEN events that cannot be written WHEN steps go on THEN it is said once, and no more are noted"""
    events = Events(OSError(28, "No space left on device"))
    said: list[str] = []
    observer = StepEvents(events, said.append)
    observer.close()
    observer.after(StepId("measured", 0), sample(0.5))
    observer.close()
    assert said == ["no more events for TensorBoard: No space left on device"]
    assert events.noted == []


def test_without_events_there_is_no_artifact():
    events = Events()
    events.name = None
    assert StepEvents(events, print).add_to(saved()) == saved()


def test_what_steps_compute_is_kept_where_it_is_asked_for(tmp_path):
    """GIVEN a batch of four WHEN results of two are asked for THEN its steps are given those two, twice"""
    assert results(tmp_path, "off", None) == ()
    workload = TransformerWorkload(quick(batch_size=4))
    [kept] = results(tmp_path, "on", 2)
    kept.built(workload)
    assert workload.tokens[:2].equal(workload.tokens[2:])
