"""The clocks and the loop round a step, by a clock that only moves when the test says so."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch

from perfkit.measure import timing
from perfkit.measure.timing import CpuClock, CudaClock, make_clock, quiet_garbage_collector, run_steps
from perfkit.schema.record import StepSample
from tests.workload.ranges import recorded_paths

MS = 1_000_000


class FakeTime:
    """Stands in for the time module of `timing`."""

    def __init__(self) -> None:
        self.wall = 5_000 * MS
        self.cpu = 70 * MS

    def perf_counter_ns(self) -> int:
        return self.wall

    def process_time_ns(self) -> int:
        return self.cpu

    def passes(self, milliseconds: int, cpu: int = 0) -> None:
        self.wall += milliseconds * MS
        self.cpu += cpu * MS


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(timing, "time", fake)
    return fake


class Timed:
    """A step whose phases take as long as the test says: (name, milliseconds) in order, after a gap."""

    def __init__(self, time: FakeTime, gap: int, *phases: tuple[str, int]) -> None:
        self.time, self.gap, self.phases = time, gap, phases

    def step(self, on_phase: Callable[[str], None]) -> None:
        self.time.passes(self.gap)
        for name, milliseconds in self.phases:
            on_phase(name)
            self.time.passes(milliseconds, cpu=2 * milliseconds)


def nothing(*_: object) -> None:
    pass


def run(workload: timing.Stepper, clock: timing.StepClock, count: int, **changes: object) -> list[StepSample]:
    samples: list[StepSample] = []
    defaults = {"samples": samples, "on_phase": nothing, "after_step": nothing, "warmup": False, "ranges": False}
    run_steps(workload, clock, count, **{**defaults, **changes})
    return samples


def test_a_step_on_a_cpu_is_timed_exactly(time):
    # GIVEN
    workload = Timed(time, 1, ("forward", 20), ("loss", 3), ("backward", 40))

    # WHEN
    samples = run(workload, CpuClock(), 2)

    # THEN
    phases = {"forward": 0.020, "loss": 0.003, "backward": 0.040}
    assert samples == [StepSample(wall_s=0.064, phases_s=phases, cpu_s=0.126)] * 2
    assert list(samples[0].phases_s) == ["forward", "loss", "backward"]


@pytest.mark.parametrize("gap", [0, 5])
def test_phases_and_the_rest_are_the_whole_step(time, gap):
    (sample,) = run(Timed(time, gap, ("a", 7), ("b", 0), ("c", 11)), CpuClock(), 1)
    assert sample.wall_s == pytest.approx(sum(sample.phases_s.values()) + gap / 1000, abs=1e-12)


def test_a_step_without_phases_is_all_rest(time):
    assert run(Timed(time, 4), CpuClock(), 1) == [StepSample(wall_s=0.004, phases_s={}, cpu_s=0.0)]


def test_time_between_steps_does_not_count(time):
    # WHEN
    samples = run(Timed(time, 0, ("forward", 10)), CpuClock(), 3, after_step=lambda: time.passes(1000, cpu=1000))

    # THEN
    assert [(s.wall_s, s.cpu_s) for s in samples] == [(0.010, 0.020)] * 3


@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_number_of_steps_is_obeyed_exactly(time, count):
    # GIVEN
    calls: list[str] = []

    class Counting(Timed):
        def step(self, on_phase: Callable[[str], None]) -> None:
            calls.append("step")
            super().step(on_phase)

    # WHEN
    samples = run(Counting(time, 0, ("forward", 1)), CpuClock(), count, after_step=lambda: calls.append("after"))

    # THEN
    assert len(samples) == count
    assert calls == ["step", "after"] * count


class Journaling:
    """A clock and a workload that write down the order of things."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def begin(self) -> None:
        self.entries.append("begin")

    def phase(self, name: str) -> None:
        self.entries.append(f"clock {name}")

    def end(self) -> StepSample:
        self.entries.append("end")
        return StepSample(wall_s=1.0, phases_s={})

    def step(self, on_phase: Callable[[str], None]) -> None:
        self.entries.append("step")
        on_phase("forward")
        self.entries.append("work")


def test_everybody_hears_of_a_phase_before_its_clock_starts_and_of_a_step_after_it_stopped():
    # GIVEN
    journal = Journaling()
    heard = journal.entries

    # WHEN
    run(
        journal,
        journal,
        2,
        on_phase=lambda name: heard.append(f"heard {name}"),
        after_step=lambda: heard.append("after"),
    )

    # THEN
    once = ["begin", "step", "heard forward", "clock forward", "work", "end", "after"]
    assert heard == once * 2


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_samples_survive_a_step_that_fails(time, error):
    # GIVEN
    workload, samples = Timed(time, 0, ("forward", 10)), []

    def fail(_: str) -> None:
        if len(samples) == 2:
            raise error

    # WHEN
    with pytest.raises(error):
        run(workload, CpuClock(), 5, samples=samples, on_phase=fail)

    # THEN
    assert [sample.wall_s for sample in samples] == [0.010, 0.010]


def test_a_clock_forgets_a_step_that_failed(time):
    # GIVEN a clock in the middle of a step
    clock = CpuClock()
    clock.begin()
    clock.phase("forward")

    # THEN
    assert run(Timed(time, 0, ("loss", 3)), clock, 1)[0].phases_s == {"loss": 0.003}


@pytest.mark.parametrize(
    ("warmup", "ranges", "expected"),
    [
        (False, True, ["perfkit.step::0", "perfkit.step::1"]),
        (True, True, ["perfkit.warmup::0", "perfkit.warmup::1"]),
        (False, False, []),
    ],
)
def test_steps_are_ranges_where_asked(time, warmup, ranges, expected):
    workload = Timed(time, 0, ("forward", 1))
    assert recorded_paths(lambda: run(workload, CpuClock(), 2, warmup=warmup, ranges=ranges)) == expected


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

    def event(self, *, enable_timing: bool) -> FakeEvent:
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
def cuda(monkeypatch: pytest.MonkeyPatch, time: FakeTime) -> FakeCuda:
    fake = FakeCuda(time)
    monkeypatch.setattr(torch.cuda, "synchronize", fake.synchronize)
    monkeypatch.setattr(torch.cuda, "current_stream", fake.current_stream)
    monkeypatch.setattr(torch.cuda, "Event", fake.event)
    return fake


def test_a_step_on_a_gpu_synchronises_only_round_it(time, cuda):
    # GIVEN a step of which 3 ms are spent on the host
    workload = Timed(time, 1, ("forward", 2), ("backward", 0))

    # WHEN
    samples = run(workload, CudaClock(torch.device("cuda:1")), 2)

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
    clock = CudaClock(torch.device("cuda"))
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
    gc.unfreeze()


@pytest.mark.usefixtures("_collector_on")
@pytest.mark.parametrize("raises", [False, True])
def test_garbage_is_not_collected_in_the_body_and_everything_is_put_back(raises):
    # WHEN
    try:
        with quiet_garbage_collector(enabled=True):
            inside = (gc.isenabled(), gc.get_freeze_count() > 0)
            if raises:
                raise ArithmeticError
    except ArithmeticError:
        assert raises

    # THEN
    assert inside == (False, True)
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, 0)


@pytest.mark.usefixtures("_collector_on")
def test_what_was_garbage_before_is_collected_before(monkeypatch):
    # GIVEN
    calls: list[str] = []
    for name in ("collect", "freeze", "disable"):
        monkeypatch.setattr(timing.gc, name, lambda name=name: calls.append(name))

    # WHEN
    with quiet_garbage_collector(enabled=True):
        pass

    # THEN
    assert calls == ["collect", "freeze", "disable"]


@pytest.mark.usefixtures("_collector_on")
def test_the_collector_is_left_alone_where_asked():
    with quiet_garbage_collector(enabled=False):
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0


@pytest.mark.usefixtures("_collector_on")
def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with quiet_garbage_collector(enabled=True):
        assert not gc.isenabled()
    assert not gc.isenabled()
