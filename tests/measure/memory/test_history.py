"""The history of a GPU's allocator, by a stand-in for torch.cuda: what it is asked, and what is written."""

from __future__ import annotations

import pickle
import pickletools
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perfkit.errors import UsageError
from perfkit.measure.loop import StepId
from perfkit.measure.memory.history import AllocatorHistory
from perfkit.schema import range_names
from perfkit.workload.annotate import annotate
from perfkit.workload.ranges import annotated
from tests.runs import sample, saved

FIRST = StepId("measured", 0)


class FakeMemory:
    """torch.cuda.memory, with metadata: notes what it is asked, and stamps what is allocated."""

    def __init__(self, events: int = 3) -> None:
        self.calls: list[Any] = []
        self.events = events
        self.text = ""
        self.stamped: list[str] = []

    def _record_memory_history(self, **asked: Any) -> None:
        self.calls.append(asked)

    def _snapshot(self) -> dict[str, Any]:
        self.calls.append("snapshot")
        return {"segments": [], "device_traces": [[{"action": "alloc"}] * self.events, []]}

    def _set_memory_metadata(self, text: str) -> None:
        self.text = text

    def _get_memory_metadata(self) -> str:
        return self.text

    def allocate(self) -> None:
        self.stamped.append(self.text)


class OldMemory:
    """That of a PyTorch without metadata."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self._snapshot = FakeMemory()._snapshot

    def _record_memory_history(self, **asked: Any) -> None:
        self.calls.append(asked)


class FakeCuda:
    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self.synchronized: list[str] = []

    def synchronize(self, device: str) -> None:
        self.synchronized.append(device)


def observed(folder: Path, memory: Any, **options: Any) -> AllocatorHistory:
    return AllocatorHistory("cuda:1", folder, cuda=FakeCuda(memory), **options)


def test_the_history_begins_with_the_first_measured_step_and_is_written_for_the_viewer(tmp_path):
    """GIVEN a warm-up and two steps THEN one recording round the steps, with Python stacks alone; pickle protocol 4"""
    memory = FakeMemory()
    history = observed(tmp_path, memory, entries=1000)

    # WHEN
    for step in (StepId("warm-up", 0), FIRST, StepId("measured", 1)):
        asked = len(memory.calls)
        history.before(step)
        history.after(step, sample())
        assert len(memory.calls) - asked == (step == FIRST)
    history.close()

    # THEN
    assert memory.calls == [
        {"enabled": "all", "context": "all", "stacks": "python", "max_entries": 1000}, "snapshot", {"enabled": None},
    ]  # fmt: skip
    data = (tmp_path / "snapshot.pickle").read_bytes()
    assert next(argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "PROTO") == 4
    assert len(pickle.loads(data)["device_traces"][0]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.pickle"]
    record = history.add_to(saved())
    assert (record.artifacts, record.observed) == ({"snapshot": "snapshot.pickle"}, {})


def test_a_history_that_is_full_is_said(tmp_path):
    history = observed(tmp_path, FakeMemory(events=3), entries=3)
    history.before(FIRST)
    history.close()
    assert history.add_to(saved()).observed == {
        "allocator_history": "full: it holds the last 3 events; measure fewer steps"
    }


def test_nothing_is_asked_or_written_where_no_measured_step_began(tmp_path):
    memory = FakeMemory()
    history = observed(tmp_path, memory)
    history.before(StepId("warm-up", 0))
    history.close()
    assert (memory.calls, [*tmp_path.iterdir()], history.add_to(saved()).artifacts) == ([], [], {})


class Allocating(nn.Module):
    def __init__(self, memory: FakeMemory) -> None:
        super().__init__()
        self.memory, self.inner = memory, nn.Linear(2, 2)
        self.inner.register_forward_hook(lambda *_: memory.allocate())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.inner(x)
        self.memory.allocate()
        return made


def test_each_event_is_stamped_with_perfkits_ranges(tmp_path):
    """GIVEN a step in its ranges WHEN something is allocated in a module, round it, after it THEN each says where"""
    memory = FakeMemory()
    model, history = Allocating(memory), observed(tmp_path, memory)
    with annotate(model):
        history.before(FIRST)
        with annotated(range_names.step(0)):
            with annotated(range_names.phase("forward")):
                model(torch.zeros(1, 2))
                memory.allocate()
            memory.allocate()
        history.close()
        model(torch.zeros(1, 2))

    # THEN
    inside = "perfkit.step::0 > perfkit.phase::forward"
    assert memory.stamped == [
        f"{inside} > perfkit::inner", f"{inside} > perfkit::Allocating", inside, "perfkit.step::0", "", "",
    ]  # fmt: skip


def test_without_metadata_ranges_lie_beside_the_events(tmp_path, monkeypatch):
    """GIVEN a PyTorch that stamps nothing THEN annotations are recorded of all threads, one for each range"""
    memory = OldMemory()
    opened: list[str] = []

    def noted(text: str) -> AbstractContextManager[None]:
        opened.append(text)
        return nullcontext()

    monkeypatch.setattr(torch.profiler, "record_function", noted)
    history = observed(tmp_path, memory)
    history.before(FIRST)
    with annotated(range_names.step(0)), annotated(range_names.module("layers.0")):
        pass
    history.close()
    assert memory.calls[0]["global_record_annotations"] is True
    assert opened == ["perfkit.step::0", "perfkit.step::0 > perfkit::layers.0"]


def test_a_full_disk_is_said_and_leaves_no_half_snapshot(tmp_path):
    history = observed(tmp_path / "gone", FakeMemory())
    history.before(FIRST)
    with pytest.raises(UsageError, match=r"snapshot\.pickle: cannot be saved: No such file or directory"):
        history.close()
