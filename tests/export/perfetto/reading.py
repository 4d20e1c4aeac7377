"""Reads files for Perfetto back, as its trace processor does: from the messages alone, with nothing of perfkit's."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from perfkit.analysis.time.account import Account
from perfkit.export.perfetto.export import export
from perfkit.schema.finding import Finding
from perfkit.trace.detail_columns import Details
from tests.analysis.time.idle.traces import account_of
from tests.builders import TraceBuilder


@dataclass
class Slice:
    track: int
    start: int
    name: str
    category: str
    args: dict[str, Any]
    flows: tuple[int, ...]
    depth: int
    end: int = -1


@dataclass
class Track:
    name: str
    parent: int
    row: int
    unit: str = ""


@dataclass
class Timeline:
    tracks: dict[int, Track] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)
    counters: dict[int, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    clocks: dict[int, int] = field(default_factory=dict)

    def path(self, track: int) -> str:
        """Names of the groups and the track."""
        there = self.tracks[track]
        return (self.path(there.parent) + " / " if there.parent else "") + there.name

    def on(self, *words: str) -> list[Slice]:
        """Slices of the tracks that have these words in their path, by start."""
        chosen = [slice_ for slice_ in self.slices if all(word in self.path(slice_.track) for word in words)]
        return sorted(chosen, key=lambda slice_: (slice_.start, slice_.depth))

    def of(self, *categories: str) -> list[Slice]:
        """Slices of some categories, in the order of the file."""
        return [slice_ for slice_ in self.slices if slice_.category in categories]

    def counter(self, *words: str) -> list[tuple[int, float]]:
        """The values of the one counter that has these words in its path."""
        [found] = (values for track, values in self.counters.items() if all(w in self.path(track) for w in words))
        return found


def timeline(data: bytes) -> Timeline:
    """The file's tracks. Fails where slices of a track do not nest, or a text is used before it is written."""
    trace = Trace()
    trace.ParseFromString(data)
    result = Timeline()
    texts: dict[tuple[str, int], str] = {}
    stacks: dict[int, list[Slice]] = defaultdict(list)
    latest: dict[int, int] = defaultdict(int)
    for packet in trace.packet:
        texts.update(_interned(packet.interned_data))
        if packet.HasField("clock_snapshot"):
            result.clocks.update({clock.clock_id: clock.timestamp for clock in packet.clock_snapshot.clocks})
        if packet.HasField("track_descriptor"):
            told = packet.track_descriptor
            unit = told.counter.unit_name or str(told.counter.unit)
            result.tracks[told.uuid] = Track(told.name, told.parent_uuid, told.sibling_merge_key_int, unit)
        if packet.HasField("track_event"):
            event = packet.track_event
            assert event.track_uuid in result.tracks
            assert packet.timestamp >= latest[event.track_uuid]
            latest[event.track_uuid] = packet.timestamp
            _add(result, stacks[event.track_uuid], packet.timestamp, event, texts)
    assert not any(stacks.values()), "a slice has no end"
    return result


def _add(result: Timeline, stack: list[Slice], time: int, event: Any, texts: dict[tuple[str, int], str]) -> None:
    if event.type == TrackEvent.TYPE_SLICE_BEGIN:
        args = {texts["arg", arg.name_iid]: _value(arg, texts) for arg in event.debug_annotations}
        [category] = event.category_iids
        name, category = texts["name", event.name_iid], texts["category", category]
        stack.append(Slice(event.track_uuid, time, name, category, args, tuple(event.flow_ids), len(stack)))
        result.slices.append(stack[-1])
    elif event.type == TrackEvent.TYPE_SLICE_END:
        stack.pop().end = time
    elif event.type == TrackEvent.TYPE_COUNTER:
        is_whole = event.HasField("counter_value")
        result.counters[event.track_uuid].append(
            (time, event.counter_value if is_whole else event.double_counter_value)
        )
    else:
        raise AssertionError(event.type)


def _value(arg: Any, texts: dict[tuple[str, int], str]) -> Any:
    return arg.int_value if arg.HasField("int_value") else texts["text", arg.string_value_iid]


def _interned(data: Any) -> Iterator[tuple[tuple[str, int], str]]:
    for kind, entries in (
        ("name", data.event_names),
        ("category", data.event_categories),
        ("arg", data.debug_annotation_names),
    ):
        yield from (((kind, entry.iid), entry.name) for entry in entries)
    yield from ((("text", entry.iid), entry.str.decode()) for entry in data.debug_annotation_string_values)


def exported(
    account: Account, findings: Sequence[Finding] = (), details: Details | None = None, name: str = "out"
) -> bytes:
    """The bytes of an account's export."""
    file = io.BytesIO()
    export(account, findings, details, file, name)
    return file.getvalue()


def shown(b: TraceBuilder, findings: Sequence[Finding] = ()) -> Timeline:
    """What a test built, exported and read back."""
    return timeline(exported(account_of(b), findings))
