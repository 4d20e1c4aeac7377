"""A clock that only moves when the test says so, and steps that take as long as it says."""

from __future__ import annotations

from collections.abc import Callable

from perfkit.measure import loop
from perfkit.measure.loop import Measured, Observer, StepClock
from perfkit.schema.record import StepSample
from perfkit.schema.stopping import exactly

MS = 1_000_000


class FakeTime:
    """Stands in for the time module."""

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


class Timed:
    """A step whose phases take as long as the test says: (name, milliseconds) in order, after a gap."""

    def __init__(self, time: FakeTime, gap: int, *phases: tuple[str, int]) -> None:
        self.time, self.gap, self.phases = time, gap, phases

    def step(self, on_phase: Callable[[str], None]) -> None:
        self.time.passes(self.gap)
        for name, milliseconds in self.phases:
            on_phase(name)
            self.time.passes(milliseconds, cpu=2 * milliseconds)


def run(workload: Timed, clock: StepClock, count: int, *observers: Observer) -> list[StepSample]:
    measured = Measured()
    loop.run_stage(workload, clock, "measured", exactly(count), observers, measured)
    return measured.steps
