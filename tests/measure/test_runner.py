"""A run from configuration to record, with a workload that does nothing but fail where the test says."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.measure import runner
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Failure, MemoryPeaks, RunRecord
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
        progress: Journal | None = None,
        enough: runner.Enough | None = None,
        **fields: Any,
    ) -> RunRecord:
        def build(config: Any) -> FakeWorkload:
            made.append(FakeWorkload(config, failures))
            prepare(made[-1])
            return made[-1]

        monkeypatch.setattr(runner, "Workload", build)
        config = quick(**{"warmup_steps": 2, "measure_steps": 3, **fields})
        result = runner.run(
            config,
            tmp_path,
            progress or Journal(),
            suggest=lambda config, available: (f"--seed {config.batch_size}",),
            enough=enough,
        )
        assert record.load(tmp_path) == result
        return result

    return go


@pytest.mark.parametrize(("warmup", "measure"), [(2, 3), (0, 1), (1, 1), (5, 10)])
def test_warm_up_and_measured_steps_are_obeyed_exactly(run, made, warmup, measure):
    # WHEN
    result = run(warmup_steps=warmup, measure_steps=measure)

    # THEN
    assert (len(result.warmup), len(result.steps), made[0].steps) == (warmup, measure, warmup + measure)
    assert (result.status, result.failure, result.annotation, result.artifacts) == ("ok", None, None, {})
    assert list(result.steps[0].phases_s) == ["zero_grad", "forward", "loss", "backward"]
    assert result.config == quick(warmup_steps=warmup, measure_steps=measure)


def test_progress_is_told_what_happens_and_never_during_a_step(run, made):
    # GIVEN
    class Strict(Journal):
        def stage(self, name: str, steps: int = 0) -> None:
            assert not (made and made[0].inside)
            super().stage(name, steps)

        def advance(self) -> None:
            assert not made[0].inside
            super().advance()

    progress = Strict()

    # WHEN
    run(progress=progress)

    # THEN
    assert progress.entries == ["building the model", "warm-up steps 2", ".", ".", "measured steps 3", ".", ".", "."]


def test_no_warm_up_is_no_stage(run):
    progress = Journal()
    run(progress=progress, warmup_steps=0)
    assert progress.entries == ["building the model", "measured steps 3", ".", ".", "."]


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


def test_out_of_memory_says_what_was_asked_what_there_was_and_what_to_try(run, monkeypatch):
    # GIVEN
    monkeypatch.setattr(runner.memory, "available", lambda device: 16 * GIB)

    # WHEN
    failure = run({(3, "forward"): OOM}, batch_size=8).failure

    # THEN
    assert failure is not None
    assert failure.requested == 64 * GIB
    assert failure.available is not None
    assert failure.available <= 16 * GIB
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
    gc.unfreeze()
    seen = set()

    def look(workload: FakeWorkload) -> None:
        workload.during = lambda: seen.add(gc.isenabled())

    # WHEN
    run({(3, "loss"): error} if error else None, prepare=look, gc=switch)

    # THEN
    assert seen == {inside}
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


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
        in_backward = "NSYS_PROFILING_SESSION_ID" in environ and result.config.pass_type != "forward"
        assert (result.annotation.seconds_per_node is not None) == in_backward


def test_hooks_are_gone_after_a_failure(run, made):
    run({(1, "loss"): OOM}, annotate="on")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in made[0].model.modules())


def test_the_data_limit_is_set_back_after_a_failure(run):
    # GIVEN
    before = runner.memory.resource.getrlimit(runner.memory.resource.RLIMIT_DATA)

    # WHEN
    run({(1, "loss"): OOM})

    # THEN
    assert runner.memory.resource.getrlimit(runner.memory.resource.RLIMIT_DATA) == before


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to peaks, in order; the n-th reading is n bytes."""
    journal: list[str] = []

    def read(_: str) -> MemoryPeaks:
        journal.append("read")
        return MemoryPeaks(resident=journal.count("read"))

    monkeypatch.setattr(runner.memory, "reset_peaks", lambda device: journal.append("reset"))
    monkeypatch.setattr(runner.memory, "read_peaks", read)
    return journal


def test_peaks_are_those_of_the_measured_steps(run, peaks):
    # GIVEN
    def journal_steps(workload: FakeWorkload) -> None:
        workload.during = lambda: peaks.append(f"step {workload.steps}")

    # WHEN
    result = run(prepare=journal_steps, warmup_steps=1, measure_steps=2)

    # THEN
    assert list(dict.fromkeys(peaks)) == ["step 1", "reset", "step 2", "step 3", "read"]
    assert result.memory == MemoryPeaks(resident=1)


def test_peaks_are_kept_when_a_step_fails(run, peaks):
    assert run({(3, "loss"): OOM}).memory == MemoryPeaks(resident=1)
    assert peaks == ["reset", "read"]


def test_writing_a_trace_does_not_count_into_the_peaks(run, peaks):
    # GIVEN
    class Noting(Journal):
        def stage(self, name: str, steps: int = 0) -> None:
            peaks.append(name)

    # WHEN
    run(profiler="torch", warmup_steps=0, measure_steps=2, progress=Noting())

    # THEN
    assert peaks == ["building the model", "reset", "measured steps", "read", "writing the trace"]


def test_what_cannot_run_here_is_refused_before_anything_is_built(monkeypatch, made):
    # GIVEN
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    # THEN
    with pytest.raises(UsageError, match="sees no CUDA device"):
        runner.resolve(RunConfig(device="cuda"))
    resolved = runner.resolve(RunConfig(device="auto"))
    assert (resolved.device, resolved.model_size, resolved.num_layers) == ("cpu", "tiny", 4)


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


@pytest.mark.parametrize("error", [OOM, KeyboardInterrupt()])
def test_a_run_that_fails_was_ended_by_no_rule_and_keeps_its_counters(run, error):
    result = run({(4, "loss"): error})
    assert result.ended_by is None
    assert result.steps[-1].probes is not None
    assert result.probing is not None


def test_another_system_measures_without_counters(run, monkeypatch):
    monkeypatch.setattr(runner.probes.sys, "platform", "darwin")
    result = run()
    assert result.steps[0].probes is None
    assert result.probing is None


def test_a_target_ends_the_steps_when_its_rule_says_so(run, monkeypatch, peaks, made):
    # GIVEN
    asked = []

    def enough(samples):
        asked.append(len(samples))
        return "target-ci" if len(samples) == 25 else None

    progress = Journal()

    # WHEN
    result = run(progress=progress, enough=enough, target_ci=0.01, warmup_steps=2)

    # THEN
    assert (len(result.steps), result.ended_by, made[0].steps) == (25, "target-ci", 27)
    assert asked == list(range(1, 26))
    assert peaks == ["reset", "read"]
    assert progress.entries[:5] == ["building the model", "warm-up steps 2", ".", ".", "measured steps"]


def test_a_target_needs_its_rule(run):
    with pytest.raises(ValueError, match="needs enough="):
        run(target_ci=0.01)


def test_profiled_steps_have_no_counters_since_reading_them_would_be_in_the_trace(run):
    result = run(profiler="torch", warmup_steps=1, measure_steps=2)
    assert [step.probes for step in (*result.warmup, *result.steps)] == [None] * 3
    assert (result.probing, result.ended_by) == (None, "measure-steps")


def test_ctrl_c_between_steps_is_not_said_to_be_in_one(run):
    """GIVEN ctrl-C while the bar is drawn after the first measured step THEN that step is kept, and named as done"""

    class Interrupted(Journal):
        calls = 0

        def advance(self) -> None:
            self.calls += 1
            if self.calls == 3:  # after two warm-up steps
                raise KeyboardInterrupt

    result = run(progress=Interrupted())
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
        sent = []

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
    result = run(prepare=during(step, number))
    assert (result.status, len(result.warmup), len(result.steps)) == ("interrupted", warmup, steps)
    assert result.failure == Failure(
        phase=where, message=f"interrupted by {number.name} in {where}", signal=number.name
    )


@taken
def test_a_signal_that_becomes_another_exception_is_still_the_reason(run):
    """GIVEN C++ that makes a RuntimeError of it, as PyTorch's own code does THEN the run was interrupted, no bug"""

    def converts(workload: FakeWorkload) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("unknown error") from None

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


@taken
@pytest.mark.parametrize(("first", "status"), [(None, "ok"), (4, "interrupted")])
def test_a_signal_while_the_record_is_written_waits_until_it_is(run, monkeypatch, tmp_path, first, status):
    # GIVEN a signal in the middle of saving, after none or after one in the second measured step
    monkeypatch.setattr(signals, "SAME_S", 0.0)
    write = Path.write_bytes

    def meets_it(path: Path, data: bytes) -> int:
        written = write(path, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGTERM)
        return written + write(path, data)

    monkeypatch.setattr(Path, "write_bytes", meets_it)

    # WHEN
    with pytest.raises(signals.Interrupted):
        run(prepare=during(first or -1, signal.SIGHUP))

    # THEN
    monkeypatch.undo()
    saved = record.load(tmp_path)
    assert (saved.status, len(saved.steps)) == (status, 1 if first else 3)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
