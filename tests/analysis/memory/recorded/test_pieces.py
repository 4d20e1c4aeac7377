"""Allocations and frees are paired by address, and the peak is that of a replay of the events."""

from __future__ import annotations

import random
from typing import Any

import pytest

from perfkit.analysis.memory.lifetimes import ALWAYS, STILL
from perfkit.analysis.memory.recorded import live, pieces, snapshot
from tests.analysis.memory.recorded.snapshots import block, columns, event, pickled
from tests.reference import memory_replay


def rows(raw: dict[str, Any]) -> list[tuple[int, ...]]:
    found, _ = pieces.of_snapshot(columns(raw))
    parts = (found.device, found.address, found.size, found.begin, found.end)
    return list(zip(*(part.tolist() for part in parts), strict=True))


def test_an_address_is_used_again():
    """GIVEN two pieces at one address, WHEN paired, THEN each ends with its own free, not with what is requested."""
    events = [
        event("alloc", 8, 100), event("free_requested", 8, 100), event("free_completed", 8, 100),
        event("alloc", 8, 30),
    ]  # fmt: skip
    assert rows(pickled(events)) == [(0, 8, 100, 0, 2), (0, 8, 30, 3, STILL)]


def test_what_is_requested_to_be_freed_lives_until_that_is_done():
    """GIVEN a free that other streams hold up to the end, THEN the piece lives, and its block is not one more."""
    events = [event("alloc", 8, 100), event("free_requested", 8, 100)]
    held = [block(8, 100, state="active_pending_free")]
    assert rows(pickled(events, blocks=held)) == [(0, 8, 100, 0, STILL)]


def test_what_lived_before_is_known_by_its_free_or_by_the_segments():
    """GIVEN a free without an alloc, and a block without either, THEN both lived before the first event."""
    events = [event("free_completed", 8, 100), event("alloc", 9, 1)]
    held = [block(9, 1), block(24, 50), block(32, 7, state="inactive"), block(40, 5, state="active_pending_free")]
    assert rows(pickled(events, blocks=held)) == [
        (0, 24, 50, ALWAYS, STILL), (0, 40, 5, ALWAYS, STILL), (0, 8, 100, ALWAYS, 0), (0, 9, 1, 1, STILL),
    ]  # fmt: skip


def test_an_allocation_where_something_lives_ends_it():
    """GIVEN events of which a free was lost, THEN a piece ends where its address is taken; its size is its own."""
    events = [event("alloc", 8, 100), event("alloc", 8, 30), event("free_completed", 8, 999)]
    assert rows(pickled(events)) == [(0, 8, 100, 0, 1), (0, 8, 30, 1, 2)]


def test_devices_have_addresses_of_their_own():
    """GIVEN one address on two devices, THEN a free on the one ends nothing on the other."""
    first, second = [event("alloc", 8, 100)], [event("free_completed", 8, 7), event("alloc", 16, 5)]
    raw = pickled(first, second, blocks=[block(16, 5), block(24, 50)], device=1)
    assert rows(raw) == [(1, 24, 50, ALWAYS, STILL), (1, 8, 7, ALWAYS, 1), (0, 8, 100, 0, STILL), (1, 16, 5, 2, STILL)]


@pytest.mark.parametrize("seed", range(60))
def test_the_peak_is_that_of_a_replay(seed: int):
    """GIVEN random events on few addresses of two devices, with some lost, THEN the peaks are those of a replay."""
    chance = random.Random(seed)
    actions = ("alloc", "free_requested", "free_completed", "segment_alloc")
    devices = [
        [event(chance.choice(actions), chance.randrange(6), chance.randrange(1, 1000)) for _ in range(length)]
        for length in (chance.randrange(1, 40), chance.randrange(40))
    ]
    states = ("inactive", "active_allocated", "active_pending_free")
    held = [block(address, chance.randrange(1, 500), state=chance.choice(states)) for address in range(4, 9)]
    raw = pickled(*devices, blocks=held, device=chance.randrange(2))
    found = {peak.device: peak.bytes for peak in live.peaks(snapshot.lifetimes(columns(raw)))}
    expected = {device: memory_replay.peak(raw, device) for device in (0, 1)}
    assert found == {device: size for device, size in expected.items() if size or device in found}
