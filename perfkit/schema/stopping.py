"""When a stage of a run has enough steps: one rule, asked before each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfkit.schema.record import EndedBy, StepSample

StopRule = Callable[[Sequence[StepSample]], EndedBy | None]
"""Takes all steps of the stage so far; returns the rule that ends the stage, or None where another step follows."""


def exactly(count: int) -> StopRule:
    """A rule that ends a stage after `count` steps."""
    return lambda samples: "measure-steps" if len(samples) >= count else None
