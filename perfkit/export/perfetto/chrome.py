"""Chrome's JSON, for tools that read no protobuf: complete events, counters, arrows; times in us with three digits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.export.perfetto.tracks import CHUNK, Flows, Output, Slices, Track, Writer


class ChromeWriter(Writer):
    """Writes one event a line. Groups are processes and tracks are threads there, numbered by perfkit.

    Readers hold times as floating-point numbers, so they count from `first`, whose Unix time goes into the file where
    `unix_ns`, that of time 0, is known.
    """

    def __init__(self, file: Output, first: int = 0, unix_ns: int | None = None) -> None:
        super().__init__()
        self._file, self._first = file, first
        self._has_events = False
        base = {} if unix_ns is None else {"baseTimeNanoseconds": unix_ns + first}
        head = json.dumps({"displayTimeUnit": "ns", **base, "traceEvents": []})
        self._file.write(head.removesuffix("]}").encode())

    def close(self) -> None:
        """Close the list of events."""
        self._file.write(b"\n]}\n")

    def _write(self, events: list[str]) -> None:
        if events:
            text = (",\n" if self._has_events else "\n") + ",\n".join(events)
            self._file.write(text.encode("utf-8", "replace"))
            self._has_events = True

    def _us(self, ns: int) -> str:
        return f"{ns // 1000}.{ns % 1000:03d}"

    def _place(self, track: Track) -> str:
        return f'"pid":{track.root},"tid":{track.uuid}'

    def _track(self, track: Track) -> None:
        if track.unit is None:
            kind, place = "thread" if track.parent else "process", self._place(track)
            told = {"name": track.name, "sort_index": track.rank}
            self._write(
                [
                    f'{{"ph":"M","name":"{kind}_{what}",{place},"args":{json.dumps({what: value})}}}'
                    for what, value in told.items()
                ]
            )

    def _slices(self, track: Track, slices: Slices) -> None:
        for chunk in slices.chunks():
            self._write(list(self._events(track, chunk)))

    def _events(self, track: Track, slices: Slices) -> Iterator[str]:
        place, values = self._place(track), [arg.value.tolist() for arg in slices.args]
        columns = (slices.start, slices.end, slices.name, slices.category)
        for row, (start, end, name, category) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            args: dict[str, Any] = {}
            for arg, value in zip(slices.args, values, strict=True):
                if value[row] != NONE:
                    text = value[row] if arg.texts is None else arg.texts[value[row]]
                    args[arg.name] = json.loads(str(text)) if arg.is_json else text
            at = self._us(start - self._first)
            yield (
                f'{{"ph":"X","cat":{json.dumps(slices.categories[category])},"name":{json.dumps(slices.names[name])},'
                f'{place},"ts":{at},"dur":{self._us(end - start)},"args":{json.dumps(args)}}}'
            )
            for flow in slices.flows:
                yield from self._arrows(flow, row, place, at)

    def _arrows(self, flow: Flows, row: int, place: str, at: str) -> Iterator[str]:
        end = '"ph":"f","bp":"e"' if flow.is_end else '"ph":"s"'
        for number in flow.of(row):
            yield f'{{{end},"id":{number},{place},"ts":{at},"cat":"{flow.kind}","name":"{flow.kind}"}}'

    def _counter(self, track: Track, time: Ints, value: npt.NDArray[np.generic]) -> None:
        name = json.dumps(f"{track.name} ({track.unit})" if track.unit else track.name)
        for begin in range(0, len(time), CHUNK):
            rows = slice(begin, begin + CHUNK)
            self._write(
                [
                    f'{{"ph":"C","name":{name},"pid":{track.root},"ts":{self._us(at - self._first)},'
                    f'"args":{{"value":{json.dumps(number)}}}}}'
                    for at, number in zip(time[rows].tolist(), value[rows].tolist(), strict=True)
                ]
            )
