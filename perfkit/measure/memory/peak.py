"""Peak bytes in tensors on a CPU, whose allocator does not count: by the allocations that the profiler records."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from perfkit import signals
from perfkit.measure.loop import Observer
from perfkit.measure.memory import inventory
from perfkit.schema import range_names
from perfkit.schema.record import RunRecord
from perfkit.workload.protocol import Workload

_ALLOCATION = "Allocation"
"""The kind of an event that allocates (bytes above 0) or frees."""


class TensorPeak(Observer):
    """Finds the peak in one step more, after those that are measured, where nothing else records; a signal ends it.

    It must be outermost, and the step must begin with setting gradients to None: those that are there are dropped
    before, since no one is told when what was allocated before a recording is released.
    """

    def __init__(self, workload: Workload, *, complete: Callable[[], bool]) -> None:
        self._workload, self._complete = workload, complete
        self.peak: int | None = None

    def close(self) -> None:
        """Run the step."""
        if not self._complete():
            return
        with signals.raised():
            self._workload.model.zero_grad(set_to_none=True)
            lived = sum(held.size for held in inventory.held(self._workload, "cpu"))
            range_of_step = record_function(range_names.step(0).trace_text)
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded, range_of_step:
                self._workload.step(lambda _: None)
            assert recorded.profiler is not None
            self.peak = peak_of(recorded.profiler.kineto_results.experimental_event_tree(), lived)

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with the peak."""
        return dataclasses.replace(record, memory=dataclasses.replace(record.memory, tensors=self.peak))


def peak_of(roots: Iterable[Any], lived: int) -> int | None:
    """Peak bytes on the CPU over measured steps, of a profile's events (`kineto_results.experimental_event_tree()`).

    `lived`: bytes that lived before the first event and are not freed. Without ranges of steps all of the profile
    counts; None where there is no allocation. The release of what was not allocated in this profile does not count:
    PyTorch reports some, with sizes that its table has from an earlier profile in this process.
    """
    changes: list[tuple[int, int, int]] = []
    steps: list[tuple[int, int]] = []
    for event in _all(roots):
        kind, fields = event.typed
        if kind.name == _ALLOCATION and fields.device.type == "cpu":
            changes.append((event.start_time_ns, fields.ptr, fields.alloc_size))
        elif (name := range_names.parse_trace(event.name)) is not None and name.kind == "step":
            steps.append((event.start_time_ns, event.end_time_ns))
    live = lived
    sizes: dict[int, int] = {}
    peaks = []
    for time, address, change in sorted(changes, key=itemgetter(0)):
        before = live
        if change > 0:
            sizes[address] = change
            live += change
        else:
            live -= sizes.pop(address, 0)
        if not steps or any(begin <= time < end for begin, end in steps):
            peaks.append(max(before, live))  # what lives as a step begins counts, if nothing more is allocated in it
    return max(peaks, default=None)


def _all(roots: Iterable[Any]) -> Iterator[Any]:
    """Events, and those inside them."""
    waiting = list(roots)
    while waiting:
        event = waiting.pop()
        yield event
        waiting += event.children
