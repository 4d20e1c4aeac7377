"""The clocks of a step, by time that only passes when the test says so."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from perfkit.measure.timing import CpuClock, CudaClock, make_clock, quiet_garbage_collector
from perfkit.schema.record import StepSample
from tests.measure.clocks import FakeTime, Timed, run


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def clock(time: FakeTime) -> CpuClock:
    return CpuClock(time.perf_counter_ns, time.process_time_ns)


def test_a_step_on_a_cpu_is_timed_exactly(time, clock):
    # GIVEN
    workload = Timed(time, 1, ("forward", 20), ("loss", 3), ("backward", 40))

    # WHEN
    samples = run(workload, clock, 2)

    # THEN
    phases = {"forward": 0.020, "loss": 0.003, "backward": 0.040}
    assert samples == [StepSample(wall_s=0.064, phases_s=phases, cpu_s=0.126)] * 2
    assert list(samples[0].phases_s) == ["forward", "loss", "backward"]


@pytest.mark.parametrize("gap", [0, 5])
def test_phases_and_the_rest_are_the_whole_step(time, clock, gap):
    (sample,) = run(Timed(time, gap, ("a", 7), ("b", 0), ("c", 11)), clock, 1)
    assert sample.wall_s == pytest.approx(sum(sample.phases_s.values()) + gap / 1000, abs=1e-12)


def test_a_step_without_phases_is_all_rest(time, clock):
    assert run(Timed(time, 4), clock, 1) == [StepSample(wall_s=0.004, phases_s={}, cpu_s=0.0)]


def test_a_clock_forgets_a_step_that_failed(time, clock):
    # GIVEN a clock in the middle of a step
    clock.begin()
    clock.phase("forward")

    # THEN
    assert run(Timed(time, 0, ("loss", 3)), clock, 1)[0].phases_s == {"loss": 0.003}


class FakeCuda:
    """CUDA on paper: what was asked of it and when, events that take 10 ms from one to the next."""

    def __init__(self, time: FakeTime) -> None:
        self.journal: list[str] = []
        self.made = 0
        self.time = time

    def synchronize(self, device: torch.device) -> None:
        self.journal.append(f"sync {device}")
        self.time.passes(100)

    def current_stream(self, device: torch.device) -> str:
        return f"stream of {device}"

    def Event(self, *, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        self.made += 1
        return FakeEvent(self, self.made - 1)


class FakeEvent:
    def __init__(self, cuda: FakeCuda, number: int) -> None:
        self.cuda, self.number = cuda, number

    def record(self, stream: str) -> None:
        self.cuda.journal.append(f"event {self.number} on {stream}")

    def elapsed_time(self, end: FakeEvent) -> float:
        assert self.cuda.journal[-1].startswith("sync"), "events are read after the device is done"
        return 10.0 * (end.number - self.number)


@pytest.fixture
def cuda(time: FakeTime) -> FakeCuda:
    return FakeCuda(time)


def gpu_clock(device: str, cuda: FakeCuda) -> CudaClock:
    return CudaClock(torch.device(device), cuda, cuda.time.perf_counter_ns, cuda.time.process_time_ns)


def test_a_step_on_a_gpu_synchronises_only_round_it(time, cuda):
    # GIVEN a step of which 3 ms are spent on the host
    workload = Timed(time, 1, ("forward", 2), ("backward", 0))

    # WHEN
    samples = run(workload, gpu_clock("cuda:1", cuda), 2)

    # THEN events lie on the stream of the device that is measured, and are used again
    stream = "on stream of cuda:1"
    once = ["sync cuda:1", f"event 0 {stream}", f"event 1 {stream}", f"event 2 {stream}", "sync cuda:1"]
    assert cuda.journal == once * 2
    assert cuda.made == 3
    assert samples == [
        StepSample(
            wall_s=0.103,  # the wait for the device counts, the one before the step does not
            phases_s={"forward": 0.010, "backward": 0.010},
            enqueue_s=0.003,
            device_s=0.020,
            cpu_s=0.004,
        )
    ] * 2  # fmt: skip


def test_a_step_of_fewer_phases_reads_none_of_an_earlier_ones_events(time, cuda):
    clock = gpu_clock("cuda", cuda)
    run(Timed(time, 0, ("forward", 2), ("loss", 1), ("backward", 0)), clock, 1)
    [sample] = run(Timed(time, 0, ("forward", 2)), clock, 1)
    assert (sample.phases_s, sample.device_s) == ({"forward": 0.010}, 0.010)


def test_a_device_has_its_clock():
    assert isinstance(make_clock("cpu"), CpuClock)
    assert isinstance(make_clock("cuda:1"), CudaClock)


@pytest.fixture
def _collector_on():
    gc.enable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_collector_on")
@pytest.mark.parametrize("raises", [False, True])
def test_garbage_is_not_collected_in_the_body_and_everything_is_put_back(raises):
    # WHEN
    try:
        with quiet_garbage_collector(enabled=True):
            inside = gc.isenabled()
            if raises:
                raise ArithmeticError
    except ArithmeticError:
        assert raises

    # THEN
    assert not inside
    assert gc.isenabled()


@pytest.mark.usefixtures("_collector_on")
def test_what_was_garbage_before_is_collected_before():
    """GIVEN a collector that notes what is asked of it THEN all is collected, then switched off"""
    calls: list[str] = []

    class Noting:
        def __getattr__(self, name: str) -> Callable[[], bool]:
            def call() -> bool:
                calls.append(name)
                return True

            return call

    with quiet_garbage_collector(enabled=True, collector=Noting()):
        assert calls == ["isenabled", "collect", "disable"]
    assert calls[3:] == ["enable"]


@pytest.mark.usefixtures("_collector_on")
def test_the_collector_is_left_alone_where_asked():
    with quiet_garbage_collector(enabled=False):
        assert gc.isenabled()


@pytest.mark.usefixtures("_collector_on")
def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with quiet_garbage_collector(enabled=True):
        assert not gc.isenabled()
    assert not gc.isenabled()
