"""What the allocator adds to requests, and what it did."""

from __future__ import annotations

import dataclasses
from typing import Any

from perfkit.analysis.memory.recorded import account, allocator, snapshot
from perfkit.analysis.memory.recorded.account import MemoryAccount
from tests.analysis.columns import assert_regular
from tests.analysis.memory.recorded.snapshots import block, columns, event, pickled

MIB = 2**20


def accounted(raw: dict[str, Any]) -> MemoryAccount:
    found = columns(raw)
    lives = snapshot.lifetimes(found)
    return MemoryAccount(lives, account.the_peak(lives), found)


def test_rounding_is_of_blocks_where_they_are_known_and_of_512_bytes_elsewhere():
    """GIVEN a block of 2 MiB for 1 MiB + 1 that lives at the end, one of 700 B that does not, and one of 512 B: the
    first exceeds its request by what is recorded, the second by 324 B, the third by nothing."""
    events = [
        event("alloc", 8, MIB + 1),
        event("alloc", 16, 700),
        event("alloc", 24, 512),
        event("free_completed", 16, 700),
    ]
    held = [block(8, MIB + 1, rounded=2 * MIB), block(24, 512)]
    found = accounted(pickled(events, blocks=held))
    assert found.snapshot is not None
    rounding = allocator.rounding(found.snapshot, found.lives, found.at)
    assert (rounding.bytes, rounding.known) == (MIB - 1 + 324, MIB - 1)


def test_what_was_reserved_at_the_peak_follows_from_the_end():
    """GIVEN 5 MiB at the end, a segment of 2 MiB that came after the peak and one of 3 MiB that went: it had 6 MiB."""
    events = [
        event("segment_alloc", 0, MIB), event("alloc", 8, 10), event("free_completed", 8, 10),
        event("segment_alloc", 0, 2 * MIB), event("segment_free", 0, 3 * MIB),
    ]  # fmt: skip
    found = accounted(pickled(events, total=5 * MIB))
    assert found.snapshot is not None
    assert allocator.reserved(found.snapshot, found.at) == 6 * MIB


def test_a_retry_is_segments_given_back_before_a_new_one_unless_the_user_emptied_the_cache():
    """GIVEN segments given back by the allocator, and by `empty_cache`, each before a new one, THEN one is a retry."""
    emptied = ("c10::cuda::CUDACachingAllocator::Native::NativeCachingAllocator::emptyCache()",)
    events = [
        event("segment_free", 0, MIB), event("segment_free", 0, MIB), event("segment_alloc", 0, MIB),
        event("segment_free", 0, MIB, *emptied), event("segment_alloc", 0, MIB), event("oom", 0, 9 * MIB),
        event("alloc", 8, 10), event("free_requested", 8, 10), event("free_completed", 8, 10), event("alloc", 8, 30),
    ]  # fmt: skip
    found = accounted(pickled(events))
    table = allocator.behaviour(found)
    assert_regular(table)
    counts = table.frame.set_index("what")["count"].to_dict()
    assert counts["retries after giving segments back"] == 1
    assert (counts["out of memory"], counts["segments back to the driver"], counts["allocations"]) == (1, 3, 2)
    assert allocator.churn(found.lives, found.at) == 40 / 30


def test_a_trace_knows_allocations_alone():
    found = dataclasses.replace(
        accounted(pickled([event("alloc", 8, 10), event("free_completed", 8, 10)])), snapshot=None
    )
    assert allocator.behaviour(found).frame.to_numpy().tolist() == [["allocations", 1, 10], ["frees", 1, 10]]
