"""When a stage of a run has enough steps: one rule, asked before each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfkit.schema.record import EndedBy, StepSample

StopRule = Callable[[Sequence[StepSample]], EndedBy | None]
"""From all steps of the stage so far: by which rule no other follows; None where one does."""


def exactly(count: int) -> StopRule:
    """So many steps, whatever they take."""
    return lambda samples: "measure-steps" if len(samples) >= count else None
