"""Replays against a machine that runs the program: as it is, and again with some of it taken away."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.replay.device import LEAST_QUEUE
from perfkit.analysis.time.replay.edit import Edit
from perfkit.analysis.time.replay.graph import Graph, graph_of
from perfkit.analysis.time.replay.replay import replay
from perfkit.analysis.time.replay.times import times_of
from tests.reference.machine import Action, Machine, faster, program, without


def graph(steps: list[tuple[Action, ...]], queue: int = 10**9) -> tuple[Graph, int]:
    """The graph of what a machine recorded, and the time that it took."""
    machine = Machine(queue)
    total = machine.run(steps)
    trace = machine.trace.build()
    return graph_of(trace, attribute(trace), least_queue=min(queue, LEAST_QUEUE)), total


def names_in(steps: list[tuple[Action, ...]], what: str) -> list[str]:
    found: set[str] = set()

    def look(actions: tuple[Action, ...]) -> None:
        for one in actions:
            found.update({one.name} if one.what == what else ())
            look(one.inside)

    for step in steps:
        look(step)
    return sorted(found)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_a_replay_is_what_the_machine_did(seed):
    """GIVEN a random program on two threads and two streams WHEN replayed THEN each step is right to the nanosecond"""
    steps = program(random.Random(seed))
    one, total = graph(steps)
    base = replay(one)
    assert base.replayed.tolist() == base.measured.tolist()
    assert base.pace.tolist() == base.measured_pace.tolist()
    assert int(base.times.time.max()) == total


@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.7))
@settings(max_examples=300, deadline=None)
def test_operators_taken_away(seed, share):
    """GIVEN a replay without some operators THEN it is what the machine does when it runs the program without them"""
    rng = random.Random(seed)
    steps = program(rng)
    one, _ = graph(steps)
    gone = {name for name in names_in(steps, "op") if rng.random() < share}
    expected = Machine().run(without(steps, gone))
    edit = Edit(host=one.attribution.host.matching(lambda name: name in gone))
    times = times_of(one, edit)
    _, end = one.borders
    assert int(max(times.time[end].max(), times.time[one.first_event :].max())) == expected


@given(seed=st.integers(0, 10**6), factor=st.sampled_from([0.5, 2.0]))
@settings(max_examples=300, deadline=None)
def test_kernels_made_faster_or_slower(seed, factor):
    """GIVEN a replay with some kernels at half or twice their time THEN it is what the machine does with such"""
    rng = random.Random(seed)
    steps = program(rng)
    one, _ = graph(steps)
    changed = {name for name in names_in(steps, "launch") if rng.random() < 0.5}
    expected = Machine().run(faster(steps, changed, factor))
    device = np.array([name.split()[0] in changed for name in one.trace.device_names()], dtype=bool)
    times = times_of(one, Edit(device=device, factor=factor))
    _, end = one.borders
    assert int(max(times.time[end].max(), times.time[one.first_event :].max())) == expected


@pytest.mark.parametrize("limit", [4, 30])
def test_a_queue_of_limited_length(limit):
    """GIVEN a device that is behind and a full queue WHEN every third launch is taken away THEN it stays right"""
    launches = [Action("op", f"op{k}", 4, inside=(Action("launch", f"k{k}", 100 + k),)) for k in range(80)]
    steps = [tuple(launches)] * 2
    one, total = graph(steps, queue=limit)
    assert [queue.limit for queue in one.queues] == [limit]
    assert int(replay(one).times.time.max()) == total
    gone = {f"op{k}" for k in range(0, 80, 3)}
    expected = Machine(limit).run(without(steps, gone))
    times = times_of(one, Edit(host=one.attribution.host.matching(lambda name: name in gone)))
    assert int(times.time.max()) == expected
