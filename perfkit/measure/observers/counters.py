"""Cumulative counters of the interpreter and the kernel, cheap enough to read before and after every step."""

from __future__ import annotations

import mmap
import os
import re
import resource
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from perfkit.measure import cgroups
from perfkit.measure.loop import Now

_NS = 1e9
_MAX_THREADS = 32
"""Reading one thread's counters costs about 1 us. Beyond this many, only those with the most CPU time are read."""
_DEAREST_READ_S = 50e-6
"""/proc/stat has a line for each CPU and a number for each interrupt: on large machines reading it takes 1 ms."""
_TASKS = Path("/proc/self/task")
_THROTTLED = re.compile(rb"throttled_(usec|time) (\d+)")


class GcTimer:
    """CPU time and number of garbage collections, from Python's own callbacks. Time spent preempted is not counted."""

    def __init__(self, now: Now = time.thread_time_ns) -> None:
        self.ns = 0
        self.count = 0
        self._now = now
        self._began = 0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Note that a collection begins or ends."""
        if phase == "start":
            self._began = self._now()
        elif self._began:
            self.ns += self._now() - self._began
            self.count += 1


class Threads:
    """Run delay of each thread: /proc/self/task/*/schedstat has CPU time, run delay (ns) and time slices.

    `main` is the thread that runs the steps and is always read. At most `most`
    threads are read: the main one and those that used the most CPU time.
    """

    def __init__(self, tasks: Path = _TASKS, main: int | None = None, most: int = _MAX_THREADS) -> None:
        self._tasks, self._most = str(tasks), most
        self._main = threading.get_native_id() if main is None else main
        self._files: dict[int, int] = {}

    def refresh(self) -> None:
        """Look for threads that started or ended."""
        self.close()
        opened = {}
        for name in os.listdir(self._tasks):  # noqa: PTH208
            with suppress(OSError):  # the thread has ended, or the kernel has no such counters
                opened[int(name)] = os.open(f"{self._tasks}/{name}/schedstat", os.O_RDONLY)
        busiest = sorted(opened, key=lambda thread: (thread != self._main, -self._used(opened[thread])))
        self._files = {thread: opened[thread] for thread in busiest[: self._most]}
        for thread in busiest[self._most :]:
            os.close(opened[thread])

    @staticmethod
    def _used(file: int) -> int:
        try:
            return int(os.pread(file, 64, 0).split()[0])
        except OSError:
            return 0

    def delays(self) -> dict[int, int]:
        """Nanoseconds each thread has waited for a CPU so far, by thread; the main thread has key 0."""
        waited = {}
        for thread, file in self._files.items():
            with suppress(OSError):  # the thread has ended
                waited[0 if thread == self._main else thread] = int(os.pread(file, 64, 0).split()[1])
        return waited

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            os.close(file)
        self._files = {}


class KernelFiles:
    """Counters of the whole machine and of the control group.

    They are coarse and slow to read, so they are read once per step, after it; they include the time between steps.
    `quotas` are the `cpu.stat` files of the groups that have a CPU quota; default: this process's groups.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        quotas: Sequence[Path] | None = None,
        ticks_per_s: int | None = None,
        dearest_s: float = _DEAREST_READ_S,
    ) -> None:
        quotas = cgroups.cpu_quotas() if quotas is None else quotas
        self._stat = _cheap(_open(proc / "stat"), dearest_s)
        self._pressure = _open(proc / "pressure" / "cpu")
        self._quotas = [file for path in quotas if (file := _open(path)) is not None]
        self._tick = 1 / (ticks_per_s or os.sysconf("SC_CLK_TCK"))

    def read(self) -> dict[str, float]:
        """Seconds so far: steal_s, pressure_s and throttled_s, each only if its file exists."""
        seconds = {}
        if self._stat is not None:  # cpu user nice system idle iowait irq softirq steal ...
            seconds["steal_s"] = int(os.pread(self._stat, 256, 0).split(None, 9)[8]) * self._tick
        if self._pressure is not None:
            seconds["pressure_s"] = (
                int(os.pread(self._pressure, 128, 0).split(b"total=", 1)[1].split(None, 1)[0]) * 1e-6
            )
        if self._quotas:
            seconds["throttled_s"] = sum(map(_throttled, self._quotas))
        return seconds

    def close(self) -> None:
        """Close the files."""
        for file in (self._stat, self._pressure, *self._quotas):
            if file is not None:
                os.close(file)


def _throttled(file: int) -> float:
    """Throttled seconds: version 2 has `throttled_usec`, version 1 has `throttled_time` in nanoseconds."""
    match = _THROTTLED.search(os.pread(file, 1024, 0))
    return int(match[2]) * (1e-6 if match[1] == b"usec" else 1e-9) if match else 0.0


def _cheap(file: int | None, dearest_s: float, now: Callable[[], float] = time.perf_counter) -> int | None:
    """Return the file, or close it if reading it takes too long on this machine."""
    if file is None:
        return None
    stamps = [now()]
    for _ in range(5):
        os.pread(file, 256, 0)
        stamps.append(now())
    if median(after - before for before, after in pairwise(stamps)) <= dearest_s:
        return file
    os.close(file)
    return None


def _open(path: Path) -> int | None:
    """Open a file for repeated reading; None if it does not exist or cannot be read."""
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


def _minor_faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def seconds_per_fault(
    pages: int = 512,
    now: Now = time.thread_time_ns,
    minor_faults: Callable[[], int] = _minor_faults,
    allocate: Callable[..., Any] = mmap.mmap,
) -> float | None:
    """Cost of one minor page fault: the time to touch fresh pages minus the time to touch them again."""
    size = pages * mmap.PAGESIZE
    with allocate(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        faults = minor_faults()
        stamps = [now()]
        for _ in range(2):
            for offset in range(0, size, mmap.PAGESIZE):
                memory[offset] = 1
            stamps.append(now())
        faults = minor_faults() - faults
    spent = (stamps[1] - stamps[0]) - (stamps[2] - stamps[1])
    return spent / faults / _NS if faults >= pages // 2 and spent > 0 else None
