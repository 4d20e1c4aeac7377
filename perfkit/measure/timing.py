"""Plain timing of steps (docs/measurement.md): what is timed, by which clock, and when the device is synchronised.

A step's headline is its synchronised wall time: the device is idle before the first clock reading and idle again
before the last. Nothing synchronises inside a step. On a GPU the phases are the times between CUDA events that the
stream itself stamps; on a CPU, where every call returns when its work is done, they are readings of the host's clock.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

from perfkit.measure.loop import Now, StepClock
from perfkit.schema.record import StepSample

_NS = 1e9
"""Nanoseconds in a second; dividing by it gives the shortest decimal text."""


class CpuClock:
    """Host clocks only (wall time and process time), for a CPU, where work is done when its call returns."""

    def __init__(self, wall: Now = time.perf_counter_ns, cpu: Now = time.process_time_ns) -> None:
        self._wall_now, self._cpu_now = wall, cpu
        self._stamps: list[tuple[str, int]] = []

    def begin(self) -> None:
        """Start the step's clock."""
        self._stamps.clear()
        self._cpu = self._cpu_now()
        self._start = self._wall_now()

    def phase(self, name: str) -> None:
        """A phase begins."""
        self._stamps.append((name, self._wall_now()))

    def end(self) -> StepSample:
        """Return the step's times."""
        stop = self._wall_now()
        cpu = self._cpu_now() - self._cpu
        marks = [*self._stamps, ("", stop)]
        phases = {name: (end - at) / _NS for (name, at), (_, end) in pairwise(marks)}
        return StepSample(wall_s=(stop - self._start) / _NS, phases_s=phases, cpu_s=cpu / _NS)


class CudaClock:
    """CUDA events time the phases, and the host's clock the whole step. Events are created once and reused."""

    def __init__(
        self,
        device: torch.device,
        cuda: Any = torch.cuda,
        wall: Now = time.perf_counter_ns,
        cpu: Now = time.process_time_ns,
    ) -> None:
        self._device = device
        self._cuda = cuda
        self._wall_now, self._cpu_now = wall, cpu
        self._events: list[torch.cuda.Event] = []
        self._names: list[str] = []

    def _record(self) -> None:
        used = len(self._names)
        if used == len(self._events):
            self._events.append(self._cuda.Event(enable_timing=True))
        self._events[used].record(self._cuda.current_stream(self._device))  # not the current device's stream

    def begin(self) -> None:
        """Wait until the device is idle and start the step's clock."""
        self._names.clear()
        self._cuda.synchronize(self._device)
        self._cpu = self._cpu_now()
        self._start = self._wall_now()

    def phase(self, name: str) -> None:
        """Record an event on the device's current stream."""
        self._record()
        self._names.append(name)

    def end(self) -> StepSample:
        """Record the last event, synchronise, and read the events."""
        self._record()
        enqueued = self._wall_now()
        self._cuda.synchronize(self._device)
        stop = self._wall_now()
        cpu = self._cpu_now() - self._cpu
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
def quiet_garbage_collector(*, enabled: bool, collector: Any = gc) -> Iterator[None]:
    """Collect Python's garbage, and disable its collection around the body; restore it afterwards.

    A full collection with torch imported costs tens of milliseconds and would land in a step at random.
    """
    if not enabled or not collector.isenabled():
        yield
        return
    collector.collect()
    collector.disable()
    try:
        yield
    finally:
        collector.enable()
