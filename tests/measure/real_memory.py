"""What a step really allocates on a CPU: torch.profiler's record of every allocation and release, summed in order.

The events themselves are summed. The trace's `Total Allocated` field is not used: it goes on from one recording to
the next. Recording begins before the model is built, so that the sum is what the process holds in tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from perfkit.schema.config import RunConfig
from perfkit.workload.step import StepWorkload, TransformerWorkload


def step_peaks(
    config: RunConfig, steps: int = 2, build: Callable[[RunConfig], StepWorkload] = TransformerWorkload
) -> list[int]:
    """Peak bytes in each of the first steps of a resolved configuration."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
        workload = build(config)
        for number in range(steps):
            with record_function(f"step {number}"):
                workload.step(lambda _: None)
    starts: dict[int, int] = {}
    changes: list[tuple[int, int]] = []
    assert recording.profiler is not None
    _collect(recording.profiler.kineto_results.experimental_event_tree(), starts, changes)
    total, peaks = 0, [0] * steps
    for time, change in sorted(changes, key=lambda event: event[0]):
        total += change
        for number in range(steps):
            if starts[number] <= time < starts.get(number + 1, time + 1):
                peaks[number] = max(peaks[number], total)
    return peaks


def _collect(events: list[Any], starts: dict[int, int], changes: list[tuple[int, int]]) -> None:
    for event in events:
        kind, fields = event.typed
        if kind.name == "Allocation":
            changes.append((event.start_time_ns, fields.alloc_size))
        elif event.name.startswith("step "):
            starts[int(event.name[5:])] = event.start_time_ns
        _collect(event.children, starts, changes)
