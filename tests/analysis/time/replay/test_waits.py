"""Calls that wait for a device: for which work."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.kernels.calls import Wait, makes_stream_wait, returns_after_copy, wait_of
from perfkit.analysis.time.replay.edges import EdgeKind
from perfkit.analysis.time.replay.graph import Graph, graph_of
from perfkit.trace.columns import DeviceKind, HostKind
from tests.builders import TraceBuilder

RUNTIME = HostKind.RUNTIME


def graph(b: TraceBuilder) -> Graph:
    trace = b.build()
    return graph_of(trace, attribute(trace))


def waited_for(b: TraceBuilder) -> list[tuple[str, str, int]]:
    """(call, what it waits for, ns from its end until the call returns), by name."""
    one = graph(b)
    edges = one.edges.kept(one.edges.kind == EdgeKind.SYNC)
    names, host = one.trace.device_names(), one.attribution.host
    return sorted(
        (host.name_of(row), names[source - one.first_event], delay)
        for row, source, delay in zip(edges.row.tolist(), edges.source.tolist(), edges.delay.tolist(), strict=True)
    )


def two_streams() -> TraceBuilder:
    """Work on two streams until 40 and 60, launched by one thread, the second last."""
    return TraceBuilder().launched("a", 1, 10, 40).launched("b", 3, 10, 60, stream=20)


WAITS = {
    "cudaDeviceSynchronize": Wait.DEVICE,
    "hipDeviceSynchronize": Wait.DEVICE,
    "cuCtxSynchronize": Wait.DEVICE,
    "cudaFree": Wait.DEVICE,
    "cudaFreeAsync": None,
    "cudaFreeHost": None,
    "cudaStreamSynchronize": Wait.STREAM,
    "cudaEventSynchronize": Wait.EVENT,
    "cudaEventQuery": None,
    "cudaLaunchKernel": None,
    "cudaStreamWaitEvent": None,
}
STREAM_WAITS = {"cudaStreamWaitEvent": True, "hipStreamWaitEvent": True, "cudaEventRecord": False}
COPIES = {"cudaMemcpy": True, "cudaMemcpyAsync": False, "cuMemcpyDtoH_v2": True, "cudaMalloc": False}


def test_names_of_calls():
    assert {name: wait_of(name) for name in WAITS} == WAITS
    assert {name: makes_stream_wait(name) for name in STREAM_WAITS} == STREAM_WAITS
    assert {name: returns_after_copy(name) for name in COPIES} == COPIES


def test_the_whole_device():
    """GIVEN a call that waits for the device THEN it waits for the last work of each stream"""
    b = two_streams().range("cudaDeviceSynchronize", 6, 63, RUNTIME)
    assert waited_for(b) == [("cudaDeviceSynchronize", "a", 3), ("cudaDeviceSynchronize", "b", 3)]


def test_what_is_launched_later_is_not_waited_for():
    b = two_streams().range("cudaDeviceSynchronize", 6, 63, RUNTIME).launched("c", 64, 66, 70)
    assert len(waited_for(b)) == 2


def test_a_stream_is_the_one_that_the_thread_used_last():
    assert waited_for(two_streams().range("cudaStreamSynchronize", 6, 63, RUNTIME)) == [
        ("cudaStreamSynchronize", "b", 3)
    ]


def test_a_stream_whose_work_goes_on_was_not_waited_for():
    """GIVEN a wait that returns while the last used stream is busy THEN it was for the other one"""
    assert waited_for(two_streams().range("cudaStreamSynchronize", 6, 43, RUNTIME)) == [
        ("cudaStreamSynchronize", "a", 3)
    ]


def test_an_event_is_what_ended_last_in_the_wait():
    assert waited_for(two_streams().range("cudaEventSynchronize", 6, 43, RUNTIME)) == [("cudaEventSynchronize", "a", 3)]
    assert waited_for(two_streams().range("cudaEventSynchronize", 70, 75, RUNTIME)) == []  # all had ended: its own time


@pytest.mark.parametrize(
    ("call", "name", "waits"),
    [
        ("cudaMemcpyAsync", "Memcpy DtoH (Device -> Pageable)", True),
        ("cudaMemcpyAsync", "Memcpy DtoH (Device -> Pinned)", False),
        ("cudaMemcpy", "Memcpy DtoH (Device -> Pinned)", True),
        ("hipMemcpyWithStream", "CopyDeviceToHost", True),
    ],
)
def test_copies(call, name, waits):
    """GIVEN a copy whose call returns after it THEN it waits if it is called so, or copies from pageable memory"""
    b = TraceBuilder().range(call, 0, 33, RUNTIME, correlation=1)
    assert bool(waited_for(b.event(name, 10, 30, DeviceKind.MEMCPY, correlation=1))) is waits


def test_launches_that_block():
    """GIVEN CUDA_LAUNCH_BLOCKING, so that each launch returns after its kernel THEN each waits for it"""
    b = TraceBuilder()
    for begin in range(0, 1000, 50):
        b.range("cudaLaunchKernel", begin, begin + 40, RUNTIME, correlation=begin)
        b.event("k", begin + 8, begin + 37, correlation=begin)
    assert waited_for(b) == [("cudaLaunchKernel", "k", 3)] * 20
