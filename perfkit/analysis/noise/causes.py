"""Where the time of each step went, cause by cause, as far as counters beside the clock say so.

The thread that runs a step is at every moment on a CPU, ready and waiting for one, or asleep:

    wall = CPU time + run delay + sleep

Each cause is taken out of these three in turn, so that no moment is counted twice and causes never add up to more
than wall time. What is left of CPU time is the work itself: where *that* grows, there was more of it, or the CPU was
slower. No counter here distinguishes the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

import numpy as np

from perfkit.analysis.statistics.patterns import Steps
from perfkit.analysis.statistics.stats import Floats
from perfkit.schema.probes import StepProbes
from perfkit.schema.record import RunRecord, StepSample

LAUNCH_BOUND = 0.9
"""On a GPU the host sets the pace where its part of the step (enqueue_s) is above this share of wall time."""
_WARM = 2
"""Gradients appear in the first step and the optimizer's state at its end: memory is steady from the second on."""
_QUIET = 0.1
"""Quantile of CPU time that stands for a step in which no thread spun, waiting for a delayed one."""


class Cause(StrEnum):
    """Why a step was slow; the value is what people read."""

    GC = "garbage collection"
    COMPILE = "compilation"
    THROTTLED = "throttling by a CPU quota"
    STEAL = "CPU steal by the hypervisor"
    PREEMPTED = "preemption by other processes"
    FAULTS = "page faults"
    WAITING = "sleep (a lock, I/O)"
    CPU_TIME = "more CPU time (more work, or a slower CPU)"
    ALLOCATION = "GPU memory allocation"
    CLOCK = "a lower GPU clock"
    POWER = "the GPU's power limit"
    THERMAL = "the GPU's temperature limit"
    OTHERS = "other processes on the GPU"
    WARMUP = "unfinished warm-up"
    PERIODIC = "work that repeats every few steps"
    MODES = "several speeds of the same step"
    FAST = "steps that were faster"


PATTERNS = (Cause.WARMUP, Cause.PERIODIC, Cause.MODES, Cause.FAST)
"""Causes that are read from the times themselves. No counter has their seconds."""
COUNTED = (Cause.WAITING, Cause.FAULTS, Cause.CPU_TIME)
"""Causes whose seconds are what is left of the thread's states, with some noise of wall time itself: for the variance,
their own counter has to correlate with the time too."""
_ON_CPU = (Cause.GC, Cause.COMPILE, Cause.FAULTS, Cause.CPU_TIME)
"""Causes that are CPU time of the main thread."""


@dataclass(slots=True)
class CauseTimes:
    """Seconds of each step by cause; all arrays are as long as the series."""

    wall: Floats
    seconds: dict[Cause, Floats] = field(default_factory=dict)
    events: dict[Cause, Floats] = field(default_factory=dict)
    """Causes known by a count only: in a slow step where they happened, the unexplained rest is attributed to them."""
    evidence: dict[Cause, Floats] = field(default_factory=dict)
    """What corroborates a cause, step by step: its own counter (collections, switches, faults, ...)."""
    warmed: bool = True
    """At least two warm-up steps came before: the pages and state that a first step creates exist."""
    delay: Floats = field(default_factory=lambda: np.zeros(0))
    """Run delay of the thread that waited longest, for the hint about too many threads."""
    off_cpu: Floats = field(default_factory=lambda: np.zeros(0))
    """Time the main thread neither ran nor was ready to, and that no counter explains; on a GPU it waits for it: 0."""

    @property
    def has_probes(self) -> bool:
        """False for records without counters (of format 1, or of another system than Linux)."""
        return bool(self.seconds)


def times_by_cause(record: RunRecord) -> CauseTimes:
    """The measured steps of a record, by cause."""
    wall = np.array([sample.wall_s for sample in record.steps], dtype=np.float64)
    warmed = record.config.measurement.warmup_steps >= _WARM
    probes = [sample.probes for sample in record.steps if sample.probes is not None]
    if not probes or len(probes) < len(record.steps):
        return CauseTimes(wall, warmed=warmed)
    read = _Reader(probes)
    pools = _Pools(wall, read)
    running, ready = pools.left(_State.RUNNING), pools.left(_State.READY)
    # Kernels often preempt where a system call returns, which may be between the clock's stop and the counter's
    # reading: delay beyond the step's own time is not the step's. (_Pools cuts the main thread's states likewise.)
    times = CauseTimes(
        wall, warmed=warmed, delay=np.minimum(np.maximum(read("main_delay_s"), read("other_delay_s")), wall)
    )
    times.seconds[Cause.GC] = pools.take(read("gc_s"), _State.RUNNING)
    times.seconds[Cause.COMPILE] = pools.take(read("compile_s"), _State.RUNNING, _State.ASLEEP, _State.READY)
    times.seconds[Cause.THROTTLED] = pools.take(read("throttled_s"), _State.READY, _State.ASLEEP, _State.RUNNING)
    times.seconds[Cause.STEAL] = pools.take(_own_steal(record, read), _State.ASLEEP, _State.RUNNING, _State.READY)
    times.seconds[Cause.FAULTS] = _faults(record, read, pools)
    times.seconds[Cause.PREEMPTED] = _preempted(read, pools)
    elsewhere = pools.take(_work_of_others(record.steps, read), _State.ASLEEP)
    times.off_cpu = pools.left(_State.ASLEEP)
    slept = read("switches") > 0 if read.has("main_cpu_s", "main_delay_s") else np.zeros(len(wall), dtype=bool)
    times.seconds[Cause.WAITING] = np.where(slept, pools.left(_State.ASLEEP), 0.0)
    times.seconds[Cause.CPU_TIME] = pools.left(_State.RUNNING) + elsewhere
    _move_induced_delay(times.seconds, running, ready)
    if record.config.step.device != "cpu":
        _leave_to_the_device(times, record.steps)
    times.evidence = {
        Cause.GC: read("collections"),
        Cause.COMPILE: read("compilations"),
        Cause.THROTTLED: read("throttled_s"),
        Cause.STEAL: read("steal_s"),
        Cause.FAULTS: read("minor_faults") + read("major_faults"),
        Cause.PREEMPTED: times.delay,
        Cause.WAITING: read("switches"),
        Cause.CPU_TIME: read("main_cpu_s") + elsewhere,
    }
    times.events[Cause.ALLOCATION] = read("alloc_retries") + read("device_allocs") + read("device_frees")
    return times


def window_by_cause(record: RunRecord) -> CauseTimes | None:
    """All measured steps as one, by cause, where counters were read over them all; else None."""
    if record.window is None:
        return None
    whole = StepSample(wall_s=record.window.wall_s, phases_s={}, probes=record.window.probes)
    return times_by_cause(replace(record, steps=(whole,)))


class _Reader:
    """One counter of all steps; what could not be read explains nothing and is 0."""

    def __init__(self, probes: Sequence[StepProbes]) -> None:
        self._probes = probes

    def __call__(self, name: str) -> Floats:
        return np.array([getattr(step, name) or 0.0 for step in self._probes], dtype=np.float64)

    def has(self, *names: str) -> bool:
        """Whether all steps have all of these counters."""
        return all(getattr(step, name) is not None for step in self._probes for name in names)


class _State(Enum):
    """What the main thread does at a moment."""

    RUNNING = "running"
    READY = "ready"
    ASLEEP = "asleep"


class _Pools:
    """Seconds of each step in the three states of the main thread, from which causes take their time."""

    def __init__(self, wall: Floats, read: Callable[[str], Floats]) -> None:
        running = np.clip(read("main_cpu_s"), 0.0, wall)
        ready = np.clip(read("main_delay_s"), 0.0, wall - running)
        self._left = {_State.RUNNING: running, _State.READY: ready, _State.ASLEEP: wall - running - ready}

    def left(self, state: _State) -> Floats:
        """What no cause has taken yet."""
        return self._left[state]

    def take(self, seconds: Floats, *states: _State) -> Floats:
        """Take up to `seconds` from these states, in their order; returns what was taken."""
        wanted = np.maximum(seconds, 0.0)
        missing = wanted
        for state in states:
            taken = np.minimum(missing, self._left[state])
            self._left[state] = self._left[state] - taken
            missing = missing - taken
        return wanted - missing


def _own_steal(record: RunRecord, read: Callable[[str], Floats]) -> Floats:
    """Of the whole machine's steal, the part that would hit this run's threads by chance."""
    environment = record.environment
    return read("steal_s") * min(1.0, environment.num_threads / max(1, environment.cpu_count))


def _faults(record: RunRecord, read: Callable[[str], Floats], pools: _Pools) -> Floats:
    """Minor faults at the cost measured in the run; where there were major ones, what the sleep has above the typical
    sleep of steps without any: it is the disk's."""
    each = record.probing.seconds_per_fault if record.probing else None
    minor = pools.take(read("minor_faults") * (each or 0.0), _State.RUNNING)
    from_disk = read("major_faults") > 0
    usual = float(np.median(pools.left(_State.ASLEEP)[~from_disk])) if not from_disk.all() else 0.0
    return minor + pools.take(np.where(from_disk, pools.left(_State.ASLEEP) - usual, 0.0), _State.ASLEEP)


def _preempted(read: Callable[[str], Floats], pools: _Pools) -> Floats:
    """The main thread's run delay, and what it spent asleep or spinning while another thread was delayed."""
    own = pools.take(pools.left(_State.READY), _State.READY)
    quiet = float(np.quantile(pools.left(_State.RUNNING), _QUIET))
    spinning = np.maximum(pools.left(_State.RUNNING) - quiet, 0.0)
    other = read("other_delay_s")
    slept = pools.take(other, _State.ASLEEP)
    return own + slept + pools.take(np.minimum(other - slept, spinning), _State.RUNNING)


def _work_of_others(steps: Sequence[StepSample], read: Callable[[str], Floats]) -> Floats:
    """CPU time of the other threads above the typical: with a GPU, autograd runs backward in a thread of its own.

    While they work for longer, the main thread only seems to be asleep for longer.
    """
    cpu = np.array([sample.cpu_s or 0.0 for sample in steps], dtype=np.float64) - read("main_cpu_s")
    return np.maximum(cpu - np.median(cpu), 0.0)


def _move_induced_delay(seconds: dict[Cause, Floats], running: Floats, ready: Floats) -> None:
    """A cause that needs more CPU time also waits longer for a CPU: that wait is attributed to it, not to competitors.

    In excess of typical CPU time, delay at the run's typical rate (delay per CPU time) goes from preemption to the
    causes that took the CPU time, in proportion to their own excess. On a machine without competitors it is 0.
    What the main thread spent spinning is CPU time that preemption took, and moves no delay to a cause.
    """
    rate = float(np.median(ready / np.maximum(running, 1e-9)))
    over = {cause: np.maximum(seconds[cause] - np.median(seconds[cause]), 0.0) for cause in _ON_CPU}
    total = np.sum(list(over.values()), axis=0)
    excess = np.minimum(running - np.median(running), total)
    induced = np.clip(rate * excess, 0.0, np.minimum(ready, seconds[Cause.PREEMPTED]))
    seconds[Cause.PREEMPTED] = seconds[Cause.PREEMPTED] - induced
    for cause, part in over.items():
        seconds[cause] = seconds[cause] + induced * part / np.maximum(total, 1e-12)


def _leave_to_the_device(times: CauseTimes, steps: Sequence[StepSample]) -> None:
    """On a GPU the host sleeps or spins until the device is done: that time is the device's, unless launch-bound."""
    enqueue = np.array([sample.enqueue_s or 0.0 for sample in steps], dtype=np.float64)
    host_bound = enqueue > LAUNCH_BOUND * times.wall
    times.off_cpu = np.zeros(len(times.wall))
    for cause in (Cause.CPU_TIME, Cause.WAITING):
        times.seconds[cause] = np.where(host_bound, np.minimum(times.seconds[cause], enqueue), 0.0)


def excess(values: Floats, steps: Steps, quiet: Steps) -> float:
    """Mean of some steps above the median of the quiet ones."""
    return float(np.mean(values[steps]) - np.median(values[quiet]))
