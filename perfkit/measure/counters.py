"""Cumulative counters of the interpreter and the kernel, cheap enough to be read at both edges of every step."""

from __future__ import annotations

import mmap
import os
import re
import resource
import threading
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

from perfkit.measure import cgroups

_NS = 1e9
_MAX_THREADS = 32
"""Reading one thread's counters costs about 1 us; beyond this many only those that used most CPU time are read."""
_DEAREST_READ_S = 50e-6
"""/proc/stat has a line for each CPU and a word for each interrupt: on large machines it takes a millisecond."""
_TASKS = "/proc/self/task"
_THROTTLED = re.compile(rb"throttled_(usec|time) (\d+)")


class GcTimer:
    """CPU time and number of collections, by Python's own callbacks. What preempts a collection is not its time."""

    def __init__(self) -> None:
        self.ns = 0
        self.count = 0
        self._began = 0

    def __call__(self, phase: str, info: dict[str, int]) -> None:  # noqa: ARG002 - the interpreter passes it
        """A collection begins or ends."""
        if phase == "start":
            self._began = time.thread_time_ns()
        elif self._began:
            self.ns += time.thread_time_ns() - self._began
            self.count += 1


class Threads:
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
        """Close the files."""
        for file in self._files.values():
            os.close(file)
        self._files = {}


class KernelFiles:
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
        """Close the files."""
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
