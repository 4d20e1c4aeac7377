"""A trace's columns: what they are without rows, and how long a name is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perfkit.trace import columns
from perfkit.trace.columns import (
    AutogradFlows,
    DeviceEvents,
    HostRanges,
    ReadFacts,
    Thread,
    Trace,
    column_dtype,
    empty,
)
from perfkit.trace.recording import Recording, Tool


def named(*names: str) -> Trace:
    recording = Recording(Tool.KINETO)
    return Trace("x", names, (), empty(HostRanges), empty(DeviceEvents), empty(AutogradFlows), recording)


@pytest.mark.parametrize("length", [0, 1, 65_535, 65_536])
def test_names_up_to_64_ki_characters_are_kept(length: int) -> None:
    assert named("n" * length, "a").names == ("n" * length, "a")


def test_longer_names_are_cut_to_as_much_and_stay_different() -> None:
    """GIVEN names that differ in their last character WHEN cut THEN each says its length, and they differ"""
    first, second, short = named("n" * 65_536 + "a", "n" * 65_536 + "b", "s").names
    assert (len(first), len(second), short) == (65_536, 65_536, "s")
    assert first != second
    assert first.startswith("n" * 65_000 + "n")
    assert "... (65,537 characters, hash " in first
    assert named("n" * 65_536 + "a").names[0] == first
    assert len(first.rpartition("hash ")[2]) == 16 + 1  # 8 bytes in hexadecimal, and a parenthesis
    assert len(named("\ud800" * 65_537).names[0]) == 65_536


@pytest.mark.parametrize("kind", [HostRanges, DeviceEvents, AutogradFlows])
def test_no_rows(kind: type[HostRanges] | type[DeviceEvents] | type[AutogradFlows]) -> None:
    """GIVEN nothing THEN columns of the types that their annotations name"""
    none = empty(kind)
    assert len(none) == 0
    types = {"Int32s": np.int32, "Int64s": np.int64, "Bytes": np.uint8, "npt.NDArray[np.bool_]": np.bool_}
    for field in dataclasses.fields(kind):
        assert getattr(none, field.name).dtype == column_dtype(field.name) == types[str(field.type)]


def test_names_of_rows() -> None:
    trace = named("a", "b")
    host = dataclasses.replace(trace.host, name=np.array([1, 0, 1], np.int32))
    device = dataclasses.replace(trace.device, name=np.array([0, 1], np.int32))
    trace = dataclasses.replace(trace, host=host, device=device)
    assert trace.host_names().tolist() == ["b", "a", "b"]
    assert trace.host_names(np.array([1, 2])).tolist() == ["a", "b"]
    assert trace.device_names(slice(1, None)).tolist() == ["b"]


def test_what_a_file_does_not_say() -> None:
    """GIVEN nothing said THEN nothing is claimed, and a time is known to its nanosecond"""
    assert ReadFacts() == ReadFacts(0, {}, {}, (), None, 1, 0, 0, None, {})
    assert Thread(1, 2) == Thread(1, 2, "")
    trace = named()
    assert (trace.facts, trace.origin) == (ReadFacts(), None)
    assert (columns.MISSING, columns.MAX_NS) == (-1, 2**61)
