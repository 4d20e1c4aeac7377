"""Causes in words: the counter that corroborates one, and what to try against it."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.causes import Account, Cause
from perfkit.analysis.disturbances import Disturbance
from perfkit.schema import units
from perfkit.schema.config import RunConfig


def counted(one: Disturbance, account: Account) -> str:
    """The counter that corroborates a cause."""
    cause, steps = one.cause, one.steps
    assert cause is not None
    counts = account.evidence.get(cause, account.events.get(cause))
    if counts is None:
        return ""
    mean = float(np.mean(counts[steps]))
    text = _COUNTERS.get(cause)
    return f"by {text.format(units.significant(mean, 3))}" if text else f"by {units.duration(mean)} {_TIMES[cause]}"


_COUNTERS = {
    Cause.GC: "{} collections a step",
    Cause.COMPILE: "{} graphs compiled a step",
    Cause.FAULTS: "{} page faults a step",
    Cause.WAITING: "{} times asleep a step",
    Cause.ALLOCATION: "{} cudaMalloc, cudaFree or retries a step",
    Cause.OTHERS: "{} other processes",
    Cause.CLOCK: "a clock {} MHz lower",
    Cause.POWER: "the power limit in {} of the samples",
    Cause.THERMAL: "the thermal limit in {} of the samples",
}
_TIMES = {
    Cause.THROTTLED: "of throttling",
    Cause.STEAL: "of steal",
    Cause.PREEMPTED: "of run delay",
    Cause.SLOW: "of CPU time, with little run delay",
}


def advice(cause: Cause, config: RunConfig, slow: int = 1) -> str:
    """The next thing to try against a cause."""
    if cause is Cause.WARMUP:
        return f"--warmup-steps {config.warmup_steps + slow}"
    if cause is Cause.GC:
        return "--gc off" if config.gc == "on" else "gc.collect() outside the step"
    if cause is Cause.COMPILE:
        return f"--warmup-steps {config.warmup_steps + slow + 1}; TORCH_LOGS=recompiles for the reason"
    return _ADVICE[cause]


_ADVICE = {
    Cause.THROTTLED: "a higher CPU limit of the container, or --num-threads within it",
    Cause.STEAL: "another host or another time: its CPUs are given to other machines",
    Cause.PREEMPTED: "a quiet machine, taskset to CPUs of its own, or --num-threads 1",
    Cause.FAULTS: "MALLOC_TRIM_THRESHOLD_=4294967296 and MALLOC_MMAP_THRESHOLD_=4294967296 in the environment",
    Cause.WAITING: "--profiler torch, which shows where the step does nothing",
    Cause.SLOW: "fixed clocks (cpupower), a machine without neighbours that use cache and memory, more steps",
    Cause.ALLOCATION: "--warmup-steps 2 or more; PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
    Cause.CLOCK: "nvidia-smi --lock-gpu-clocks",
    Cause.POWER: "nvidia-smi --lock-gpu-clocks, at what the power limit holds",
    Cause.THERMAL: "cooling, or nvidia-smi --lock-gpu-clocks at what the temperature holds",
    Cause.OTHERS: "another --device, or stopping them (nvidia-smi names them)",
}
