"""A run from configuration to record, with a workload that does nothing but fail where the test says."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import os
import resource
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import psutil
import pytest
import torch
from torch.profiler import profile

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.measure import runner
from perfkit.measure.loop import Observer, StepId
from perfkit.measure.observers.probes import Probes
from perfkit.measure.observers.suggestions import Suggestions
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Failure, MemoryPeaks, RunRecord, StepSample
from perfkit.schema.stopping import StopRule
from tests.runs import CPU_OOM, FakeWorkload, Journal, quick

pytestmark = pytest.mark.filterwarnings("ignore:Profiler won't be using warmup")

GIB = 2**30
OOM = RuntimeError(CPU_OOM)

Run = Callable[..., RunRecord]


@pytest.fixture
def made() -> list[FakeWorkload]:
    """The workloads that were built."""
    return []


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: list[FakeWorkload]) -> Run:
    """Runs a fake workload in tmp_path; the record it returns is the one it saved."""
    for name in ("NSYS_PROFILING_SESSION_ID", "NVTX_INJECTION64_PATH"):
        monkeypatch.delenv(name, raising=False)

    def go(
        failures: dict[tuple[int, str], BaseException] | None = None,
        prepare: Callable[[FakeWorkload], None] = lambda workload: None,
        observers: Sequence[Observer] = (),
        enough: StopRule | None = None,
        make_profiler: Callable[..., Any] = profile,
        **fields: Any,
    ) -> RunRecord:
        def build(config: Any) -> FakeWorkload:
            made.append(FakeWorkload(config, failures))
            prepare(made[-1])
            return made[-1]

        config = quick(**{"warmup_steps": 2, "measure_steps": 3, **fields})
        result = runner.run(config, tmp_path, observers, enough=enough, build=build, make_profiler=make_profiler)
        assert record.load(tmp_path) == result
        return result

    return go


def test_threads_are_set_before_the_workload_is_built(run):
    """GIVEN two threads WHEN a run asks for one THEN the workload is built with one, and the record says so"""
    before, seen = torch.get_num_threads(), []
    try:
        torch.set_num_threads(2)
        found = run(prepare=lambda _: seen.append(torch.get_num_threads()), num_threads=1)
    finally:
        torch.set_num_threads(before)
    assert (seen, found.environment.num_threads) == ([1], 1)


@pytest.mark.parametrize(("warmup", "measure"), [(2, 3), (0, 1), (1, 1), (5, 10)])
def test_warm_up_and_measured_steps_are_obeyed_exactly(run, made, warmup, measure):
    # WHEN
    result = run(warmup_steps=warmup, measure_steps=measure)

    # THEN
    assert (len(result.warmup), len(result.steps), made[0].steps) == (warmup, measure, warmup + measure)
    assert (result.status, result.failure, result.annotation, result.artifacts) == ("ok", None, None, {})
    assert list(result.steps[0].phases_s) == ["zero_grad", "forward", "loss", "backward"]
    assert result.config == quick(warmup_steps=warmup, measure_steps=measure)


PHASES = ["zero_grad", "forward", "loss", "backward"]


def told(*steps: str) -> list[str]:
    """What a journal holds of whole steps."""
    return [entry for step in steps for entry in (f"before {step}", *PHASES, f"after {step}")]


def test_an_observer_sees_each_step_and_the_end(run, made):
    """GIVEN one of ten lines, passed to a run THEN it sees before, phases, after in order, and close at the end"""

    class Own(Observer):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def before(self, step: StepId) -> None:
            self.seen.append(f"before {step}")

        def phase(self, name: str) -> None:
            self.seen.append(name)

        def after(self, step: StepId, sample: StepSample) -> None:
            assert sample.wall_s > 0
            self.seen.append(f"after {step}")

        def close(self) -> None:
            self.seen.append("close")

    own = Own()
    run(observers=[own], warmup_steps=1, measure_steps=2)
    assert own.seen == [*told("warm-up step 1", "measured step 1", "measured step 2"), "close"]


@pytest.mark.parametrize("profiler", ["none", "torch"])
@pytest.mark.parametrize("error", [OOM, KeyboardInterrupt(), ValueError("a bug")], ids=str)
def test_an_observer_is_closed_once_when_a_step_raises(run, error, profiler):
    # GIVEN
    journal = Journal()

    # WHEN the loss of the second of two steps raises
    with contextlib.suppress(ValueError):
        run({(1, "loss"): error}, observers=[journal], warmup_steps=1, profiler=profiler)

    # THEN
    assert journal.entries == [
        *told("warm-up step 1"), "before measured step 1", "zero_grad", "forward", "loss", "close",
    ]  # fmt: skip


def test_an_observer_is_closed_where_the_model_cannot_be_built(run):
    def fail(workload: FakeWorkload) -> None:
        raise OOM

    journal = Journal()
    run(prepare=fail, observers=[journal])
    assert journal.entries == ["close"]


def test_an_observer_that_raises_ends_the_run_as_a_step_does(run):
    class Failing(Journal):
        def after(self, step: StepId, sample: StepSample) -> None:
            super().after(step, sample)
            raise KeyboardInterrupt

    journal = Failing()
    result = run(observers=[journal])
    assert (result.status, result.failure.phase) == ("interrupted", "warm-up step 1, at its end")
    assert journal.entries == [*told("warm-up step 1"), "close"]


def test_an_observer_adds_to_the_record_what_it_knows(run):
    class Noting(Observer):
        def __init__(self) -> None:
            self.steps = 0

        def after(self, step: StepId, sample: StepSample) -> None:
            self.steps += 1

        def add_to(self, record: RunRecord) -> RunRecord:
            return dataclasses.replace(record, observed=record.observed | {"steps": self.steps})

    assert run(observers=[Noting(), Journal()]).observed["steps"] == 5


@pytest.mark.parametrize(
    ("failing", "where", "warmup", "steps"),
    [
        ((0, "forward"), "warm-up step 1, forward", 0, 0),
        ((1, "backward"), "warm-up step 2, backward", 1, 0),
        ((2, "zero_grad"), "measured step 1, zero_grad", 2, 0),
        ((4, "loss"), "measured step 3, loss", 2, 2),
    ],
)
@pytest.mark.parametrize(("error", "status"), [(OOM, "oom"), (KeyboardInterrupt(), "interrupted")])
def test_out_of_memory_and_ctrl_c_keep_what_was_measured(run, failing, where, warmup, steps, error, status):
    # WHEN
    result = run({failing: error})

    # THEN
    assert (result.status, len(result.warmup), len(result.steps)) == (status, warmup, steps)
    assert result.failure is not None
    assert result.failure.phase == where
    assert where in result.failure.message


def test_out_of_memory_says_what_was_asked_what_there_was_and_what_to_try(run):
    # WHEN
    asked = []

    def suggest(config: RunConfig, available: int) -> tuple[str, ...]:
        asked.append(available)
        return (f"--seed {config.step.batch_size}",)

    failure = run({(3, "forward"): OOM}, observers=[Suggestions(suggest)], batch_size=8).failure

    # THEN
    assert failure is not None
    assert failure.requested == 64 * GIB
    assert 0 < failure.available <= psutil.virtual_memory().total
    assert asked == [failure.available]
    assert failure.suggestions == ("--seed 8",)
    assert "an allocation of 64.0 GiB failed" in failure.message


@pytest.mark.parametrize(("error", "status"), [(OOM, "oom"), (KeyboardInterrupt(), "interrupted")])
def test_a_model_that_cannot_be_built_is_a_result_too(run, error, status):
    # GIVEN
    def fail(workload: FakeWorkload) -> None:
        raise error

    # WHEN
    result = run(prepare=fail)

    # THEN
    assert (result.status, result.steps, result.warmup) == (status, (), ())
    assert result.failure is not None
    assert result.failure.phase == "model"


def test_an_error_of_any_other_kind_is_not_swallowed(run):
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run({(0, "forward"): RuntimeError("mat1 and mat2 shapes cannot be multiplied")})


def test_an_attention_backend_that_cannot_is_refused_with_what_to_do(run):
    with pytest.raises(UsageError, match="--sdpa-backend flash has no kernel for this shape, precision and device"):
        run(
            {(0, "forward"): RuntimeError("No available kernel. Aborting execution.")},
            attention="sdpa",
            sdpa_backend="flash",
        )


@pytest.mark.parametrize(("switch", "inside"), [("off", False), ("on", True)])
@pytest.mark.parametrize("error", [None, OOM])
def test_the_garbage_collector_is_off_in_the_loop_and_on_after_it(run, switch, inside, error):
    # GIVEN
    gc.enable()
    seen = set()

    def look(workload: FakeWorkload) -> None:
        workload.during = lambda: seen.add(gc.isenabled())

    # WHEN
    run({(3, "loss"): error} if error else None, prepare=look, gc=switch)

    # THEN
    assert seen == {inside}
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("fields", "environ", "ranges"),
    [
        ({}, {}, False),
        ({"annotate": "on"}, {}, True),
        ({}, {"NSYS_PROFILING_SESSION_ID": "1"}, True),
        ({"annotate": "off"}, {"NSYS_PROFILING_SESSION_ID": "1"}, False),
        ({"profiler": "torch"}, {}, True),
        ({"profiler": "torch", "annotate": "off"}, {}, False),
    ],
)
def test_ranges_are_there_when_something_records_them_or_when_asked(run, made, monkeypatch, fields, environ, ranges):
    # GIVEN
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    # WHEN
    result = run(**fields, measure_steps=1, warmup_steps=0)

    # THEN all of it gone at the end
    assert (made[0].annotation is not None) == ranges
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made[0].model.modules())
    assert (result.annotation is not None) == ranges
    if result.annotation is not None:
        assert result.annotation.ranges == 3
        assert result.annotation.seconds_per_range >= 0  # its measure is tested where it is taken, by a clock by hand
        # THEN backward has ranges where nothing else can tell whose it is
        in_backward = "NSYS_PROFILING_SESSION_ID" in environ and result.config.step.pass_type != "forward"
        assert (result.annotation.seconds_per_node is not None) == in_backward


def test_hooks_are_gone_after_a_failure(run, made):
    run({(1, "loss"): OOM}, annotate="on")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made[0].model.modules())


def test_the_data_limit_is_set_back_after_a_failure(run):
    # GIVEN
    before = resource.getrlimit(resource.RLIMIT_DATA)

    # WHEN
    run({(1, "loss"): OOM})

    # THEN
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize(("fields", "times"), [({}, 1), ({"annotate": "on"}, 1), ({"profiler": "torch"}, 2)])
@pytest.mark.parametrize("error", [None, OOM])
def test_the_record_is_written_once_and_before_a_trace(run, error, fields, times):
    class Counting(Observer):
        writings = 0

        def add_to(self, record: RunRecord) -> RunRecord:
            self.writings += 1
            return record

    counting = Counting()
    run({(3, "loss"): error} if error else None, observers=[counting], **fields)
    assert counting.writings == times


def test_memory_is_that_of_the_measured_steps(run):
    """GIVEN a step that holds 64 MiB for a moment, warm-up or measured THEN the peak has it where it was measured"""
    size, peaks = 64 * 2**20, []
    for holder in (1, 2):

        def prepare(workload: FakeWorkload, holder: int = holder) -> None:
            def hold() -> None:
                bytearray(b"x" * size * (workload.steps == holder))

            workload.during = hold

        peaks.append(run(prepare=prepare, warmup_steps=1, measure_steps=1).memory.resident)
    if None in peaks:
        pytest.skip("this system does not tell")
    assert peaks[1] - peaks[0] > size // 2


def test_peaks_are_kept_when_a_step_fails(run):
    assert run({(3, "loss"): OOM}).memory != MemoryPeaks()
    assert run({(1, "loss"): OOM}).memory == MemoryPeaks()  # in the warm-up there are none


def test_observers_are_closed_before_a_trace_is_written(run, tmp_path):
    """GIVEN an observer that looks at the folder when it is closed THEN it sees no trace; later there is one"""

    class Looking(Observer):
        def close(self) -> None:
            seen.append(len(list(tmp_path.glob("*.gz"))))

    seen: list[int] = []
    assert "trace" in run(observers=[Looking()], profiler="torch", warmup_steps=0, measure_steps=2).artifacts
    assert seen == [0]


def test_what_closes_after_the_steps_is_no_time_of_the_last_one(run):
    """GIVEN an observer that takes long to close WHEN the profiler records THEN it has ended by then

    So has it when the garbage collector is on again, and collects.
    """
    happened: list[str] = []

    class Ending(profile):
        def stop_trace(self) -> None:
            happened.append(f"recorded, collector on: {gc.isenabled()}")
            super().stop_trace()

    class Slow(Observer):
        def close(self) -> None:
            happened.append("closed")

    run(observers=[Slow()], profiler="torch", make_profiler=Ending, warmup_steps=1, measure_steps=2)
    assert happened == ["recorded, collector on: False", "closed"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_cannot_run_here_is_refused_before_anything_is_built():
    with pytest.raises(UsageError, match="sees no CUDA device"):
        runner.resolve(RunConfig.of(device="cuda"))
    resolved = runner.resolve(RunConfig.of(device="auto"))
    assert (resolved.step.device, resolved.transformer.model_size, resolved.transformer.num_layers) == (
        "cpu",
        "tiny",
        4,
    )


def test_the_record_says_how_many_threads_the_run_had(run):
    # GIVEN
    torch.set_num_threads(min(2, os.cpu_count() or 1))

    # THEN
    assert run(num_threads=1).environment.num_threads == 1


def test_every_step_has_its_counters_and_the_record_their_cost(run):
    result = run()
    assert all(step.probes is not None for step in (*result.warmup, *result.steps))
    began = [step.probes.began_s for step in (*result.warmup, *result.steps)]
    assert began == sorted(began)
    assert result.probing is not None
    assert result.probing.seconds_per_step > 0
    assert (result.ended_by, result.gpu) == ("measure-steps", ())


def test_counters_are_of_the_step_and_of_no_other_observer(run):
    """GIVEN an observer that collects garbage before and after each step THEN no step has a collection"""

    class Collecting(Observer):
        def before(self, step: StepId) -> None:
            gc.collect()

        def after(self, step: StepId, sample: StepSample) -> None:
            gc.collect()

    result = run(observers=[Collecting()])
    assert [step.probes.collections for step in (*result.warmup, *result.steps)] == [0] * 5


@pytest.mark.parametrize("error", [OOM, KeyboardInterrupt()])
def test_a_run_that_fails_was_ended_by_no_rule_and_keeps_its_counters(run, error):
    result = run({(4, "loss"): error})
    assert result.ended_by is None
    assert result.steps[-1].probes is not None
    assert result.probing is not None


def test_a_target_ends_the_steps_when_its_rule_says_so(run, made):
    # GIVEN a rule, which is asked before every measured step
    asked = []

    def rule(samples):
        asked.append(len(samples))
        return "target-ci" if len(samples) == 25 else None

    # WHEN
    result = run(enough=rule, target_ci=0.01, warmup_steps=2)

    # THEN
    assert (len(result.steps), result.ended_by, made[0].steps) == (25, "target-ci", 27)
    assert asked == list(range(26))
    assert result.memory != MemoryPeaks()


def test_a_target_needs_its_rule(run):
    with pytest.raises(ValueError, match=r"needs enough=analysis.runs.stopping.rule\(config\)"):
        run(target_ci=0.01)


@pytest.mark.parametrize("warmup", [0, 1])
def test_profiled_steps_have_counters_together_since_reading_each_would_be_in_the_trace(run, warmup, monkeypatch):
    # GIVEN a count of the readings
    counted = create_autospec(Probes._read, side_effect=Probes._read)
    monkeypatch.setattr(Probes, "_read", counted)

    # WHEN
    result = run(profiler="torch", warmup_steps=warmup, measure_steps=2)

    # THEN one before all, one after each warm-up step, one at the end, and none in what was recorded
    assert [step.probes for step in (*result.warmup, *result.steps)] == [None] * (2 + warmup)
    assert (result.probing, result.ended_by, counted.call_count) == (None, "measure-steps", 2 + warmup)
    assert result.window.wall_s > sum(step.wall_s for step in result.steps)
    assert result.window.probes.main_cpu_s >= 0


def test_plain_steps_have_counters_each_and_none_together(run):
    assert run().window is None


def test_where_no_step_was_recorded_there_are_no_counters_of_any(run):
    assert run({(1, "loss"): OOM}, profiler="torch").window is None


def test_ctrl_c_between_steps_is_not_said_to_be_in_one(run):
    """GIVEN ctrl-C while the bar is drawn after the first measured step THEN that step is kept, and named as done"""

    class Interrupted(Observer):
        def after(self, step: StepId, sample: StepSample) -> None:
            if step == StepId("measured", 0):
                raise KeyboardInterrupt

    result = run(observers=[Interrupted()])
    assert len(result.steps) == 1
    assert result.failure.phase == "measured step 1, at its end"


# --- signals ------------------------------------------------------------------------------------------------------


@pytest.fixture
def _taken():
    with signals.installed(), signals.raised():
        yield


taken = pytest.mark.usefixtures("_taken")


def during(step: int, number: signal.Signals) -> Callable[[FakeWorkload], None]:
    """Prepares a workload that is sent a signal in the first phase of a step."""

    def prepare(workload: FakeWorkload) -> None:
        sent: list[int] = []

        def send() -> None:
            if workload.steps == step and not sent:
                sent.append(number)
                os.kill(os.getpid(), number)

        workload.during = send

    return prepare


@taken
@pytest.mark.parametrize("number", signals.TAKEN)
@pytest.mark.parametrize(("step", "where", "warmup", "steps"), [
    (1, "warm-up step 1, zero_grad", 0, 0), (4, "measured step 2, zero_grad", 2, 1),
])  # fmt: skip
def test_the_record_says_which_signal_ended_the_run(run, number, step, where, warmup, steps):
    journal = Journal()
    result = run(prepare=during(step, number), observers=[journal])
    assert journal.entries[-3:] == [f"before {where.partition(',')[0]}", "zero_grad", "close"]
    assert (result.status, len(result.warmup), len(result.steps)) == ("interrupted", warmup, steps)
    assert result.failure == Failure(
        phase=where, message=f"interrupted by {number.name} in {where}", signal=number.name
    )


@taken
@pytest.mark.parametrize("error", [RuntimeError("unknown error"), AssertionError("Profiler must be initialized")])
def test_a_signal_that_becomes_another_exception_is_still_the_reason(run, error):
    """GIVEN C++ that makes a RuntimeError of it, or what PyTorch's profiler left half made THEN the run was interrupted

    Both are PyTorch's own. No bug is said to be there.
    """

    def converts(workload: FakeWorkload) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise error from None

    result = run(prepare=converts)
    assert result.failure is not None
    assert (result.status, result.failure.phase, result.failure.signal) == ("interrupted", "model", "SIGTERM")


@taken
def test_a_signal_that_something_swallows_ends_the_run_after_the_step(run):
    def swallows(workload: FakeWorkload) -> None:
        def swallow() -> None:
            if workload.steps == 3 and signals.first() is None:
                with contextlib.suppress(BaseException):
                    os.kill(os.getpid(), signal.SIGTERM)

        workload.during = swallow

    result = run(prepare=swallows)
    assert result.failure is not None
    assert (len(result.steps), result.failure.phase) == (1, "measured step 1, at its end")


@pytest.mark.parametrize(("first", "status"), [(None, "ok"), (4, "interrupted")])
def test_a_signal_while_the_record_is_written_waits_until_it_is(run, monkeypatch, tmp_path, first, status):
    # GIVEN a signal in the middle of saving, after none or after one in the second measured step
    far_apart = itertools.count(step=2 * signals.SAME_S).__next__
    write = Path.write_bytes

    def meets_it(path: Path, data: bytes) -> int:
        written = write(path, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGTERM)
        return written + write(path, data)

    monkeypatch.setattr(Path, "write_bytes", meets_it)

    # WHEN
    with signals.installed(far_apart), signals.raised(), pytest.raises(signals.Interrupted):
        run(prepare=during(first or -1, signal.SIGHUP))

    # THEN
    monkeypatch.undo()
    saved = record.load(tmp_path)
    assert (saved.status, len(saved.steps)) == (status, 1 if first else 3)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
