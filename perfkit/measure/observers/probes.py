"""Counters read before and after each step, outside its timed region, that may explain why a step was slow.

All counters are cumulative, so a step's share is the difference of two readings. A counter that cannot be read on
this machine is None, never zero. The readings time themselves, and the record contains their cost.
"""

from __future__ import annotations

import dataclasses
import gc
import resource
import sys
import time
from array import array
from statistics import median
from types import ModuleType
from typing import Any

import torch

from perfkit.measure.loop import Now, Observer, StepId
from perfkit.measure.observers import counters
from perfkit.schema.probes import Probing, StepProbes, Window
from perfkit.schema.record import RunRecord, StepSample

_NS = 1e9
_REFRESH_STEPS = 16
"""The thread list is refreshed in each of the first N steps, and in every N-th step after them."""
_DYNAMO = "torch._dynamo.utils"
_COMPILE_SPANS = ("entire_frame_compile", "entire_backward_compile")
"""Keys of dynamo's own clock; their sum is its `total_wall_time`."""


def supported(platform: str = sys.platform) -> bool:
    """Whether this system has the counters; only Linux does."""
    return platform.startswith("linux")


@dataclasses.dataclass(slots=True)
class _Reading:
    """All counters at one moment."""

    cpu: int
    at: int
    usage: resource.struct_rusage
    main: resource.struct_rusage
    delays: dict[int, int]
    gc: tuple[int, int]
    compiled: tuple[int, float] | None
    device: dict[str, Any] | None


class Probes(Observer):
    """Reads all counters before and after each step. Must be the innermost observer, to read them next to the clock.

    Only Linux has these counters (`supported`). `device` must be resolved.
    """

    def __init__(
        self, device: str, *, threads: counters.Threads | None = None, now: Now = time.perf_counter_ns
    ) -> None:
        self.steps: list[StepProbes] = []
        self._device = None if device == "cpu" else torch.device(device)
        self._now = now
        self._gc = counters.GcTimer()
        self._threads = threads or counters.Threads()
        self._kernel = counters.KernelFiles()
        self._before: _Reading | None = None
        self._machine = self._kernel.read()
        self._cost = 0
        self._costs = array("q")
        self._seconds_per_fault = counters.seconds_per_fault()
        gc.callbacks.append(self._gc)

    def before(self, step: StepId) -> None:
        """Read just before a step's clock starts."""
        start = self._now()
        if len(self._costs) < _REFRESH_STEPS or len(self._costs) % _REFRESH_STEPS == 0:
            self._threads.refresh()
        self._before = self._read()
        self._before.cpu = time.thread_time_ns()  # last here, first in after(): excludes the readings
        self._cost = self._now() - start

    def after(self, step: StepId, sample: StepSample) -> None:
        """Read just after the step's clock stopped, and keep what the step used."""
        start = self._now()
        before, after = self._before, self._read()
        assert before is not None, "before() comes first"
        machine, self._machine = self._machine, self._kernel.read()
        moved = {name: value - machine[name] for name, value in self._machine.items()}
        self.steps.append(_difference(before, after, moved))
        self._costs.append(self._cost + self._now() - start)

    def close(self) -> None:
        """Stop observing and close the files."""
        gc.callbacks.remove(self._gc)
        self._threads.close()
        self._kernel.close()

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add each step's counters and the cost of reading them."""
        probes = iter(self.steps)
        warmup, steps = (
            tuple(dataclasses.replace(sample, probes=next(probes, None)) for sample in samples)
            for samples in (record.warmup, record.steps)
        )
        return dataclasses.replace(record, warmup=warmup, steps=steps, probing=self.cost())

    def cost(self) -> Probing | None:
        """The median cost of a step's two readings, if there were steps."""
        if not self._costs:
            return None
        return Probing(seconds_per_step=median(self._costs) / _NS, seconds_per_fault=self._seconds_per_fault)

    def _read(self) -> _Reading:
        return _Reading(
            cpu=time.thread_time_ns(),
            at=time.perf_counter_ns(),
            usage=resource.getrusage(resource.RUSAGE_SELF),
            main=resource.getrusage(resource.RUSAGE_THREAD),
            delays=self._threads.delays(),
            gc=(self._gc.ns, self._gc.count),
            compiled=_compiled(sys.modules.get(_DYNAMO)),
            device=torch.cuda.memory_stats_as_nested_dict(self._device) if self._device else None,
        )


class WindowProbes(Probes):
    """Reads the counters once before the measured steps and once after them, where a recording shows no reading.

    Must be the innermost observer: it reads before the profiler's warm-up step ends, and is closed before the profiler.
    """

    def __init__(self, device: str, *, threads: counters.Threads | None = None) -> None:
        super().__init__(device, threads=threads)
        self.window: Window | None = None
        self._has_steps = False
        super().before(StepId("measured", 0))

    def before(self, step: StepId) -> None:
        """Read nothing: the profiler records already."""

    def after(self, step: StepId, sample: StepSample) -> None:
        """Read after each warm-up step, since the last of them is not known."""
        self._has_steps = step.stage == "measured"
        if not self._has_steps:
            self._machine = self._kernel.read()
            super().before(step)

    def paused(self) -> None:
        """Keep nothing: what is used now is no step's."""
        self._before = None

    def close(self) -> None:
        """Keep what was used since the last warm-up step, and stop observing."""
        if self._has_steps and self._before is not None:
            wall_s = (time.perf_counter_ns() - self._before.at) / _NS
            moved = {name: value - self._machine[name] for name, value in self._kernel.read().items()}
            self.window = Window(wall_s=wall_s, probes=_difference(self._before, self._read(), moved))
        super().close()

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the counters of all measured steps."""
        return dataclasses.replace(record, window=self.window)


def _compiled(dynamo: ModuleType | None) -> tuple[int, float] | None:
    """Graphs compiled and seconds spent so far; None if dynamo has not been imported."""
    if dynamo is None:
        return None
    spent = dynamo.cumulative_time_spent_ns
    return dynamo.counters["stats"]["unique_graphs"], sum(spent.get(key, 0) for key in _COMPILE_SPANS) / _NS


def _difference(before: _Reading, after: _Reading, machine: dict[str, float]) -> StepProbes:
    delays = {thread: ns - before.delays[thread] for thread, ns in after.delays.items() if thread in before.delays}
    main = delays.pop(0, None)
    device = {key: after.device[key] - before.device[key] for key in _DEVICE} if after.device and before.device else {}
    compiled = after.compiled
    graphs, seconds = before.compiled or (0, 0.0)
    return StepProbes(
        began_s=before.at / _NS,
        main_cpu_s=(after.cpu - before.cpu) / _NS,
        main_delay_s=None if main is None else main / _NS,
        other_delay_s=None if main is None else max(delays.values(), default=0) / _NS,
        switches=after.main.ru_nvcsw - before.main.ru_nvcsw,
        preemptions=after.usage.ru_nivcsw - before.usage.ru_nivcsw,
        gc_s=(after.gc[0] - before.gc[0]) / _NS,
        collections=after.gc[1] - before.gc[1],
        minor_faults=after.usage.ru_minflt - before.usage.ru_minflt,
        major_faults=after.usage.ru_majflt - before.usage.ru_majflt,
        **{name: round(value, 9) for name, value in machine.items()},  # the sources count whole ticks or microseconds
        compilations=compiled[0] - graphs if compiled else None,
        compile_s=compiled[1] - seconds if compiled else None,
        alloc_retries=device.get("num_alloc_retries"),
        device_allocs=device.get("num_device_alloc"),
        device_frees=device.get("num_device_free"),
    )


_DEVICE = ("num_alloc_retries", "num_device_alloc", "num_device_free")
"""Keys of torch.cuda.memory_stats."""
