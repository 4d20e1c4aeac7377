"""Device events: their order, what streams wait for, and full queues."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.replay.device import Work, last_launched, queues, stream_waits, work_of
from perfkit.analysis.time.replay.graph import FOREVER, graph_of
from perfkit.analysis.time.replay.replay import replay
from perfkit.trace.columns import HostKind
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file

RUNTIME = HostKind.RUNTIME


def work(b: TraceBuilder) -> Work:
    trace = b.build()
    return work_of(trace, attribute(trace), FOREVER)


def waits(b: TraceBuilder) -> set[tuple[str, str]]:
    """(what waits, what it waits for), by name."""
    trace = b.build()
    attribution = attribute(trace)
    names = trace.device_names()
    event, source = stream_waits(attribution, work_of(trace, attribution, FOREVER))
    return {(names[one], names[other]) for one, other in zip(event.tolist(), source.tolist(), strict=True)}


def test_the_order_on_a_stream():
    """GIVEN events of two streams and two devices THEN each follows the one that started before it on its own"""
    b = TraceBuilder().event("b", 20, 30).event("a", 0, 10).event("c", 5, 8, stream=20).event("d", 12, 14, device=1)
    assert work(b).before.tolist() == [1, -1, -1, -1]


def test_work_that_runs_beside_other_work_of_its_stream():
    """GIVEN an event that ends while the one before it goes on THEN it does not wait for it"""
    b = TraceBuilder().event("long", 0, 50).event("inside", 10, 20).event("next", 51, 60)
    assert work(b).before.tolist() == [-1, -1, 1]


def test_the_last_that_was_launched():
    """GIVEN launches on two streams THEN a call waits for the last of each before it, although they run later"""
    b = TraceBuilder().launched("a", 1, 100, 110).launched("b", 5, 110, 120).launched("c", 3, 50, 60, stream=20)
    one = work(b)
    event, end = last_launched(one, one.called)
    assert event.tolist() == [[0, -1], [1, 2], [0, 2]]
    assert end[1].tolist() == [120, 60]


def collective() -> TraceBuilder:
    """A gradient on stream 7, a call, and an all-reduce on stream 20 that starts after it."""
    b = TraceBuilder().launched("gradient", 1, 10, 50).range("cudaStreamWaitEvent", 3, 4, RUNTIME)
    return b.launched("all-reduce", 5, 52, 82, stream=20)


def test_the_launch_after_the_call_waits():
    assert waits(collective()) == {("all-reduce", "gradient")}
    assert waits(collective().launched("update", 9, 84, 94)) == {("all-reduce", "gradient")}  # no call before this one
    b = collective().range("cudaStreamWaitEvent", 7, 8, RUNTIME).launched("update", 9, 84, 94)
    assert waits(b) == {("all-reduce", "gradient"), ("update", "all-reduce")}


def test_what_ran_before_the_other_had_ended_did_not_wait():
    """GIVEN a call, and work after it that starts while the other stream's runs THEN it waits for something else"""
    b = TraceBuilder().launched("gradient", 1, 10, 50).range("cudaStreamWaitEvent", 3, 4, RUNTIME)
    assert waits(b.launched("copy", 5, 20, 30, stream=20)) == set()


def test_a_call_of_another_thread_is_for_its_own_launches():
    b = TraceBuilder().launched("gradient", 1, 10, 50).range("cudaStreamWaitEvent", 3, 4, RUNTIME, thread=1)
    assert waits(b.launched("copy", 5, 52, 60, stream=20)) == set()


def test_other_devices_do_not_wait():
    b = TraceBuilder().launched("gradient", 1, 10, 50, device=1).range("cudaStreamWaitEvent", 3, 4, RUNTIME)
    assert waits(b.launched("copy", 5, 52, 60, stream=20)) == set()


def test_branches_of_a_graph_join():
    """GIVEN a graph of two branches, the second long after the launch, right after the first THEN it waits for it"""
    b = TraceBuilder().range("cudaGraphLaunch", 0, 10, RUNTIME, correlation=1)
    b.event("root", 1_000, 200_000, correlation=1).event("branch", 201_000, 300_000, correlation=1, stream=20)
    b.event("rest", 200_500, 400_000, correlation=1)
    assert waits(b) == {("branch", "root")}


def full_queue(limit: int, count: int = 200) -> TraceBuilder:
    """Launches every 3 ns of work that takes 100 ns. Where `limit` are pending, they take until one has ended."""
    b, clock, ends = TraceBuilder(), 0, [0]
    for number in range(count):
        back = max(clock + 2, ends[number - limit + 1] if number >= limit else 0)
        b.range("cudaLaunchKernel", clock, back, RUNTIME, correlation=number)
        start = max(back + 3, ends[-1])
        ends.append(start + 100)
        b.event("k", start, start + 100, correlation=number)
        clock = back + 1
    return b


def test_a_full_queue_is_found():
    """GIVEN launches that take as long as a kernel once 100 are pending THEN that is the limit, and those waited"""
    trace = full_queue(100).build()
    one = graph_of(trace, attribute(trace))
    assert [queue.limit for queue in one.queues] == [100]
    assert replay(one).errors.tolist() == [0.0]


def test_a_long_queue_that_blocks_nobody_is_no_limit():
    b = full_queue(10_000)
    trace = b.build()
    attribution = attribute(trace)
    found, blocked = queues(work_of(trace, attribution, FOREVER), attribution, trace.device.start)
    assert (found, blocked.any()) == ([], False)


def test_a_short_queue_is_no_limit():
    """GIVEN launches that take long with 20 pending THEN that is not taken for a queue: no driver's is so short"""
    trace = full_queue(20).build()
    assert graph_of(trace, attribute(trace)).queues == ()


@pytest.mark.corpus
@pytest.mark.parametrize(("name", "limits"), [("v100_training", [1022]), ("a100_ddp_training", []),
                                              ("mi300_resnet_checkpoint_training", [])])  # fmt: skip
def test_queues_of_real_traces(name, limits):
    trace = load(corpus_file(f"kineto/{name}.json.gz"))
    assert [queue.limit for queue in graph_of(trace, attribute(trace)).queues] == limits
