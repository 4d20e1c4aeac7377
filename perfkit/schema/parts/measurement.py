"""How many steps are measured, and what observes them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from perfkit.errors import UsageError
from perfkit.schema.parts.checks import SIZE_LIMIT, check_choices, check_counts, flag

AnnotateMode = Literal["auto", "on", "off"]
Profiler = Literal["none", "torch", "nsys", "memory"]
Switch = Literal["on", "off"]

_CHOICES = {
    "profiler": get_args(Profiler),
    "annotate": get_args(AnnotateMode),
    "gc": get_args(Switch),
}

MEASURED_STEPS = {"memory": 2}
"""Measured steps where none are asked for, by profiler; without an entry 10. Steps allocate alike, so two tell all."""
_FEWEST_FOR_TARGET = 20
"""Simulated coverage of the 95% interval at which a run stops: 94.4 to 96.2% from 20 samples, 92.0% from 5."""
_MOST_STEPS = 10_000
_MOST_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How many steps are measured, and what observes them.

    Raises UsageError if a combination cannot work.
    """

    warmup_steps: int = 5
    """Run exactly this many steps before measuring; they are saved and shown separately."""
    measure_steps: int = 10
    """Measure exactly this many steps (--target-ci: at least this many, and 20); default: 10, to record memory 2."""
    target_ci: float | None = None
    """Measure until the mean's 95% interval is within this ratio of it, such as 1% or 0.01."""
    max_time: float | None = None
    """With --target-ci: start no more steps after this many seconds of measured steps; default: 300."""
    max_steps: int | None = None
    """With --target-ci: measure at most this many steps; default: 10000."""
    profiler: Profiler = "none"
    """none: time the steps; torch, nsys: profile them with torch.profiler or Nsight Systems; memory: record memory."""
    profile_stack: bool = False
    """With --profiler torch or memory: also record Python stacks; the trace is larger and steps are slower."""
    experimental_provenance: bool = False
    """With --compile and --profiler torch: attribute compiled kernels to modules; recompiles, by private APIs."""
    annotate: AnnotateMode = "auto"
    """Add ranges named by module; auto: only if a profiler records them."""
    autograd_nvtx: bool = False
    """For nsys on a GPU: also add autograd's NVTX ranges around every operator, as a costly check of backward."""
    gc: Switch = "off"
    """off: collect Python's garbage before the loop, and do not collect in it; on: change nothing."""

    def __post_init__(self) -> None:
        check_choices(self, _CHOICES)
        check_counts(self, ("measure_steps", "max_steps"))
        if not 0 <= self.warmup_steps < SIZE_LIMIT:
            raise UsageError(f"--warmup-steps {self.warmup_steps}: must be 0 or more, and below {SIZE_LIMIT}")
        if self.profile_stack and self.profiler not in ("torch", "memory"):
            raise UsageError("--profile-stack needs --profiler torch or memory")
        self._check_target()
        if self.autograd_nvtx and self.profiler in ("torch", "memory"):
            raise UsageError(
                f"--autograd-nvtx is for Nsight Systems: drop it, --profiler {self.profiler} needs no such ranges"
            )

    def _check_target(self) -> None:
        if self.target_ci is None:
            for name in ("max_time", "max_steps"):
                if getattr(self, name) is not None:
                    raise UsageError(f"{flag(name)} needs --target-ci: add it, or set --measure-steps instead")
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
        """The least number of measured steps; below 20 the interval at which --target-ci stops covers too little."""
        return self.measure_steps if self.target_ci is None else max(self.measure_steps, _FEWEST_FOR_TARGET)

    @property
    def most_steps(self) -> int:
        """The largest number of measured steps."""
        return self.measure_steps if self.target_ci is None else self.max_steps or max(_MOST_STEPS, self.fewest_steps)

    @property
    def time_limit_s(self) -> float:
        """No step begins after this many seconds of measured steps."""
        return math.inf if self.target_ci is None else self.max_time or _MOST_SECONDS
