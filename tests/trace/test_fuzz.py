"""Damaged input gives a Trace or a UsageError, nothing else. scripts/fuzz-reader goes on for as long as wanted."""

from __future__ import annotations

import contextlib
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.errors import UsageError
from perfkit.trace.byte_stream import StreamFacts, unpacked
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.chrome.times import RoundedError
from perfkit.trace.columns import Trace
from tests.trace.chrome_reference import equal
from tests.trace.trace_damage import TOKENS, damaged, packed, small_trace

SMALL = small_trace(6)
ROWS = 12
EVENTS = slice(SMALL.index(b'"traceEvents"') + 20, SMALL.index(b'"traceName"') - 5)


def read(data: bytes, chunk: int) -> Trace | None:
    """The trace; None where an error of one line says why there is none. Times as floats make no difference."""
    found = attempt(data, chunk, floats=False)
    with contextlib.suppress(RoundedError):
        as_floats = attempt(data, chunk, floats=True)
        same = isinstance(as_floats, Trace) and isinstance(found, Trace) and equal(as_floats, found)
        assert same or as_floats == found
    if isinstance(found, Trace):
        return found
    assert found
    assert len(found.splitlines()) == 1
    return None


def attempt(data: bytes, chunk: int, *, floats: bool) -> Trace | str:
    facts = StreamFacts()
    try:
        pieces = unpacked(io.BytesIO(data), "t", facts)
        return read_chrome_json(pieces, "t", chunk=chunk, repairs=facts.repairs, floats=floats)
    except UsageError as error:
        return str(error)


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from([1, 16, 300, 5000, 1 << 19]))
def test_any_damage_gives_a_trace_or_a_usage_error(seed: int, chunk: int) -> None:
    draw = random.Random(seed)
    trace = read(packed(damaged(SMALL, draw), draw), chunk)
    if trace is not None:
        assert (trace.host.end >= trace.host.start).all()
        assert (trace.device.end >= trace.device.start).all()


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_give_a_trace_or_a_usage_error(data: bytes, chunk: int) -> None:
    read(data, chunk)
    read(b'{"traceEvents": [' + data, chunk)


@pytest.mark.parametrize("chunk", [500, 1 << 19])
@pytest.mark.parametrize("kind", ["flip", "insert", "delete", "repeat"])
def test_one_damaged_place_costs_two_events_at_most(kind: str, chunk: int) -> None:
    for seed in range(150):
        draw = random.Random(seed)
        at = draw.randrange(EVENTS.start, EVENTS.stop - (150 if kind in ("delete", "repeat") else 0))
        data = {
            "flip": SMALL[:at] + bytes([draw.randrange(256)]) + SMALL[at + 1 :],
            "insert": SMALL[:at] + draw.choice(TOKENS) + SMALL[at:],
            "delete": SMALL[:at] + SMALL[at + draw.choice((1, 10, 150)) :],
            "repeat": SMALL[: at + 100] + SMALL[at:],
        }[kind]
        trace = read(data, chunk)
        assert trace is not None, seed
        assert len(trace.host) + len(trace.device) >= ROWS - 2, seed
        assert trace.facts.truncated_at is None, seed
