"""An entry of the cache: a trace and back, every byte of it under a checksum. Attacks: test_cache_attacked."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest

from perfkit.trace import cache_entry
from perfkit.trace.columns import Trace, TraceDevice
from tests.builders import TraceBuilder

NAME = "a" * 64


def trace() -> Trace:
    return TraceBuilder().step(1, 0, 50).module("net", 5, 40).launched("kernel", 10, 20, 30).build()


def entry() -> bytes:
    return b"".join(cache_entry.encode(NAME, trace()))


def test_a_trace_comes_back_as_it_was_under_the_files_present_name():
    again = cache_entry.decode(entry(), NAME, "moved.json")
    before = trace()
    for part in ("host", "device", "flows"):
        one, other = getattr(before, part), getattr(again, part)
        for field in dataclasses.fields(one):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name))
    assert (again.names, again.threads, again.source) == (before.names, before.threads, "moved.json")


def test_what_was_not_known_comes_back():
    facts = msgspec.structs.replace(trace().facts, ignored={"npu": 3}, unknown={"npu": (2, 700)})
    whole = b"".join(cache_entry.encode(NAME, dataclasses.replace(trace(), facts=facts)))
    assert cache_entry.decode(whole, NAME, "t.json").facts == facts


@pytest.mark.parametrize("unknown", [{"npu": (-1, 7)}, {"npu": (1, 2**63)}, {"\x1b": (1, 7)}])
def test_what_no_file_has_as_unknown_is_damage(unknown):
    facts = msgspec.structs.replace(trace().facts, unknown=unknown)
    with pytest.raises(cache_entry.DamagedError):
        cache_entry.decode(
            b"".join(cache_entry.encode(NAME, dataclasses.replace(trace(), facts=facts))), NAME, "t.json"
        )


def test_labels_of_devices_come_back_and_two_alike_are_damage():
    devices = (TraceDevice(0, "[TP00] 0", 0), TraceDevice(1, "[TP01] 0", 0))
    merged = dataclasses.replace(trace(), devices=devices)
    again = cache_entry.decode(b"".join(cache_entry.encode(NAME, merged)), NAME, "t.json")
    assert again.devices == devices
    alike = dataclasses.replace(merged, devices=(devices[0], msgspec.structs.replace(devices[0], number=1)))
    with pytest.raises(cache_entry.DamagedError, match="no trace can have"):
        cache_entry.decode(b"".join(cache_entry.encode(NAME, alike)), NAME, "t.json")


@pytest.mark.parametrize("cut", [0, 1, 63, 64, 65, 66, 1000, -1])
def test_an_entry_cut_anywhere_is_damaged(cut):
    with pytest.raises(cache_entry.DamagedError):
        cache_entry.decode(entry()[:cut], NAME, "t.json")


def test_an_entry_under_another_name_is_damaged():
    with pytest.raises(cache_entry.DamagedError, match="another file"):
        cache_entry.decode(entry(), "b" * 64, "t.json")


def test_a_byte_that_was_changed_anywhere_is_damage():
    whole = entry()
    for place in range(0, len(whole), 97):
        changed = bytearray(whole)
        changed[place] ^= 1
        with pytest.raises(cache_entry.DamagedError):
            cache_entry.decode(bytes(changed), NAME, "t.json")
