"""What is known of attention alone beyond its times: what it holds before backward, and how it compares with eager."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from perfkit.measure.loop import Observer, StepId
from perfkit.schema.parts.attention import DEVIATION, FIRST_CALL, HELD
from perfkit.schema.record import RunRecord
from perfkit.workload.attention import AttentionAlone


class AttentionFacts(Observer):
    """Reads a GPU's allocated bytes as backward begins, in warm-up steps alone: reading takes as long as small kernels.

    On a CPU, whose allocator does not count, `TensorPeak` tells. `cuda` is torch.cuda, or a test's substitute.
    """

    def __init__(self, model: AttentionAlone, device: str, *, cuda: Any = torch.cuda) -> None:
        self._model, self._device, self._cuda = model, device, cuda
        self._reads = False
        self._held: int | None = None

    def before(self, step: StepId) -> None:
        """Read in warm-up steps."""
        self._reads = step.stage == "warm-up" and self._device != "cpu"

    def phase(self, name: str) -> None:
        """Read as backward begins."""
        if self._reads and name == "backward":
            self._held = int(self._cuda.memory_allocated(self._device))

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with what is known."""
        found = {HELD: self._held, DEVIATION: self._model.deviation, FIRST_CALL: self._model.first_call_s}
        known: dict[str, int | float | str | None] = {
            name: value for name, value in found.items() if value is not None and not math.isnan(value)
        }
        return dataclasses.replace(record, observed=record.observed | known)
