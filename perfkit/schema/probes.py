"""What is read beside a step's clock: counters of the interpreter, the kernel and the GPU. Raw, for analysis later."""

from __future__ import annotations

import msgspec


class StepProbes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Counters over one step, read just outside its timed region. None (and no key in the file): not readable here.

    "Main" is the thread that runs the step. wall = main's CPU time + main's run delay + the time it slept.
    """

    began_s: float | None = None
    """CLOCK_MONOTONIC just before the step, seconds: joins steps with what other processes sampled."""
    main_cpu_s: float | None = None
    """CPU time of the main thread."""
    main_delay_s: float | None = None
    """Time the main thread was ready to run and waited for a CPU (schedstat)."""
    other_delay_s: float | None = None
    """The same of the other thread of the process that waited longest."""
    switches: int | None = None
    """Times the main thread went to sleep by itself (voluntary context switches)."""
    preemptions: int | None = None
    """Times the kernel took a CPU from a thread of the process (involuntary context switches)."""
    gc_s: float | None = None
    """CPU time in Python's garbage collector."""
    collections: int | None = None
    """Garbage collections."""
    minor_faults: int | None = None
    """Page faults without disk."""
    major_faults: int | None = None
    """Page faults that read a disk."""
    steal_s: float | None = None
    """CPU time the hypervisor gave to others, all CPUs together; ticks of 10 ms."""
    pressure_s: float | None = None
    """Time in which some task of the machine waited for a CPU (PSI). Only corroborates: it covers all processes."""
    throttled_s: float | None = None
    """Time held back by a CPU quota (control groups), all CPUs together; None where there is no quota."""
    compilations: int | None = None
    """Graphs torch.compile made."""
    compile_s: float | None = None
    """Time torch.compile spent."""
    alloc_retries: int | None = None
    """GPU: times the caching allocator had to free everything and try again."""
    device_allocs: int | None = None
    """GPU: cudaMalloc calls of the caching allocator."""
    device_frees: int | None = None
    """GPU: cudaFree calls of the caching allocator."""


class Window(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Counters over all measured steps at once, where they cannot be read beside each of them."""

    wall_s: float
    """From before the first step to after the last, with what ran between them."""
    probes: StepProbes


class GpuSample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reading of the GPU by NVML, in a process of its own. None: the driver does not report it."""

    at_s: float
    """CLOCK_MONOTONIC, seconds, as StepProbes.began_s."""
    sm_mhz: int | None = None
    reasons: int | None = None
    """Clock event reasons, NVML's bits (0x4 power cap, 0x20 and 0x40 thermal, 0x8 and 0x80 hardware slowdown)."""
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: int | None = None
    utilization: int | None = None
    """Percent of the last sample period in which a kernel ran."""
    free_bytes: int | None = None
    total_bytes: int | None = None
    other_processes: int | None = None
    """Compute processes other than this run's."""
    other_bytes: int | None = None
    """GPU memory they hold."""


class Probing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the probes cost."""

    seconds_per_step: float
    """Median time both readings of a step took, measured in the run; none of it is inside a step's time."""
    seconds_per_fault: float | None = None
    """What one minor page fault costs here, measured when the run began."""
