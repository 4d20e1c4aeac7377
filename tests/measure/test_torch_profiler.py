"""Runs under torch.profiler, for real but tiny: where the trace lies and what is in it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.profiler import profile

from perfkit import signals
from perfkit.measure import runner, torch_profiler
from perfkit.schema import module_tree, record
from perfkit.schema.record import RunRecord
from perfkit.trace.load import load
from perfkit.workload import annotate
from perfkit.workload.model import Transformer
from perfkit.workload.step import Workload
from tests.runs import Journal, quick

pytestmark = pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")

NAME = re.compile(r"^.+_\d+\.\d+\.pt\.trace\.json\.gz$")


def profiled(folder: Path, **fields: Any) -> RunRecord:
    config = quick(**{"profiler": "torch", "warmup_steps": 2, "measure_steps": 3, **fields})
    return runner.run(config, folder, Journal())


def document(folder: Path) -> dict[str, Any]:
    found = torch_profiler.find_trace(folder)
    assert found is not None
    assert NAME.match(found.name)
    return json.loads(gzip.decompress(found.read_bytes()))


def names(trace: dict[str, Any]) -> Counter[str]:
    return Counter(event["name"] for event in trace["traceEvents"] if event.get("ph") == "X")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profiled run of two warm-up and three measured steps."""
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("run")
    profiled(made)
    return made


def test_the_trace_lies_beside_the_record_and_is_named_in_it(folder):
    # WHEN
    saved = record.load(folder)

    # THEN
    assert {path.name for path in folder.iterdir()} == {"record.json", "modules.json", saved.artifacts["trace"]}
    assert NAME.match(saved.artifacts["trace"])
    assert (len(saved.warmup), len(saved.steps)) == (2, 3)


def test_the_models_tree_lies_beside_the_trace_and_in_it(folder):
    # WHEN
    tree = module_tree.load(folder / module_tree.FILE)

    # THEN
    assert tree == document(folder)["perfkit"]["modules"]
    assert next(iter(tree.items())) == ("Transformer", "Transformer")
    assert "layers.0.attn" in tree


def test_the_trace_holds_the_measured_steps_and_no_other(folder):
    # WHEN
    found = names(document(folder))

    # THEN
    assert sorted(name for name in found if name.startswith("ProfilerStep#")) == [
        f"ProfilerStep#{n}" for n in (2, 3, 4)
    ]
    assert [found[f"perfkit.step::{n}"] for n in range(4)] == [1, 1, 1, 0]
    assert not [name for name in found if name.startswith("perfkit.warmup")]
    for phase in ("zero_grad", "forward", "loss", "backward"):
        assert found[f"perfkit.phase::{phase}"] == 3
    assert found["perfkit::layers.0.attn.scores"] == 3


def test_the_trace_knows_the_module_tree(folder):
    assert document(folder)["perfkit"]["modules"] == annotate.module_tree(Transformer(quick()))


def test_the_trace_has_shapes_and_no_stacks(folder):
    # GIVEN
    trace = document(folder)
    events = [event for event in trace["traceEvents"] if event["name"] == "aten::mm"]

    # THEN
    assert trace["record_shapes"] == 1
    assert events[0]["args"]["Input Dims"]
    assert not trace.get("with_stack")


def test_perfkit_reads_its_own_trace(folder):
    # WHEN
    found = torch_profiler.find_trace(folder)
    assert found is not None
    trace = load(found)

    # THEN
    assert trace.metadata["perfkit"]["modules"]["layers.0.attn"] == "EagerAttention"


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
def test_fewer_warm_up_steps_change_nothing_in_the_trace(tmp_path, warmup):
    # WHEN
    saved = profiled(tmp_path, warmup_steps=warmup, measure_steps=1, pass_type="train", annotate="off")

    # THEN
    trace = document(tmp_path)
    found = names(trace)
    assert [name for name in found if name.startswith("ProfilerStep#")] == [f"ProfilerStep#{warmup}"]
    assert not [name for name in found if name.startswith("perfkit")]
    assert trace["perfkit"]["modules"]["layers.0"] == "Block"
    assert (len(saved.warmup), len(saved.steps)) == (warmup, 1)


def test_stacks_are_recorded_where_asked(tmp_path):
    profiled(tmp_path, warmup_steps=1, measure_steps=1, profile_stack=True)
    trace = document(tmp_path)
    assert trace["with_stack"] == 1
    assert any("step.py" in name for name in names(trace))


def failing_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException | signal.Signals) -> None:
    """Make the backward of the step of this number, counted from 1 with the warm-up, raise, or meet a signal."""
    count = 0
    backward = Workload._backward

    def counted(self: Workload, loss: torch.Tensor) -> None:
        nonlocal count
        count += 1
        if count == number:
            if isinstance(error, BaseException):
                raise error
            os.kill(os.getpid(), error)
        backward(self, loss)

    monkeypatch.setattr(Workload, "_backward", counted)


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (MemoryError(), "oom")])
def test_a_run_that_ends_early_leaves_the_trace_of_what_it_did(tmp_path, monkeypatch, error, status):
    # GIVEN
    failing_at(monkeypatch, 4, error)

    # WHEN
    saved = profiled(tmp_path)

    # THEN the second measured step is there in part
    assert (saved.status, len(saved.steps)) == (status, 1)
    assert saved.failure is not None
    assert saved.failure.phase == "measured step 2, backward"
    found = names(document(tmp_path))
    assert (found["perfkit.phase::forward"], found["perfkit.phase::backward"]) == (2, 2)
    assert "trace" in saved.artifacts
    load(tmp_path / saved.artifacts["trace"])


def test_a_run_that_ends_in_the_warm_up_has_no_trace(tmp_path, monkeypatch):
    # GIVEN
    failing_at(monkeypatch, 1, KeyboardInterrupt())

    # WHEN
    saved = profiled(tmp_path)

    # THEN
    assert (saved.status, saved.artifacts) == ("interrupted", {})
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "modules.json"}


def test_ctrl_c_while_the_trace_is_written_keeps_the_samples_and_no_half_trace(tmp_path, monkeypatch):
    # GIVEN
    def half(_: profile, path: str) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(profile, "export_chrome_trace", half)

    # WHEN
    saved = profiled(tmp_path, warmup_steps=0, measure_steps=2)

    # THEN
    assert (saved.status, len(saved.steps), saved.artifacts) == ("interrupted", 2, {})
    assert saved.failure is not None
    assert saved.failure.phase == "writing the trace"
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "modules.json"}


@pytest.mark.parametrize(("at", "status"), [(4, "interrupted"), (None, "ok")])
def test_the_record_is_there_before_the_trace_is_written(tmp_path, monkeypatch, at, status):
    """GIVEN a trace that takes long WHEN SIGKILL comes meanwhile, of which nobody is told THEN the samples are saved"""
    # GIVEN
    seen = []

    def export(_: profile, path: str) -> None:
        seen.append(record.load(tmp_path))
        Path(path).touch()

    monkeypatch.setattr(profile, "export_chrome_trace", export)
    if at is not None:
        failing_at(monkeypatch, at, KeyboardInterrupt())

    # WHEN
    saved = profiled(tmp_path)

    # THEN
    (early,) = seen
    assert (early.status, early.steps, early.warmup, early.failure) == (
        status, saved.steps, saved.warmup, saved.failure,
    )  # fmt: skip
    assert len(saved.steps) == (1 if at else 3)


def test_a_second_signal_gives_the_trace_up_and_no_step(tmp_path, monkeypatch):
    # GIVEN
    monkeypatch.setattr(signals, "SAME_S", 0.0)

    def export(_: profile, path: str) -> None:
        Path(path).write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(profile, "export_chrome_trace", export)
    failing_at(monkeypatch, 4, signal.SIGTERM)

    # WHEN
    with signals.installed(), signals.raised():
        saved = profiled(tmp_path)

    # THEN
    assert (saved.status, len(saved.steps), saved.artifacts) == ("interrupted", 1, {})
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "modules.json"}


def test_one_trace_is_the_trace_and_two_are_none(tmp_path):
    # GIVEN
    assert torch_profiler.find_trace(tmp_path) is None
    (tmp_path / "a_1.2.pt.trace.json.gz").touch()
    assert torch_profiler.find_trace(tmp_path) == tmp_path / "a_1.2.pt.trace.json.gz"

    # WHEN
    (tmp_path / "a_1.3.pt.trace.json").touch()

    # THEN
    assert torch_profiler.find_trace(tmp_path) is None


@pytest.mark.parametrize(
    ("warmup", "measure", "actions"),
    [
        (0, 1, "!"), (0, 2, "R!"), (1, 1, "w!"), (1, 2, "wR!"), (3, 2, "..wR!"),
    ],
)  # fmt: skip
def test_the_profiler_waits_warms_up_on_the_last_step_and_records_the_measured_ones(warmup, measure, actions):
    # GIVEN
    signs = {"NONE": ".", "WARMUP": "w", "RECORD": "R", "RECORD_AND_SAVE": "!"}
    config = quick(profiler="torch", warmup_steps=warmup, measure_steps=measure)

    # WHEN
    plan = torch_profiler._schedule(config, min(warmup, 1))

    # THEN one round, and nothing after it
    assert "".join(signs[plan(step).name] for step in range(warmup + measure + 2)) == actions + ".."


@pytest.mark.parametrize(("device", "activities", "waits"), [("cpu", ["CPU"], []), ("cuda", ["CPU", "CUDA"], ["cuda"]),
                                                             ("cuda:1", ["CPU", "CUDA"], ["cuda:1"])])  # fmt: skip
@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_a_gpu_is_recorded_too_and_waited_for_after_each_step(tmp_path, monkeypatch, device, activities, waits, warmup):
    """GIVEN a profiler by hand THEN it is told the metadata once, when recording has begun"""
    # GIVEN
    journal: list[str] = []
    options: dict[str, Any] = {}

    class Noting:
        def __init__(self, **given: Any) -> None:
            options.update(given)

        def __enter__(self) -> Noting:
            return self

        def __exit__(self, *_: object) -> None:
            journal.append("end")

        def step(self) -> None:
            journal.append("step")

        def add_metadata_json(self, key: str, text: str) -> None:
            journal.append(f"{key} {text}")

    monkeypatch.setattr(torch_profiler, "profile", Noting)
    monkeypatch.setattr(torch.cuda, "synchronize", journal.append)
    config = dataclasses.replace(quick(profiler="torch", warmup_steps=warmup, measure_steps=2), device=device)

    # WHEN
    with torch_profiler.recorded(config, tmp_path, {"a": 1}) as after_step:
        for _ in range(warmup + 2):
            after_step()

    # THEN
    each, told = [*waits, "step"], ['perfkit {"a":1}']
    assert journal == [*(each * warmup), *told, *(each * 2), "end"]
    assert [activity.name for activity in options["activities"]] == activities
    assert (options["record_shapes"], options["with_stack"]) == (True, False)


def test_a_trace_that_cannot_be_written_leaves_no_draft(tmp_path):
    def export(path: str) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        torch_profiler._write(SimpleNamespace(export_chrome_trace=export), tmp_path, lambda: None)
    assert list(tmp_path.iterdir()) == []
