"""Runs under torch.profiler, for real but tiny: where the trace lies and what is in it."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import profile

from perfkit import signals
from perfkit.measure import runner
from perfkit.measure.loop import Observer, StepId
from perfkit.measure.observers import torch_profiler
from perfkit.measure.observers.torch_profiler import TorchProfiler
from perfkit.schema import module_tree, record
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from perfkit.trace.load import load
from perfkit.workload import annotate
from perfkit.workload.model import Transformer
from tests.runs import quick, saved

pytestmark = pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")

NAME = re.compile(r"^.+_\d+\.\d+\.pt\.trace\.json\.gz$")


def profiled(folder: Path, *observers: Observer, profiler: type[profile] = profile, **fields: Any) -> RunRecord:
    config = quick(**{"profiler": "torch", "warmup_steps": 2, "measure_steps": 3, **fields})
    return runner.run(config, folder, observers, make_profiler=profiler)


def far_apart() -> Callable[[], float]:
    """A clock by which no two signals are one request."""
    return itertools.count(step=2 * signals.SAME_S).__next__


def document(folder: Path) -> dict[str, Any]:
    [found] = folder.glob("*.gz")
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
    result = record.load(folder)

    # THEN
    assert {path.name for path in folder.iterdir()} == {"record.json", "modules.json", result.artifacts["trace"]}
    assert NAME.match(result.artifacts["trace"])
    assert (len(result.warmup), len(result.steps)) == (2, 3)


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


def test_the_trace_knows_the_cpu_and_its_threads(folder):
    """GIVEN a run on a CPU with one thread THEN the trace says so: whose peaks utilisation is a part of"""
    environment = record.load(folder).environment
    assert document(folder)["perfkit"]["cpu"] == {"model": environment.cpu_model, "threads": 1}


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
    trace = load(folder / record.load(folder).artifacts["trace"])

    # THEN
    assert trace.recording.own.modules["layers.0.attn"] == "EagerAttention"


@pytest.mark.parametrize("warmup", [0, 1])
@pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")
def test_fewer_warm_up_steps_change_nothing_in_the_trace(tmp_path, warmup):
    # WHEN
    result = profiled(tmp_path, warmup_steps=warmup, measure_steps=1, pass_type="train", annotate="off")

    # THEN
    trace = document(tmp_path)
    found = names(trace)
    assert [name for name in found if name.startswith("ProfilerStep#")] == [f"ProfilerStep#{warmup}"]
    assert not [name for name in found if name.startswith("perfkit")]
    assert trace["perfkit"]["modules"]["layers.0"] == "Block"
    assert (len(result.warmup), len(result.steps)) == (warmup, 1)


def test_stacks_are_recorded_where_asked(tmp_path):
    profiled(tmp_path, warmup_steps=1, measure_steps=1, profile_stack=True)
    trace = document(tmp_path)
    assert trace["with_stack"] == 1
    assert any("step.py" in name for name in names(trace))


class FailingAt(Observer):
    """Has the backward of one step, counted from 1 with the warm-up, raise or meet a signal."""

    def __init__(self, number: int, error: BaseException | signal.Signals) -> None:
        self._left, self._error = number, error

    def before(self, step: StepId) -> None:
        self._left -= 1

    def phase(self, name: str) -> None:
        if name == "backward" and self._left == 0:
            if isinstance(self._error, BaseException):
                raise self._error
            os.kill(os.getpid(), self._error)


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (MemoryError(), "oom")])
def test_a_run_that_ends_early_leaves_the_trace_of_what_it_did(tmp_path, error, status):
    # WHEN
    result = profiled(tmp_path, FailingAt(4, error))

    # THEN the second measured step is there in part
    assert (result.status, len(result.steps)) == (status, 1)
    assert result.failure is not None
    assert result.failure.phase == "measured step 2, backward"
    found = names(document(tmp_path))
    assert (found["perfkit.phase::forward"], found["perfkit.phase::backward"]) == (2, 1)
    assert "trace" in result.artifacts
    load(tmp_path / result.artifacts["trace"])


def test_a_run_that_ends_in_the_warm_up_has_no_trace(tmp_path):
    # WHEN
    result = profiled(tmp_path, FailingAt(1, KeyboardInterrupt()))

    # THEN
    assert (result.status, result.artifacts) == ("interrupted", {})
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "modules.json"}


def test_ctrl_c_while_the_trace_is_written_keeps_the_samples_and_no_half_trace(tmp_path):
    # GIVEN
    class Half(profile):
        def export_chrome_trace(self, path: str, *ignored: Any) -> None:
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt

    # WHEN
    result = profiled(tmp_path, profiler=Half, warmup_steps=0, measure_steps=2)

    # THEN
    assert (result.status, len(result.steps), result.artifacts) == ("interrupted", 2, {})
    assert result.failure is not None
    assert result.failure.phase == "writing the trace"
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "modules.json"}


@pytest.mark.parametrize(("at", "status"), [(4, "interrupted"), (None, "ok")])
def test_the_record_is_there_before_the_trace_is_written(tmp_path, at, status):
    """GIVEN a trace that takes long WHEN SIGKILL comes meanwhile, of which nobody is told THEN the samples are saved"""
    # GIVEN
    seen = []

    class Slow(profile):
        def export_chrome_trace(self, path: str, *ignored: Any) -> None:
            seen.append(record.load(tmp_path))
            Path(path).touch()

    failing = [FailingAt(at, KeyboardInterrupt())] if at else []

    # WHEN
    result = profiled(tmp_path, *failing, profiler=Slow)

    # THEN
    (early,) = seen
    assert (early.status, early.steps, early.warmup, early.failure) == (
        status, result.steps, result.warmup, result.failure,
    )  # fmt: skip
    assert len(result.steps) == (1 if at else 3)


def test_a_second_signal_gives_the_trace_up_and_no_step(tmp_path):
    # GIVEN
    class Half(profile):
        def export_chrome_trace(self, path: str, *ignored: Any) -> None:
            Path(path).write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGTERM)

    # WHEN
    with signals.installed(far_apart()), signals.raised():
        result = profiled(tmp_path, FailingAt(4, signal.SIGTERM), profiler=Half)

    # THEN
    assert (result.status, len(result.steps), result.artifacts) == ("interrupted", 1, {})
    assert {path.name for path in tmp_path.iterdir()} == {"record.json", "modules.json"}


def meeting_a_signal(method: str, *, before: bool) -> type[profile]:
    """PyTorch's profiler, which is sent SIGTERM when a method of it begins, or when that is done."""

    def meet(self: profile) -> None:
        if before:
            os.kill(os.getpid(), signal.SIGTERM)
        getattr(profile, method)(self)
        if not before:
            os.kill(os.getpid(), signal.SIGTERM)

    return type("Meeting", (profile,), {method: meet})


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize(
    ("method", "warmup", "where", "steps"),
    [
        ("prepare_trace", 1, "model", None),
        ("prepare_trace", 0, "model", 0),
        ("start_trace", 1, "warm-up step 1, at its end", 0),
        ("stop_trace", 1, None, 2),
    ],
)
def test_a_signal_waits_until_the_profiler_has_begun_or_ended(tmp_path, method, warmup, where, steps, before):
    """GIVEN a signal as the profiler prepares, starts or stops, which crashes one that is cut short

    THEN the record is there, and a trace of the steps so far, if recording has begun; which may be all of them.
    """
    # WHEN
    with signals.installed(), signals.raised(), contextlib.ExitStack() as stack:
        if where is None:
            stack.enter_context(pytest.raises(signals.Interrupted))
        profiler = meeting_a_signal(method, before=before)
        profiled(tmp_path, profiler=profiler, warmup_steps=warmup, measure_steps=2)

    # THEN
    result = record.load(tmp_path)
    assert (result.status, result.failure and result.failure.phase) == ("interrupted" if where else "ok", where)
    assert len(result.steps) == (steps or 0)
    assert ("trace" in result.artifacts) is (steps is not None)
    if steps is not None:
        assert names(document(tmp_path))["perfkit.phase::backward"] == steps
        load(tmp_path / result.artifacts["trace"])


@pytest.mark.parametrize(("second", "status", "trace"), [(False, "ok", True), (True, "interrupted", False)])
def test_one_signal_while_the_trace_is_written_lets_it_be_written_and_two_do_not(tmp_path, second, status, trace):
    # GIVEN
    class Meeting(profile):
        def export_chrome_trace(self, path: str, *ignored: Any) -> None:
            for _ in range(1 + second):
                os.kill(os.getpid(), signal.SIGTERM)
            super().export_chrome_trace(path)

    # WHEN
    with (
        signals.installed(far_apart()),
        signals.raised(),
        contextlib.nullcontext() if second else pytest.raises(KeyboardInterrupt),
    ):
        profiled(tmp_path, profiler=Meeting, warmup_steps=0, measure_steps=2)

    # THEN
    result = record.load(tmp_path)
    assert (result.status, len(result.steps), "trace" in result.artifacts) == (status, 2, trace)
    assert len([*tmp_path.glob("*.gz")]) == trace


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


class Noting:
    """A profiler that writes down what it is asked to do, and leaves what `export` does."""

    def __init__(self, journal: list[str], export: Callable[[str], None] = lambda path: Path(path).touch()) -> None:
        self.journal = journal
        self.export_chrome_trace = export

    def __call__(self, **options: Any) -> Noting:
        self.options = options
        return self

    def __enter__(self) -> None:
        self.journal.append("begin")

    def __exit__(self, *_: object) -> None:
        self.journal.append("end")
        self.options["on_trace_ready"](self)

    def step(self) -> None:
        self.journal.append("step")

    def add_metadata_json(self, key: str, text: str) -> None:
        self.journal.append(f"{key} {text}")


def steps(config: RunConfig) -> list[StepId]:
    warmup = [StepId("warm-up", number) for number in range(config.measurement.warmup_steps)]
    return warmup + [StepId("measured", number) for number in range(config.measurement.measure_steps)]


@pytest.mark.parametrize(("device", "activities", "waits"), [("cpu", ["CPU"], []), ("cuda", ["CPU", "CUDA"], ["cuda"]),
                                                             ("cuda:1", ["CPU", "CUDA"], ["cuda:1"])])  # fmt: skip
@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_a_gpu_is_recorded_too_and_waited_for_before_each_step(tmp_path, device, activities, waits, warmup):
    """GIVEN a profiler by hand THEN it is told the metadata once, when recording has begun"""
    # GIVEN
    journal: list[str] = []
    made = Noting(journal)
    config = quick(profiler="torch", warmup_steps=warmup, measure_steps=2).changed(device=device)
    profiler = TorchProfiler(
        config, tmp_path, {"a": 1}, lambda: journal.append("writing"), make=made, synchronize=journal.append
    )

    # WHEN
    for step in steps(config):
        profiler.before(step)
        journal.append(str(step))
    profiler.close()

    # THEN
    each, told = [*waits, "step"], 'perfkit {"a":1}'
    begins = [*[entry for number in range(1, warmup) for entry in (*each, f"warm-up step {number + 1}")]]
    if warmup:
        expected = ["begin", "warm-up step 1", *begins, *each, told, "measured step 1"]
    else:
        expected = ["begin", told, "measured step 1"]
    assert journal == [*expected, *each, "measured step 2", "end", "writing"]
    assert [activity.name for activity in made.options["activities"]] == activities
    assert (made.options["record_shapes"], made.options["with_stack"]) == (True, False)
    assert profiler.add_to(saved(artifacts={"plain": "p"})).artifacts == {"plain": "p", "trace": profiler.trace.name}


def test_a_profiler_that_never_ran_has_nothing_to_end(tmp_path):
    journal: list[str] = []
    profiler = TorchProfiler(quick(profiler="torch"), tmp_path, {}, make=Noting(journal))
    profiler.close()
    assert (journal, profiler.add_to(saved())) == ([], saved())


def test_a_trace_that_cannot_be_written_leaves_no_draft(tmp_path):
    # GIVEN
    def export(path: str) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("full")

    profiler = TorchProfiler(quick(profiler="torch"), tmp_path, {}, make=Noting([], export))
    profiler.before(StepId("measured", 0))

    # WHEN
    with pytest.raises(OSError, match="full"):
        profiler.close()

    # THEN
    assert list(tmp_path.iterdir()) == []
    assert profiler.add_to(saved()).artifacts == {}
