"""The history of a GPU's caching allocator over the measured steps, as a snapshot that PyTorch's viewer opens."""

from __future__ import annotations

import dataclasses
import pickle
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import torch

from perfkit import signals
from perfkit.errors import UsageError
from perfkit.measure.loop import Observer, StepId
from perfkit.schema.record import RunRecord
from perfkit.workload import ranges

FILE = "snapshot.pickle"
FULL = "allocator_history"
"""Name of what is observed where the history did not hold all events."""
_ENTRIES = 1_000_000
"""Events that the allocator keeps of each device; a training step of a model of 48 blocks has about 30,000."""
_PROTOCOL = 4
"""Of pickle: the viewer at pytorch.org/memory_viz shows an empty page for 5."""


class AllocatorHistory(Observer):
    """Records from the first measured step on, and writes `snapshot.pickle` when it is closed.

    Each event is stamped with perfkit's ranges (`range_names.stamp`) where this PyTorch can; where it cannot, the
    ranges lie beside the events, as annotations. `cuda` is torch.cuda, or a test's substitute for it.
    """

    def __init__(self, device: str, folder: Path, *, entries: int = _ENTRIES, cuda: Any = torch.cuda) -> None:
        self._device, self._folder, self._entries, self._cuda = device, folder, entries, cuda
        self._mirror = ExitStack()
        self._recording = False
        self._written = False
        self._lost = False

    def before(self, step: StepId) -> None:
        """Begin recording before the first measured step."""
        if step != StepId("measured", 0):
            return
        self._cuda.synchronize(self._device)
        memory = self._cuda.memory
        if hasattr(memory, "_set_memory_metadata"):
            self._mirror.enter_context(ranges.mirrored(self._stamped))
            more = {}
        else:
            self._mirror.enter_context(ranges.mirrored(torch.profiler.record_function))
            more = {"global_record_annotations": True}
        memory._record_memory_history(enabled="all", context="all", stacks="python", max_entries=self._entries, **more)
        self._recording = True

    def close(self) -> None:
        """Stop recording and write what was recorded; a second signal interrupts it."""
        self._mirror.close()
        if not self._recording:
            return
        self._cuda.synchronize(self._device)
        snapshot = self._cuda.memory._snapshot()
        self._cuda.memory._record_memory_history(enabled=None)
        self._recording = False
        self._lost = any(len(events) >= self._entries for events in snapshot["device_traces"])
        with signals.patient():
            self._write(snapshot)

    def add_to(self, record: RunRecord) -> RunRecord:
        """Add the snapshot, and whether it lacks events."""
        if not self._written:
            return record
        observed = dict(record.observed)
        if self._lost:
            observed[FULL] = f"full: it holds the last {self._entries:,} events; measure fewer steps"
        return dataclasses.replace(record, artifacts=record.artifacts | {"snapshot": FILE}, observed=observed)

    def _write(self, snapshot: object) -> None:
        path = self._folder / FILE
        draft = path.with_suffix(".pickle.part")
        try:
            with draft.open("wb") as file:
                pickle.dump(snapshot, file, protocol=_PROTOCOL)
            draft.replace(path)
            self._written = True
        except OSError as error:
            raise UsageError(f"{path}: cannot be saved: {error.strerror}; choose another --traces-dir") from error
        finally:
            draft.unlink(missing_ok=True)

    def _stamped(self, text: str) -> AbstractContextManager[object]:
        return _Stamped(self._cuda.memory, text)


class _Stamped:
    """In its body every event of the allocator carries a text; after it, what it carried before."""

    def __init__(self, memory: Any, text: str) -> None:
        self._memory, self._text = memory, text

    def __enter__(self) -> None:
        self._before: str = self._memory._get_memory_metadata()
        self._memory._set_memory_metadata(self._text)

    def __exit__(self, *_: object) -> None:
        self._memory._set_memory_metadata(self._before)
