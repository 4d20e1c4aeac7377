"""Peak memory over the measured steps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from perfkit.measure import memory_limit
from perfkit.measure.loop import Observer, StepId
from perfkit.schema.record import MemoryPeaks, RunRecord


class Peaks(Observer):
    """Resets the peaks when the first measured step begins, and reads them after the last step.

    What the profiler allocates after the last step is therefore not counted. `cuda` and `process` are torch.cuda and
    /proc/self, or test substitutes for them.
    """

    def __init__(self, device: str, *, cuda: Any = torch.cuda, process: Path = memory_limit.PROCESS) -> None:
        self._device, self._cuda, self._process = device, cuda, process
        self._counting = False
        self.peaks = MemoryPeaks()

    def before(self, step: StepId) -> None:
        """Reset the peaks before the first measured step."""
        if step == StepId("measured", 0):
            self._counting = True
            self._reset()

    def close(self) -> None:
        """Read the peaks, if any measured step began."""
        if self._counting:
            self.peaks = self._read()

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the memory peaks, beside what others counted."""
        return dataclasses.replace(record, memory=dataclasses.replace(self.peaks, tensors=record.memory.tensors))

    def _reset(self) -> None:
        if self._device != "cpu":
            self._cuda.reset_peak_memory_stats(self._device)
        try:
            (self._process / "clear_refs").write_text("5")  # sets VmHWM to the present resident set
        except OSError:
            return  # the peak then covers the process's whole life and is still an upper bound

    def _read(self) -> MemoryPeaks:
        resident = memory_limit.status_bytes("VmHWM", self._process)
        if self._device == "cpu":
            return MemoryPeaks(resident=resident)
        return MemoryPeaks(
            allocated=self._cuda.max_memory_allocated(self._device),
            reserved=self._cuda.max_memory_reserved(self._device),
            resident=resident,
        )
