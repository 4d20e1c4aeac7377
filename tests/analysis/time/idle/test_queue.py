"""Launches and the queue of a device."""

from __future__ import annotations

from perfkit.analysis.time.idle.queue import queue_table
from tests.analysis.time.idle.traces import account_of
from tests.builders import TraceBuilder


def test_launches_and_the_queue():
    """GIVEN a step with two launches at once, the second one waiting WHEN told THEN rate, latency, wait and depth

    From 10 to 20 nothing else is queued, from 20 to 40 the second; the gap ends 10 ns after the first launch.
    """
    b = TraceBuilder().step(0, 0, 100).launched("a", 10, 20, 40).launched("b", 12, 40, 50)
    [row] = queue_table(account_of(b).partial).frame.to_dict("records")
    assert (row["device"], row["step"], row["launches"], row["launches_per_s"]) == ("0", 0, 2, 2e7)
    assert (row["latency_mean_ns"], row["latency_min_ns"], row["latency_max_ns"]) == (10, 10, 10)
    assert (row["wait_mean_ns"], row["depth_mean"], row["depth_max"]) == (19, 0.38, 2)
    assert row["queued_share"] == 0.3


def test_a_step_without_launches_has_no_latency():
    b = TraceBuilder().step(0, 0, 50).step(1, 50, 100).launched("a", 10, 20, 90)
    frame = queue_table(account_of(b).partial).frame
    assert frame["launches"].tolist() == [1, 0]
    assert frame["latency_min_ns"].isna().tolist() == [False, True]
    assert frame["queued_share"].tolist() == [0.2, 0.0]


def test_work_that_seems_to_start_before_its_launch_did_not_wait():
    """GIVEN clocks that differ, so that a kernel starts 3 ns before its call WHEN told THEN it was never queued"""
    frame = queue_table(account_of(TraceBuilder().launched("a", 5, 5, 10).launched("b", 15, 12, 20)).partial).frame
    assert frame[["wait_mean_ns", "depth_max", "latency_min_ns"]].to_numpy().tolist() == [[0, 0, 0]]
