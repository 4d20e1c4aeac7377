"""Graphs: which steps are in them, and the order of what is at one instant."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.replay.edit import Edit
from perfkit.analysis.time.replay.graph import graph_of
from perfkit.analysis.time.replay.replay import gain, replay
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder


def steps(count: int) -> TraceBuilder:
    """Steps of 50 ns with two launches each, of work that takes 30 ns together and that they wait for."""
    b = TraceBuilder()
    for step, begin in enumerate(range(0, 50 * count, 50)):
        b.step(step, begin, begin + 50).launched("a", begin + 3, begin + 6, begin + 16)
        b.launched("b", begin + 5, begin + 16, begin + 36)
        b.range("cudaDeviceSynchronize", begin + 12, begin + 38, HostKind.RUNTIME)
    return b


def test_the_first_steps_of_many():
    """GIVEN 5 steps of 2 launches WHEN at most 6 launches are replayed THEN it is the first 3 steps and their work"""
    trace = steps(5).build()
    attribution = attribute(trace)
    one = graph_of(trace, attribution, most_launches=6)
    assert one.numbers == (0, 1, 2)
    assert len(one.work.row) == 6
    assert replay(one).pace.tolist() == [50, 50, 50]
    gained = gain(one, Edit(device=trace.device_names() == "b"))
    whole = gain(graph_of(trace, attribution), Edit(device=trace.device_names() == "b"))
    assert gained == whole


def test_at_least_one_step():
    trace = steps(3).build()
    assert graph_of(trace, attribute(trace), most_launches=1).numbers == (0,)


def test_steps_come_in_the_order_of_time():
    trace = TraceBuilder().step(1, 50, 100).step(0, 0, 40).build()
    one = graph_of(trace, attribute(trace))
    assert [step.name for step in one.steps] == ["ProfilerStep#0", "ProfilerStep#1"]


def test_whole_microseconds():
    """GIVEN a clock so coarse that a launch, its work and the wait for it are at one instant THEN each still follows"""
    b = TraceBuilder().step(0, 0, 9_000)
    for begin in (1_000, 4_000):
        b.range("cudaLaunchKernel", begin, begin, HostKind.RUNTIME, correlation=begin)
        b.event("k", begin, begin + 1_000, correlation=begin)
        b.range("cudaDeviceSynchronize", begin, begin + 1_000, HostKind.RUNTIME)
    trace = b.build()
    one = graph_of(trace, attribute(trace))
    assert replay(one).replayed.tolist() == [9_000]
    gained = gain(one, Edit(device=trace.device_names() == "k"))
    assert gained is not None
    assert gained.ns_per_step == 2_000
