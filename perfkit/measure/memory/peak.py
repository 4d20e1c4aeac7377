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
from perfkit.schema.parts.attention import HELD
from perfkit.schema.record import RunRecord
from perfkit.workload.protocol import Workload

_ALLOCATION = "Allocation"
"""The kind of an event that allocates (bytes above 0) or frees."""


class TensorPeak(Observer):
    """Finds the peak in one step more, after those that are measured, where nothing else records; a signal ends it.

    It must be outermost, and the step must begin with setting gradients to None: those that are there are dropped
    before, since no one is told when what was allocated before a recording is released.
    """

    def __init__(self, workload: Workload, *, complete: Callable[[], bool], tells_held: bool = False) -> None:
        """`tells_held`: the record also says what is held as backward begins."""
        self._workload, self._complete, self._tells_held = workload, complete, tells_held
        self.peak: int | None = None
        self.held: int | None = None
        """Bytes that live as backward begins."""

    def close(self) -> None:
        """Run the step."""
        if not self._complete():
            return
        with signals.raised():
            self._workload.model.zero_grad(set_to_none=True)
            lived = sum(held.size for held in inventory.held(self._workload, "cpu"))
            range_of_step = record_function(range_names.step(0).trace_text)
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded, range_of_step:
                self._workload.step(_mark)
            assert recorded.profiler is not None
            events = recorded.profiler.kineto_results.experimental_event_tree()
            self.peak, self.held = peak_of(events, lived), held_before_backward(events, lived)

    def add_to(self, record: RunRecord) -> RunRecord:
        """The record with the peak."""
        counted = dataclasses.replace(record, memory=dataclasses.replace(record.memory, tensors=self.peak))
        if self.held is None or not self._tells_held:
            return counted
        return dataclasses.replace(counted, observed=counted.observed | {HELD: self.held})


def _mark(phase: str) -> None:
    """Note that a phase begins, by a range that ends at once."""
    with record_function(range_names.phase(phase).trace_text):
        pass


def held_before_backward(roots: Iterable[Any], lived: int) -> int | None:
    """Bytes on the CPU when the range of the phase `backward` begins; None where there is none. As in `peak_of`."""
    name = range_names.phase("backward").trace_text
    begins = [event.start_time_ns for event in _all(roots) if event.name == name]
    if not begins:
        return None
    return next((before for time, before, _ in _levels(roots, lived) if time >= begins[0]), None)


def peak_of(roots: Iterable[Any], lived: int) -> int | None:
    """Peak bytes on the CPU over measured steps, of a profile's events (`kineto_results.experimental_event_tree()`).

    `lived`: bytes that lived before the first event and are not freed. Without ranges of steps all of the profile
    counts; None where there is no allocation. The release of what was not allocated in this profile does not count:
    PyTorch reports some, with sizes that its table has from an earlier profile in this process.
    """
    names = ((event, range_names.parse_trace(event.name)) for event in _all(roots))
    steps = [(event.start_time_ns, event.end_time_ns) for event, name in names if name and name.kind == "step"]
    peaks = [
        max(before, after)  # what lives as a step begins counts, if nothing more is allocated in it
        for time, before, after in _levels(roots, lived)
        if not steps or any(begin <= time < end for begin, end in steps)
    ]
    return max(peaks, default=None)


def _levels(roots: Iterable[Any], lived: int) -> Iterator[tuple[int, int, int]]:
    """Every allocation and release in order: its time, and the bytes that live before and after it."""
    changes: list[tuple[int, int, int]] = []
    for event in _all(roots):
        kind, fields = event.typed
        if kind.name == _ALLOCATION and fields.device.type == "cpu":
            changes.append((event.start_time_ns, fields.ptr, fields.alloc_size))
    live, sizes = lived, dict[int, int]()
    for time, address, change in sorted(changes, key=itemgetter(0)):
        before = live
        if change > 0:
            sizes[address] = change
            live += change
        else:
            live -= sizes.pop(address, 0)
        yield time, before, live


def _all(roots: Iterable[Any]) -> Iterator[Any]:
    """Events, and those inside them."""
    waiting = list(roots)
    while waiting:
        event = waiting.pop()
        yield event
        waiting += event.children
