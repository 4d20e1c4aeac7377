"""Events as PyTorch writes them, a dictionary each, to columns; batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from perfkit.trace.columns import MAX_NS, Bytes, Int32s, Int64s
from perfkit.trace.snapshot.columns import ACTIONS, Action, AllocatorEvents
from perfkit.trace.snapshot.interned import StackNumbers, Texts
from perfkit.trace.snapshot.values import LARGEST, ImplausibleError, integers, items, sizes

_WITHOUT_ADDRESS = (Action.OOM, Action.SNAPSHOT, Action.OTHER)
_LAST_US = MAX_NS // 1000


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some events in a row."""

    action: Bytes
    time: Int64s
    address: Int64s
    size: Int64s
    stream: Int64s
    stack: Int32s
    metadata: Int32s
    compile_context: Int32s


_NAMES = tuple(_Batch.__slots__)


class EventRows:
    """Rows of events, which are taken out of the lists that hold them."""

    def __init__(self, stacks: StackNumbers, texts: Texts) -> None:
        self.has_times = False
        self._stacks, self._texts = stacks, texts
        self._taken: dict[int, tuple[list[Any], list[_Batch]]] = {}

    def take(self, events: list[Any]) -> None:
        """Make rows of all events in a list, and empty it, the events and their stacks; remember which list it was.

        Raises ImplausibleError where one is no event.
        """
        batch = self._batch(events)
        self._taken.setdefault(id(events), (events, []))[1].append(batch)
        for event in events:
            event.clear()
        events.clear()

    def columns(self, device_traces: list[Any]) -> AllocatorEvents:
        """The events of each device, in the order of devices. Raises ImplausibleError as `take` does."""
        batches: list[_Batch] = []
        counts: list[int] = []
        for trace in device_traces:
            if items(trace, "a device's trace"):
                self.take(trace)
            _, taken = self._taken.pop(id(trace), (trace, []))
            batches += taken
            counts.append(sum(len(batch.action) for batch in taken))
        self._taken.clear()
        batches.append(self._batch([]))
        columns = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in _NAMES}
        device = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        if float(columns["size"].sum(dtype=np.float64)) > LARGEST:
            raise ImplausibleError("the sizes of its events sum to more than 2^62 bytes")
        return AllocatorEvents(device=device, **columns)

    def _batch(self, events: list[Any]) -> _Batch:
        if set(map(type, events)) - {dict}:
            raise ImplausibleError("an event is not a dictionary")
        action = _actions(events)
        times = [event.get("time_us", 0) for event in events]
        self.has_times = self.has_times or any("time_us" in event for event in events[:1])
        time = integers(times, "an event's time")
        if len(time) and time.max() > _LAST_US:
            raise ImplausibleError(f"an event's time is {time.max()} us")
        stack_of = self._stacks.of
        return _Batch(
            action=action,
            time=time * 1000,
            address=_addresses(events, action),
            size=sizes([event.get("size") for event in events], "an event's size"),
            stream=integers([event.get("stream", 0) for event in events], "an event's stream", least=-(2**63)),
            stack=np.array([stack_of(event.get("frames")) for event in events], np.int32),
            metadata=self._numbers(events, "user_metadata"),
            compile_context=self._numbers(events, "compile_context"),
        )

    def _numbers(self, events: list[Any], name: str) -> Int32s:
        """Texts alone: what else an event may carry there says nothing to perfkit."""
        texts = [text if type(text := event.get(name)) is str else None for event in events]
        return np.array(self._texts.of(texts, f"an event's {name}"), np.int32)


def _actions(events: list[Any]) -> Bytes:
    words = [event.get("action") for event in events]
    if set(map(type, words)) - {str}:
        raise ImplausibleError("an event has no action")
    return np.array([ACTIONS.get(word, Action.OTHER) for word in words], np.uint8)


def _addresses(events: list[Any], action: Bytes) -> Int64s:
    """Of an event that is out of memory: what the device had free."""
    found = [event.get("addr", event.get("device_free")) for event in events]
    if None in found:
        for row, value in enumerate(found):
            if value is None and action[row] in _WITHOUT_ADDRESS:
                found[row] = 0
    return integers(found, "an event's address")
