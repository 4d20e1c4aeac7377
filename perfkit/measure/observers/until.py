"""The rule that ends the measured steps before their number does."""

from __future__ import annotations

from perfkit.measure.loop import Observer, StepId
from perfkit.schema.record import EndedBy, StepSample, StopRule


class Until(Observer):
    """Asks a rule after each measured step. The rules are analyses, which measuring does not import."""

    def __init__(self, rule: StopRule) -> None:
        self._rule = rule
        self._samples: list[StepSample] = []

    def after(self, step: StepId, sample: StepSample) -> EndedBy | None:
        """What the rule says."""
        if step.stage == "warm-up":
            return None
        self._samples.append(sample)
        return self._rule(self._samples)
