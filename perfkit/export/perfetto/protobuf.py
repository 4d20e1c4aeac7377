"""Perfetto's own format: a stream of TracePackets, with texts that are written once each ("interned")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (
    CounterDescriptor,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.export.perfetto.tracks import CHUNK, Output, Slices, Track, Writer

_SEQUENCE = 1
"""All packets are of one sequence, in which numbers of texts hold."""
_BOOTTIME, _REALTIME = 6, 1
"""Perfetto's numbers of clocks: the one that timestamps are in, and Unix time."""
_BEGIN, _END, _COUNTER = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_SLICE_END, TrackEvent.TYPE_COUNTER
_NEEDS_STATE = TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
_UNITS = {"B": CounterDescriptor.UNIT_SIZE_BYTES, "": CounterDescriptor.UNIT_COUNT}


class ProtobufWriter(Writer):
    """Writes a piece of the file for each chunk of rows: pieces of a Trace message are, one after the other, a Trace.

    `zero` is added to all times, which may not be below 0 there. `unix_ns` is the Unix time of time 0, where known.
    """

    def __init__(self, file: Output, zero: int = 0, unix_ns: int | None = None) -> None:
        super().__init__()
        self._file, self._zero = file, zero
        self._iids: dict[str, dict[str, int]] = {}
        builder = TraceProtoBuilder()
        packet = _packet(builder)
        packet.sequence_flags = TracePacket.SEQ_INCREMENTAL_STATE_CLEARED | _NEEDS_STATE
        packet.first_packet_on_sequence = True
        if unix_ns is not None and unix_ns > zero:
            clocks = _packet(builder).clock_snapshot.clocks
            clocks.add(clock_id=_BOOTTIME, timestamp=zero)
            clocks.add(clock_id=_REALTIME, timestamp=unix_ns)
        self._write(builder)

    def close(self) -> None:
        """Nothing is left: every piece is complete."""

    def _write(self, builder: TraceProtoBuilder) -> None:
        self._file.write(builder.serialize())

    def _track(self, track: Track) -> None:
        builder = TraceProtoBuilder()
        descriptor = _packet(builder).track_descriptor
        descriptor.uuid, descriptor.name, descriptor.sibling_order_rank = track.uuid, _utf8(track.name), track.rank
        descriptor.child_ordering = TrackDescriptor.EXPLICIT
        if track.parent:
            descriptor.parent_uuid = track.parent
        if track.row:
            descriptor.sibling_merge_behavior = TrackDescriptor.SIBLING_MERGE_BEHAVIOR_BY_SIBLING_MERGE_KEY
            descriptor.sibling_merge_key_int = track.row
        else:
            descriptor.sibling_merge_behavior = TrackDescriptor.SIBLING_MERGE_BEHAVIOR_NONE
        if track.unit in _UNITS:
            descriptor.counter.unit = _UNITS[track.unit]
        elif track.unit is not None:
            descriptor.counter.unit_name = track.unit
        self._write(builder)

    def _slices(self, track: Track, slices: Slices) -> None:
        open_ends: list[int] = []
        for chunk in slices.chunks():
            builder = TraceProtoBuilder()
            interned = _packet(builder)
            fill = self._filling(chunk, interned)
            for row, (start, end) in enumerate(zip(chunk.start.tolist(), chunk.end.tolist(), strict=True)):
                while open_ends and open_ends[-1] <= start:
                    self._event(builder, open_ends.pop(), track, _END)
                fill(self._event(builder, start, track, _BEGIN), row)
                open_ends.append(end)
            self._write(builder)
        builder = TraceProtoBuilder()
        while open_ends:
            self._event(builder, open_ends.pop(), track, _END)
        self._write(builder)

    def _event(self, builder: TraceProtoBuilder, time: int, track: Track, kind: Any) -> Any:
        packet = _packet(builder)
        packet.timestamp = time + self._zero
        event = packet.track_event
        event.type, event.track_uuid = kind, track.uuid
        return event

    def _filling(self, slices: Slices, interned: Any) -> Callable[[Any, int], None]:
        """A function that gives an event what a slice has beside its time; texts that are new go into the packet."""
        texts = interned.interned_data
        name = self._interned(texts.event_names, "name", slices.name, slices.names)
        category = self._interned(texts.event_categories, "category", slices.category, slices.categories)
        numbers, codes = [], []
        for arg in slices.args:
            [iid] = self._interned(texts.debug_annotation_names, "arg", np.zeros(1, np.int64), (arg.name,))
            if arg.texts is None:
                numbers.append((iid, arg.value.tolist()))
            else:
                values = self._interned(texts.debug_annotation_string_values, "text", arg.value, arg.texts)
                codes.append((iid, values))

        def fill(event: Any, row: int) -> None:
            event.name_iid = name[row]
            event.category_iids.append(category[row])
            for iid, values in numbers:
                if values[row] != NONE:
                    event.debug_annotations.add(name_iid=iid, int_value=values[row])
            for iid, values in codes:
                if values[row]:
                    event.debug_annotations.add(name_iid=iid, string_value_iid=values[row])
            for flow in slices.flows:
                if flow.last[row] > flow.first[row]:
                    event.flow_ids.extend(flow.of(row))

        return fill

    def _interned(self, entries: Any, kind: str, codes: Ints, texts: Sequence[str]) -> list[int]:
        """The number of each row's text, 0 for NONE; those that are new are added to the entries of the packet."""
        known = self._iids.setdefault(kind, {})
        used, place = np.unique(codes, return_inverse=True)
        numbers = np.zeros(len(used), dtype=np.int64)
        for row, code in enumerate(used.tolist()):
            if code == NONE:
                continue
            text = texts[code]
            if text not in known:
                known[text] = len(known) + 1
                entry = entries.add(iid=known[text])
                if kind == "text":
                    entry.str = text.encode("utf-8", "replace")
                else:
                    entry.name = _utf8(text)
            numbers[row] = known[text]
        found: list[int] = numbers[place].tolist()
        return found

    def _counter(self, track: Track, time: Ints, value: npt.NDArray[Any]) -> None:
        is_whole = np.issubdtype(value.dtype, np.integer)
        for begin in range(0, len(time), CHUNK):
            builder, rows = TraceProtoBuilder(), slice(begin, begin + CHUNK)
            for at, number in zip(time[rows].tolist(), value[rows].tolist(), strict=True):
                event = self._event(builder, at, track, _COUNTER)
                if is_whole:
                    event.counter_value = number
                else:
                    event.double_counter_value = number
            self._write(builder)


def _packet(builder: TraceProtoBuilder) -> Any:
    packet = builder.add_packet()
    packet.trusted_packet_sequence_id, packet.sequence_flags = _SEQUENCE, _NEEDS_STATE
    return packet


def _utf8(text: str) -> str:
    """The text, with `?` for halves of surrogate pairs, which no protobuf holds."""
    return text.encode("utf-8", "replace").decode()
