"""Host threads: how long any of their ranges was open."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.threads import thread_table
from perfkit.trace.columns import Trace
from tests.analysis import columns
from tests.builders import TraceBuilder


def test_threads_have_the_time_that_any_of_their_ranges_was_open():
    """GIVEN nested ranges on one thread, and on another some that cross, touch, lie apart and have no length
    WHEN tabled THEN each instant counts once: 0 to 20, 20 to 25 and 40 to 50"""
    b = TraceBuilder().range("a", 0, 100).range("b", 10, 30).range("c", 150, 200)
    for start, end in ((0, 10), (5, 20), (20, 25), (30, 30), (40, 50)):
        b.range("other", start, end, thread=1)
    trace = named(b.build(), "", "pt_autograd_0")
    table = thread_table(account_for(trace, attribute(trace)).partial)
    assert table.frame[["thread", "role", "ranges", "busy_ns"]].to_numpy().tolist() == [
        ["1/1", "main", 3, 150],
        ["1/2 pt_autograd_0", "other", 5, 35],
    ]
    assert (table.name, table.title) == ("threads", "Host threads")
    columns.assert_regular(table)


def named(trace: Trace, *names: str) -> Trace:
    threads = tuple(
        msgspec.structs.replace(thread, name=name) for thread, name in zip(trace.threads, names, strict=True)
    )
    return replace(trace, threads=threads)
