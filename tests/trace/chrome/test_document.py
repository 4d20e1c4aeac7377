"""A document and its events, whatever becomes of these: a sink of the test takes them as they come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.trace.chrome.document import CHUNK, Document
from perfkit.trace.chrome.events import Event, decode
from perfkit.trace.chrome.window import Window


class Sink:
    """Keeps the names of the events, handed over by handed over."""

    def __init__(self) -> None:
        self.names: list[str] = []

    @staticmethod
    def decode(text: bytes | memoryview) -> list[Event]:
        return decode(text)

    def add(self, events: list[Event]) -> None:
        self.names += [str(event.name) for event in events]


def read(text: bytes, chunk: int) -> tuple[Document[Any], list[str]]:
    """The document, and the names of its events."""
    sink = Sink()
    document = Document(Window(iter([text]), chunk), "t.json", sink)
    document.read()
    return document, sink.names


def listed(*names: str) -> str:
    """An array of events."""
    return json.dumps([{"ph": "X", "name": name, "ts": 1, "dur": 1} for name in names])


@pytest.mark.parametrize("chunk", [1, 40, CHUNK])
def test_members_before_and_after_the_events_are_kept(chunk):
    """GIVEN members on both sides of the events WHEN read THEN all are there, and the events in their order"""
    text = f'{{"schemaVersion": 1, "traceEvents": {listed("a", "b", "c")}, "traceName": "t"}}'
    document, names = read(text.encode(), chunk)
    assert names == ["a", "b", "c"]
    assert document.members == {"schemaVersion": 1, "traceName": "t"}
    assert (document.has_events, document.truncated_at, document.repairs) == (True, None, {})


@pytest.mark.parametrize("chunk", [1, 40, CHUNK])
def test_a_cut_file_has_its_whole_events_and_the_place_where_they_end(chunk):
    """GIVEN a document that ends in its second event WHEN read THEN the first is there, and where it ended is said"""
    whole = b'{"traceEvents": ' + listed("a", "b").encode()
    end = whole.index(b"}") + 1
    document, names = read(whole[: end + 20], chunk)
    assert names == ["a"]
    assert document.truncated_at == end


@pytest.mark.parametrize("chunk", [1, 40, CHUNK])
@pytest.mark.parametrize("last", [False, True])
def test_text_that_is_no_event_ends_nothing_but_the_last_ends_the_array(chunk, last):
    """GIVEN an event that no mending saves, among others or as the last WHEN read THEN the others, and what is behind
    the array, are there"""
    events = ['{"ph":"X","name":"a","ts":1,"dur":1}', '{"ph" 4 nonsense ]}', '{"ph":"X","name":"b","ts":1,"dur":1}']
    if last:
        events = [events[0], events[2], events[1]]
    text = '{"traceEvents": [' + ",\n".join(events) + '], "schemaVersion": 1}'
    document, names = read(text.encode(), chunk)
    assert names == ["a", "b"]
    assert document.members == {"schemaVersion": 1}
    assert document.truncated_at is None
