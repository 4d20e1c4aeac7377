"""How often steps are measured, and what watches them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from perfkit.errors import UsageError
from perfkit.schema.parts.checks import SIZE_LIMIT, check_choices, check_counts, flag

AnnotateMode = Literal["auto", "on", "off"]
Profiler = Literal["none", "torch", "nsys"]
Switch = Literal["on", "off"]

_CHOICES = {
    "profiler": get_args(Profiler),
    "annotate": get_args(AnnotateMode),
    "gc": get_args(Switch),
}

_FEWEST_FOR_TARGET = 20
"""Simulated coverage of a 95% interval at which measuring stops: 94.4 to 96.2% from 20 samples on, 92.0% from 5 on."""
_MOST_STEPS = 10_000
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How often steps are measured, and what watches them.

    Raises UsageError where a combination cannot work.
    """

    warmup_steps: int = 5
    """Steps before measuring, kept and shown separately; obeyed exactly."""
    measure_steps: int = 10
    """Steps to measure; obeyed exactly (with --target-ci: the fewest, and never below 20)."""
    target_ci: float | None = None
    """Measure until the mean's 95% interval is within 1% (or 0.01) of it; --target-cv is another name for it."""
    max_time: float | None = None
    """With --target-ci: start no further step after this many seconds of measured steps; default: 300."""
    max_steps: int | None = None
    """With --target-ci: measure at most this many steps; default: 10000."""
    profiler: Profiler = "none"
    """none: plain timing; torch, nsys: record the measured steps with torch.profiler or Nsight Systems."""
    profile_stack: bool = False
    """Record Python stacks too (--profiler torch): larger trace, slower steps."""
    experimental_provenance: bool = False
    """Attribute compiled kernels to modules (--compile, --profiler torch); recompiles, using private APIs."""
    annotate: AnnotateMode = "auto"
    """Ranges named by module; auto: on when something records them (a profiler, nsys), else off."""
    autograd_nvtx: bool = False
    """Record autograd's own NVTX ranges round every operator (nsys, GPU): a second, slower source for backward."""
    gc: Switch = "off"
    """off: collect and freeze Python's garbage before the loop, and do not collect in it; on: change nothing."""

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        check_counts(self, ("measure_steps", "max_steps"))
        if not 0 <= self.warmup_steps < SIZE_LIMIT:
            raise UsageError(f"--warmup-steps {self.warmup_steps}: must be 0 or more, and below {SIZE_LIMIT}")
        if self.profile_stack and self.profiler != "torch":
            raise UsageError("--profile-stack needs --profiler torch")
        self._check_target()
        if self.autograd_nvtx and self.profiler == "torch":
            raise UsageError("--autograd-nvtx is for Nsight Systems: --profiler torch sees the operators itself")

    def _check_target(self) -> None:
        if self.target_ci is None:
            for name in ("max_time", "max_steps"):
                if getattr(self, name) is not None:
                    raise UsageError(f"{flag(name)} needs --target-ci: without it --measure-steps is obeyed exactly")
            return
        if not 0 < self.target_ci < 1:
            raise UsageError(f"--target-ci {self.target_ci}: must be above 0 and below 100%, as in 1% or 0.01")
        if self.max_time is not None and not 0 < self.max_time < math.inf:
            raise UsageError(f"--max-time {self.max_time}: must be above 0 seconds")
        if self.max_steps is not None and self.max_steps < self.fewest_steps:
            raise UsageError(f"--max-steps {self.max_steps}: --target-ci measures at least {self.fewest_steps} steps")
        if self.profiler != "none":
            raise UsageError(
                f"--target-ci needs plain steps: drop --profiler {self.profiler}, or choose --measure-steps"
            )

    @property
    def fewest_steps(self) -> int:
        """Measured steps there are at least: below 20 the interval that --target-ci stops at covers too little."""
        return self.measure_steps if self.target_ci is None else max(self.measure_steps, _FEWEST_FOR_TARGET)

    @property
    def most_steps(self) -> int:
        """Measured steps there are at most."""
        return self.measure_steps if self.target_ci is None else self.max_steps or max(_MOST_STEPS, self.fewest_steps)

    @property
    def time_limit_s(self) -> float:
        """Seconds of measured steps after which none begins."""
        return math.inf if self.target_ci is None else self.max_time or _MOST_SECONDS
