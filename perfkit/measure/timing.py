"""Plain timing of steps (docs/measurement.md): what is timed, by which clock, and where it synchronises.

A step's headline is its synchronised wall time: the device is idle before the first clock reading and idle again
before the last. Inside a step nothing synchronises. On a GPU the phases are the times between CUDA events that the
stream itself stamps; on a CPU, where every call returns when its work is done, they are readings of the host's clock.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Protocol

import torch

from perfkit.schema import range_names
from perfkit.schema.record import StepSample
from perfkit.workload.annotate import annotated

_NS = 1e9
"""Nanoseconds in a second; dividing by it keeps the shortest decimal text."""


class Stepper(Protocol):
    """What the timer needs of a workload."""

    def step(self, on_phase: Callable[[str], None]) -> None:
        """Run one step, calling on_phase(name) as each phase begins."""


class StepClock(Protocol):
    """Stamps the phases of one step and turns the stamps into a sample."""

    def begin(self) -> None:
        """The device is idle: start the step's clock."""

    def phase(self, name: str) -> None:
        """A phase begins."""

    def end(self) -> StepSample:
        """Stamp the end, wait for the device, and return the step's times."""


class CpuClock:
    """Host clock only: for a CPU, where work is done when its call returns."""

    def __init__(self) -> None:
        self._stamps: list[tuple[str, int]] = []

    def begin(self) -> None:
        """Start the step's clock."""
        self._stamps.clear()
        self._cpu = time.process_time_ns()
        self._start = time.perf_counter_ns()

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._stamps.append((name, time.perf_counter_ns()))

    def end(self) -> StepSample:
        """The step's times."""
        stop = time.perf_counter_ns()
        cpu = time.process_time_ns() - self._cpu
        marks = [*self._stamps, ("", stop)]
        phases = {name: (end - at) / _NS for (name, at), (_, end) in pairwise(marks)}
        return StepSample(wall_s=(stop - self._start) / _NS, phases_s=phases, cpu_s=cpu / _NS)


class CudaClock:
    """CUDA events for the phases, the host's clock for the whole. Events are made once and used again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._names: list[str] = []

    def _record(self) -> None:
        used = len(self._names)
        if used == len(self._events):
            self._events.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
        self._events[used].record(torch.cuda.current_stream(self._device))  # not that of the current device

    def begin(self) -> None:
        """Wait until the device is idle and start the step's clock."""
        self._names.clear()
        torch.cuda.synchronize(self._device)
        self._cpu = time.process_time_ns()
        self._start = time.perf_counter_ns()

    def phase(self, name: str) -> None:
        """Record an event on the device's current stream."""
        self._record()
        self._names.append(name)

    def end(self) -> StepSample:
        """Record the last event, synchronise, and read the events."""
        self._record()
        enqueued = time.perf_counter_ns()
        torch.cuda.synchronize(self._device)
        stop = time.perf_counter_ns()
        cpu = time.process_time_ns() - self._cpu
        marks = self._events[: len(self._names) + 1]
        phases = {
            name: begin.elapsed_time(end) * 1e-3  # ms to s
            for name, begin, end in zip(self._names, marks[:-1], marks[1:], strict=True)
        }
        return StepSample(
            wall_s=(stop - self._start) / _NS,
            phases_s=phases,
            enqueue_s=(enqueued - self._start) / _NS,
            device_s=marks[0].elapsed_time(marks[-1]) * 1e-3,
            cpu_s=cpu / _NS,
        )


def make_clock(device: str) -> StepClock:
    """The clock that fits a resolved device."""
    return CpuClock() if device == "cpu" else CudaClock(torch.device(device))


@contextmanager
def quiet_garbage_collector(*, enabled: bool) -> Iterator[None]:
    """Collect, freeze and disable Python's garbage collection around the body, and put it back as it was.

    A full collection with torch imported costs tens of milliseconds and would land in a step at random.
    """
    if not enabled or not gc.isenabled():
        yield
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def run_steps(
    workload: Stepper,
    clock: StepClock,
    count: int,
    *,
    samples: list[StepSample],
    on_phase: Callable[[str], None],
    after_step: Callable[[], bool | None],
    warmup: bool,
    ranges: bool,
) -> None:
    """Run `count` steps and append a sample for each to `samples` (which so survives an exception).

    on_phase hears each phase's name as it begins and must cost next to nothing; after_step is called between
    steps, outside every timed region, and ends them early where it returns True.
    """

    def phase(name: str) -> None:
        on_phase(name)
        clock.phase(name)

    def one_step() -> StepSample:
        clock.begin()
        workload.step(phase)
        return clock.end()

    for index in range(count):
        if ranges:
            with annotated(range_names.step(index, warmup=warmup)):
                sample = one_step()
        else:
            sample = one_step()
        samples.append(sample)
        if after_step():
            return
