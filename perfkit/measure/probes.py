"""Counters read at the edges of each step, outside its timed region: what may explain why a step was slow.

Everything is cumulative, so a step's share is the difference of two readings. What cannot be read on this machine is
left out (None), never taken for zero. The readings time themselves, and the record says what they cost.
"""

from __future__ import annotations

import dataclasses
import gc
import mmap
import os
import re
import resource
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import torch

from perfkit.measure import cgroups
from perfkit.measure.timing import StepClock
from perfkit.schema.probes import Probing, StepProbes
from perfkit.schema.record import StepSample

_NS = 1e9
_MAX_THREADS = 32
"""Reading one thread's counters costs about 1 us; beyond this many only those that used most CPU time are read."""
_REFRESH_STEPS = 16
"""Threads are looked for in each of the first so many steps, and in every so many-th after them."""
_DEAREST_READ_S = 50e-6
"""/proc/stat has a line for each CPU and a word for each interrupt: on large machines it takes a millisecond."""
_TASKS = "/proc/self/task"
_DYNAMO = "torch._dynamo.utils"
_THROTTLED = re.compile(rb"throttled_(usec|time) (\d+)")
_COMPILE_SPANS = ("entire_frame_compile", "entire_backward_compile")
"""Keys of dynamo's own clock; their sum is its `total_wall_time`."""


class _GcTimer:
    """CPU time and number of collections, by Python's own callbacks. What preempts a collection is not its time."""

    def __init__(self) -> None:
        self.ns = 0
        self.count = 0
        self._began = 0

    def __call__(self, phase: str, info: dict[str, int]) -> None:  # noqa: ARG002 - the interpreter passes it
        if phase == "start":
            self._began = time.thread_time_ns()
        elif self._began:
            self.ns += time.thread_time_ns() - self._began
            self.count += 1


class _Threads:
    """Run delay of each thread: /proc/self/task/*/schedstat has CPU time, run delay (ns) and time slices."""

    def __init__(self) -> None:
        self._main = threading.get_native_id()
        self._files: dict[int, int] = {}

    def refresh(self) -> None:
        """Look for threads that came or went."""
        self.close()
        opened = {}
        for name in os.listdir(_TASKS):  # noqa: PTH208
            try:
                opened[int(name)] = os.open(f"{_TASKS}/{name}/schedstat", os.O_RDONLY)
            except OSError:  # it ended meanwhile, or the kernel keeps no such counters
                continue
        busiest = sorted(opened, key=lambda thread: (thread != self._main, -self._used(opened[thread])))
        self._files = {thread: opened[thread] for thread in busiest[:_MAX_THREADS]}
        for thread in busiest[_MAX_THREADS:]:
            os.close(opened[thread])

    @staticmethod
    def _used(file: int) -> int:
        try:
            return int(os.pread(file, 64, 0).split()[0])
        except OSError:
            return 0

    def delays(self) -> dict[int, int]:
        """Thread -> nanoseconds it has waited for a CPU so far, the main thread under 0."""
        found = {}
        for thread, file in self._files.items():
            try:
                found[0 if thread == self._main else thread] = int(os.pread(file, 64, 0).split()[1])
            except OSError:  # the thread has ended
                continue
        return found

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files = {}


class _KernelFiles:
    """Counters of the whole machine and of the control group.

    They are dear to read and coarse, so they are read once a step, after it: the moment between two steps is in them.
    """

    def __init__(self) -> None:
        self._stat = _cheap(_open(Path("/proc/stat")))
        self._pressure = _open(Path("/proc/pressure/cpu"))
        self._quotas = [file for path in cgroups.cpu_quotas() if (file := _open(path)) is not None]
        self._tick = 1 / os.sysconf("SC_CLK_TCK")

    def read(self) -> dict[str, float]:
        """Seconds so far: steal_s, pressure_s, throttled_s, as far as there are such files."""
        found = {}
        if self._stat is not None:  # cpu user nice system idle iowait irq softirq steal ...
            found["steal_s"] = int(os.pread(self._stat, 256, 0).split(None, 9)[8]) * self._tick
        if self._pressure is not None:
            found["pressure_s"] = int(os.pread(self._pressure, 128, 0).split(b"total=", 1)[1].split(None, 1)[0]) * 1e-6
        if self._quotas:
            found["throttled_s"] = sum(map(_throttled, self._quotas))
        return found

    def close(self) -> None:
        for file in (self._stat, self._pressure, *self._quotas):
            if file is not None:
                os.close(file)


def _throttled(file: int) -> float:
    """Seconds: version 2 counts `throttled_usec`, version 1 `throttled_time` in nanoseconds."""
    found = _THROTTLED.search(os.pread(file, 1024, 0))
    return int(found[2]) * (1e-6 if found[1] == b"usec" else 1e-9) if found else 0.0


def _cheap(file: int | None) -> int | None:
    """The file, unless reading it takes too long on this machine."""
    if file is None:
        return None
    stamps = [time.perf_counter()]
    for _ in range(5):
        os.pread(file, 256, 0)
        stamps.append(time.perf_counter())
    if median(after - before for before, after in pairwise(stamps)) <= _DEAREST_READ_S:
        return file
    os.close(file)
    return None


def _open(path: Path) -> int | None:
    """A file that can be read again and again; None where there is none, or where it is there but refuses."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        os.pread(file, 16, 0)
    except OSError:
        os.close(file)
        return None
    return file


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


class Probes:
    """Reads all counters before and after a step. Made by `installed`."""

    def __init__(self, device: str, gc_timer: _GcTimer) -> None:
        self._device = None if device == "cpu" else torch.device(device)
        self._gc = gc_timer
        self._threads = _Threads()
        self._kernel = _KernelFiles()
        self._before: _Reading | None = None
        self._machine = self._kernel.read()
        self._cost = 0
        self._costs = array("q")
        self.seconds_per_fault = seconds_per_fault()

    def begin(self) -> None:
        """Read just before a step's clock starts."""
        start = time.perf_counter_ns()
        if len(self._costs) < _REFRESH_STEPS or len(self._costs) % _REFRESH_STEPS == 0:
            self._threads.refresh()
        self._before = self._read()
        self._before.cpu = time.thread_time_ns()  # last here and first in end(): the readings are not the step's
        self._cost = time.perf_counter_ns() - start

    def end(self) -> StepProbes:
        """Read just after the step's clock stopped, and say what the step used."""
        start = time.perf_counter_ns()
        before, after = self._before, self._read()
        assert before is not None, "begin() comes first"
        machine, self._machine = self._machine, self._kernel.read()
        found = _difference(before, after, {name: value - machine[name] for name, value in self._machine.items()})
        self._costs.append(self._cost + time.perf_counter_ns() - start)
        return found

    def cost(self) -> Probing | None:
        """What a step's two readings cost, as far as there were steps."""
        if not self._costs:
            return None
        return Probing(seconds_per_step=median(self._costs) / _NS, seconds_per_fault=self.seconds_per_fault)

    def close(self) -> None:
        """Close the files."""
        self._threads.close()
        self._kernel.close()

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


def _compiled(dynamo: ModuleType | None) -> tuple[int, float] | None:
    """Graphs compiled and seconds spent so far; None where nothing has imported dynamo."""
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
        **{name: round(value, 9) for name, value in machine.items()},  # whole ticks and microseconds
        compilations=compiled[0] - graphs if compiled else None,
        compile_s=compiled[1] - seconds if compiled else None,
        alloc_retries=device.get("num_alloc_retries"),
        device_allocs=device.get("num_device_alloc"),
        device_frees=device.get("num_device_free"),
    )


_DEVICE = ("num_alloc_retries", "num_device_alloc", "num_device_free")
"""Keys of torch.cuda.memory_stats."""


class ProbedClock:
    """A step clock with the probes round it: they are read before it starts and after it has stopped."""

    def __init__(self, clock: StepClock, probes: Probes) -> None:
        self._clock, self._probes = clock, probes
        self.phase = clock.phase

    def begin(self) -> None:
        """Read the counters, then start the clock."""
        self._probes.begin()
        self._clock.begin()

    def end(self) -> StepSample:
        """Stop the clock, then read the counters."""
        sample = self._clock.end()
        return dataclasses.replace(sample, probes=self._probes.end())


@contextmanager
def installed(device: str) -> Iterator[Probes | None]:
    """Probes for the steps of a run; None where the system is not Linux, which has the counters."""
    if not sys.platform.startswith("linux"):
        yield None
        return
    timer = _GcTimer()
    probes = Probes(device, timer)
    gc.callbacks.append(timer)
    try:
        yield probes
    finally:
        gc.callbacks.remove(timer)
        probes.close()


def seconds_per_fault(pages: int = 512) -> float | None:
    """Cost of one minor page fault: touching fresh pages, less touching them again."""
    size = pages * mmap.PAGESIZE
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        stamps = [time.thread_time_ns()]
        for _ in range(2):
            for offset in range(0, size, mmap.PAGESIZE):
                memory[offset] = 1
            stamps.append(time.thread_time_ns())
        faults = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - faults
    spent = (stamps[1] - stamps[0]) - (stamps[2] - stamps[1])
    return spent / faults / _NS if faults >= pages // 2 and spent > 0 else None
