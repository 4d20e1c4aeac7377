"""How long a run will take, judged by those that ended: for a time budget, which leaves out the largest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from perfkit.analysis.costs.flops.transformer import step_flops
from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.sweep import SweepRow

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)", re.IGNORECASE)
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """`90s`, `10m` or `1.5h` in seconds. Raises UsageError for anything else."""
    match = _TIME.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise UsageError(f"--budget {text}: not a time; write it as 90s, 10m or 1h")
    return float(match[1]) * _SECONDS[match[2].lower()]


def work(config: RunConfig) -> float:
    """FLOPs of all steps of a resolved configuration: what runs are ordered by."""
    return float(step_flops(config).executed * steps(config))


def steps(config: RunConfig) -> int:
    """Steps that a run makes, with its warm-up."""
    return config.measurement.warmup_steps + config.measurement.measure_steps


_COMPILING_S = 60.0
"""What torch.compile is taken to need until one run tells."""


@dataclass(slots=True)
class Pace:
    """How long runs took that ended."""

    _ended: list[tuple[float, float, float]] = field(default_factory=list)
    """Work, seconds of the steps, and seconds of the rest of the process; of runs that compiled nothing."""
    _compiling: list[float] = field(default_factory=list)
    """Seconds of the rest of processes that compiled."""

    def ended(self, row: SweepRow) -> None:
        """A run has ended; one without times tells nothing."""
        if row.mean_s is None or row.process_s is None or not row.config.is_resolved:
            return
        in_steps = min(row.process_s, row.mean_s * steps(row.config))
        if row.config.step.compile != "off":
            self._compiling.append(row.process_s - in_steps)
        else:
            self._ended.append((work(row.config), in_steps, row.process_s - in_steps))

    def predict(self, config: RunConfig) -> float | None:
        """Seconds that a run of a resolved configuration will take: the largest other's rate, and the longest start.

        None where none has ended.
        """
        if not self._ended:
            return None
        known, in_steps, _ = max(self._ended)
        start = max(rest for _, _, rest in self._ended)
        if config.step.compile != "off":
            start = max(self._compiling, default=start + _COMPILING_S)
        return start + in_steps * work(config) / known
