"""What was opened and closed, seen by a stand-in for NVTX and by torch.profiler."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


class FakeNvtx:
    """Takes the place of the nvtx package: notes every push and pop, thread by thread."""

    def __init__(self) -> None:
        self.events: dict[int, list[str | None]] = {}
        self.domains: set[str] = set()

    def annotate(self, *, message: str, domain: str) -> FakeRange:
        self.domains.add(domain)
        return FakeRange(self, message)

    def note(self, event: str | None) -> None:
        self.events.setdefault(threading.get_ident(), []).append(event)

    def paths(self, thread: int | None = None) -> list[str]:
        """Every range as `outer > inner`, in the order they opened. Fails where they are not balanced."""
        stack: list[str] = []
        found = []
        for event in self.events.get(thread or threading.get_ident(), []):
            if event is None:
                assert stack, "a pop without a push"
                stack.pop()
            else:
                stack.append(event)
                found.append(" > ".join(stack))
        assert not stack, f"left open: {stack}"
        return found

    @property
    def open(self) -> int:
        """Ranges open on this thread."""
        events = self.events.get(threading.get_ident(), [])
        return len(events) - 2 * events.count(None)


class FakeRange:
    def __init__(self, nvtx: FakeNvtx, message: str) -> None:
        self.nvtx, self.message = nvtx, message

    def __enter__(self) -> FakeRange:
        self.nvtx.note(self.message)
        return self

    def __exit__(self, *_: object) -> None:
        self.nvtx.note(None)


def recorded_paths(run: Callable[[], object]) -> list[str]:
    """perfkit's ranges as torch.profiler sees them while `run` runs, as `outer > inner`, in the order they opened."""
    with profile(activities=[ProfilerActivity.CPU]) as recording:
        with torch.profiler.record_function("marker"):  # a trace without any event cannot be told from a broken one
            pass
        run()
    events = list(recording.events())
    assert any(event.name == "marker" for event in events)
    ours = [event for event in events if event.name.startswith("perfkit")]
    return [_path(event) for event in sorted(ours, key=lambda e: (e.time_range.start, -e.time_range.end))]


def _path(event: Any) -> str:
    names = []
    while event is not None:
        if event.name.startswith("perfkit"):
            names.append(event.name.removeprefix("perfkit::"))
        event = event.cpu_parent
    return " > ".join(reversed(names))


def hooks(model: torch.nn.Module) -> int:
    """Hooks of any kind on any module."""
    return sum(
        len(kind)
        for module in model.modules()
        for kind in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._forward_hooks_always_called,
            module._backward_hooks,
            module._backward_pre_hooks,
        )
    )
