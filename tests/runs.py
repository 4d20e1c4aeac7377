"""Small runs for tests: a configuration that takes milliseconds, fakes of what a run needs, and hand-made records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from torch import nn

from perfkit.measure.loop import Observer, StepId
from perfkit.schema.config import RunConfig
from perfkit.schema.record import Environment, RunRecord, StepSample
from perfkit.workload.annotate import Annotation, annotate

QUICK: dict[str, Any] = {
    "num_layers": 1,
    "d_model": 32,
    "num_heads": 2,
    "d_ff": 64,
    "vocab_size": 100,
    "context_length": 16,
    "batch_size": 2,
    "num_threads": 1,
}
"""Fields of a configuration whose step takes a millisecond."""

QUICK_FLAGS = [text for name, value in QUICK.items() for text in (f"--{name.replace('_', '-')}", str(value))]

ENVIRONMENT = Environment(
    perfkit="0.1.0", python="3.11.7", torch="2.13.0", os="Linux", hostname="here", device="cpu", device_name="a CPU",
    device_memory=2**34, cpu_model="a CPU", cpu_count=2, num_threads=1,
)  # fmt: skip

CPU_OOM = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "68719476736 bytes. Error code 12 (Cannot allocate memory)"
)
"""The message of the RuntimeError that PyTorch raises when a CPU allocation of 64 GiB fails."""


def quick(**changes: Any) -> RunConfig:
    """A resolved configuration for a CPU."""
    return RunConfig.of(**{**QUICK, "device": "cpu", **changes}).resolved("cpu")


def sample(wall_s: float = 0.01, **phases_s: float) -> StepSample:
    """One step."""
    return StepSample(wall_s=wall_s, phases_s=phases_s)


def saved(**changes: Any) -> RunRecord:
    """A record of two steps."""
    plain = RunRecord(
        config=quick(warmup_steps=1, measure_steps=2),
        environment=ENVIRONMENT,
        created="2026-01-02T03:04:05+00:00",
        status="ok",
        steps=(sample(0.02, forward=0.005, backward=0.01), sample(0.04, forward=0.015, backward=0.02)),
        warmup=(sample(0.5, forward=0.4),),
    )
    return dataclasses.replace(plain, **changes)


class FakeWorkload:
    """A workload without work: its steps only call on_phase, and fail as `failures` says.

    `failures` maps (step, counted from 0 and including warm-up; phase) to the exception raised in that phase.
    """

    def __init__(self, config: RunConfig, failures: dict[tuple[int, str], BaseException] | None = None) -> None:
        self.config = config
        self.model = nn.Sequential(nn.Identity(), nn.Identity())
        self.annotation: Annotation | None = None
        self.failures = failures or {}
        self.steps = 0
        self.inside = False
        """Whether a step is running."""
        self.during: Callable[[], None] = lambda: None
        """Called in the middle of every step."""

    def annotate(self, *, gradients: bool = False, backward: bool = False) -> Annotation:
        self.annotation = annotate(self.model, gradients=gradients, backward=backward)
        return self.annotation

    def step(self, on_phase: Callable[[str], None]) -> None:
        self.inside = True
        self.steps += 1
        for phase in ("zero_grad", "forward", "loss", "backward"):
            on_phase(phase)
            self.during()
            if (failure := self.failures.get((self.steps - 1, phase))) is not None:
                self.inside = False
                raise failure
        self.inside = False


class Journal(Observer):
    """An observer that records the calls that it gets."""

    def __init__(self, entries: list[str] | None = None) -> None:
        self.entries: list[str] = [] if entries is None else entries

    def before(self, step: StepId) -> None:
        self.entries.append(f"before {step}")

    def phase(self, name: str) -> None:
        self.entries.append(name)

    def after(self, step: StepId, sample: StepSample) -> None:
        self.entries.append(f"after {step}")

    def close(self) -> None:
        self.entries.append("close")
