"""What the loop needs from a workload: a model whose modules can get ranges, and a step that reports its phases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import nn

from perfkit.workload.annotate import Annotation

OnPhase = Callable[[str], None]
"""Called with a phase's name as that phase begins (see schema.range_names.STEP_PHASES)."""


class Workload(Protocol):
    """What a run measures. perfkit's own is workload.step.TransformerWorkload."""

    @property
    def model(self) -> nn.Module:
        """The module whose forward the step runs; its tree of modules is saved with a profile."""

    def annotate(self, *, gradients: bool, backward: bool) -> Annotation:
        """Return what puts ranges round the modules once it is installed; the arguments are those of `annotate`."""

    def step(self, on_phase: OnPhase) -> None:
        """Run one step and call `on_phase` as each phase begins. On a GPU it only enqueues: the caller synchronises."""
