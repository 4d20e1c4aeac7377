"""Perfetto's own format: times, texts, pieces."""

from __future__ import annotations

import numpy as np

from perfkit.export.perfetto import protobuf
from perfkit.export.perfetto.protobuf import ProtobufWriter
from perfkit.export.perfetto.tracks import CHUNK
from perfkit.trace.columns import ReadFacts
from tests.analysis.time.idle.traces import account_of
from tests.builders import TraceBuilder
from tests.export.perfetto.reading import exported, shown, timeline


class Pieces:
    """A file that only remembers how much was written at once."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def write(self, data: bytes, /) -> int:
        self.sizes.append(len(data))
        return len(data)


def test_the_file_is_written_in_pieces():
    """GIVEN ten chunks of values WHEN written THEN no piece holds more than a chunk of them"""
    file, rows = Pieces(), 10 * CHUNK
    writer = ProtobufWriter(file)
    writer.counter(writer.group("g"), "c", 0, "", np.arange(rows), np.arange(rows))
    assert len(file.sizes) > 10
    assert max(file.sizes) < 1.2 * sum(file.sizes) / 10


def test_slices_that_are_open_between_pieces_stay_open(monkeypatch):
    """GIVEN pieces of two rows WHEN three ranges nest THEN they end where they should"""
    monkeypatch.setattr("perfkit.export.perfetto.tracks.CHUNK", 2)
    b = TraceBuilder().range("a", 0, 100).range("b", 10, 90).range("c", 20, 30).range("d", 40, 50).range("e", 95, 99)
    assert [(s.name, s.end, s.depth) for s in shown(b).of("cpu_op")] == [
        ("a", 100, 0), ("b", 90, 1), ("c", 30, 2), ("d", 50, 2), ("e", 99, 1)
    ]  # fmt: skip


def test_times_before_zero_are_moved():
    """GIVEN a recording that begins at -5 ns WHEN exported THEN it begins at 0: there are no times below it"""
    found = shown(TraceBuilder().range("a", -5, 5).range("b", 7, 9))
    assert [(s.name, s.start, s.end) for s in found.of("cpu_op")] == [("a", 0, 10), ("b", 12, 14)]


def test_the_file_says_what_time_it_was():
    """GIVEN a file whose time 0 is known WHEN exported THEN Perfetto's clock and Unix time are tied there"""
    found = shown(TraceBuilder(facts=ReadFacts(base_time_ns=1_700_000_000_000_000_000)).range("a", 5, 6))
    assert found.clocks == {6: 0, 1: 1_700_000_000_000_000_000}


def test_any_text_can_be_written():
    """GIVEN half a surrogate pair, a name of 60,000 letters and one of none WHEN exported THEN each is there once"""
    names = ["a\ud800b", "x" * 60_000, "", "<script>"]
    b = TraceBuilder()
    for at, name in enumerate(names):
        b.range(name, 10 * at, 10 * at + 5).range(name, 10 * at + 6, 10 * at + 8)
    data = exported(account_of(b))
    assert [s.name for s in timeline(data).of("cpu_op")][::2] == ["a?b", "x" * 60_000, "", "<script>"]
    assert len(data) < 70_000


def test_units_of_counters():
    found = shown(TraceBuilder().launched("a", 0, 10, 20))
    [depth] = (track for number, track in found.tracks.items() if number in found.counters)
    assert depth.unit == str(protobuf._UNITS[""])
