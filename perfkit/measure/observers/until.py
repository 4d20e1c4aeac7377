"""The rule that ends the measured steps before their number does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfkit.measure.loop import Observer, Step
from perfkit.schema.record import EndedBy, StepSample

Rule = Callable[[Sequence[StepSample]], EndedBy | None]
"""From all measured steps so far: by which rule the last of them was the last one, None where another follows."""


class Until(Observer):
    """Asks a rule after each measured step. The rules are analyses, which measuring does not import."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._samples: list[StepSample] = []

    def after(self, step: Step, sample: StepSample) -> EndedBy | None:
        """What the rule says."""
        if step.stage == "warm-up":
            return None
        self._samples.append(sample)
        return self._rule(self._samples)
