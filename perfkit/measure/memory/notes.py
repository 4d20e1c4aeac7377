"""Observers that note what a run knows of its memory: what lies where, the peak on a CPU, what is kept for backward."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perfkit import signals
from perfkit.measure.loop import Observer, StepId
from perfkit.measure.memory import inventory
from perfkit.measure.memory.peak import peak_of
from perfkit.measure.memory.saved import saved_by
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import notes as memory_notes
from perfkit.schema.memory.notes import Inventory, MemoryNotes, Moment, SavedOperation
from perfkit.schema.record import RunRecord, StepSample
from perfkit.workload.protocol import Workload


class Inventories(Observer):
    """Notes where everything lies that has a name, at three moments of each measured step; on a CPU also the peak.

    On a CPU PyTorch tells no one of the release of what was allocated before recording began. So the gradients of the
    last warm-up step are copied as recording begins, before the first step: all that a measured step frees, it can
    then be seen to free. It belongs outside the step's range, and inside the profiler.
    """

    def __init__(self, workload: Workload, device: str) -> None:
        self._workload, self._device = workload, device
        self._step: int | None = None
        self._backward = False
        self._lived = 0
        """Bytes allocated before recording began that no step frees, as far as they have names."""
        self.taken: list[Inventory] = []
        self.peak: int | None = None
        """Peak bytes in tensors over the measured steps, once the profile was read."""

    def before(self, step: StepId) -> None:
        """Take the first inventory of a measured step."""
        if step.stage != "measured":
            return
        self._step, self._backward = step.index, False
        if step.index == 0 and self._device == "cpu":
            self._copy_gradients()
        self._take("before")
        if step.index == 0:
            self._lived = sum(held.size for held in self.taken[-1].held if held.kind != "gradients")

    def phase(self, name: str) -> None:
        """Take an inventory where backward is over."""
        if self._step is not None and name == "optimizer":
            self._take("backward")
        self._backward = name == "backward"

    def after(self, step: StepId, sample: StepSample) -> None:  # noqa: ARG002 - the interface passes more
        """Take the last inventory of the step."""
        if self._step is not None:
            if self._backward:
                self._take("backward")
            self._take("after")

    def read(self, profile: Any) -> None:
        """Find the peak in the events of a profile of the measured steps."""
        results = profile.profiler.kineto_results
        self.peak = peak_of(results.experimental_event_tree(), self._lived)

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with the peak."""
        return dataclasses.replace(record, memory=dataclasses.replace(record.memory, tensors=self.peak))

    def _take(self, moment: Moment) -> None:
        assert self._step is not None
        held = inventory.held(self._workload, self._device)
        self.taken.append(Inventory(step=self._step, moment=moment, held=held))

    def _copy_gradients(self) -> None:
        for parameter in self._workload.model.parameters():
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()


class Notes(Observer):
    """Writes `memory.json`. It must be outermost: it is closed last, when nothing records any more.

    If the run is `complete`, one more step shows what is kept for backward; a signal ends it.
    """

    def __init__(
        self, workload: Workload, config: RunConfig, inventories: Inventories, folder: Path,
        *, complete: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._workload, self._config, self._inventories = workload, config, inventories
        self._folder, self._complete = folder, complete
        self._written = False

    def close(self) -> None:
        """Run the step without a recording, and write all notes."""
        saved: tuple[SavedOperation, ...] = ()
        if self._complete() and self._config.step.pass_type != "forward":
            with signals.raised():
                saved = saved_by(self._workload, self._config.step.device)
        if self._inventories.taken:
            memory_notes.save(MemoryNotes(inventories=tuple(self._inventories.taken), saved=saved), self._folder)
            self._written = True

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the notes, once they are written."""
        if not self._written:
            return record
        return dataclasses.replace(record, artifacts=record.artifacts | {"memory": memory_notes.FILE})
