"""Calls and their device events: what is missing, what only seems to be, and where. Calls are 10 ns apart."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.kernels.calls import Call
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.launches import LAUNCHES, Launches, Place, launch_table, launches
from perfkit.analysis.time.trace_table import View
from perfkit.trace.columns import DeviceKind, HostKind, Thread, Trace
from perfkit.trace.load import load
from perfkit.trace.recording import WholeGraphs
from tests.analysis.columns import assert_regular
from tests.builders import TraceBuilder, saying
from tests.corpus import corpus_file

LAUNCH, COPY, SET, GRAPH = "cudaLaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaGraphLaunch"


def call(b: TraceBuilder, at: int, *, ran: bool = True, name: str = LAUNCH, lag: int = 3, **columns: Any) -> None:
    """A call at `at` of 2 ns and, where it `ran`, its event of 4 ns, `lag` ns later."""
    number = 1000 + len(b.host)
    thread = columns.pop("thread", 0)
    b.range(name, at, at + 2, HostKind.RUNTIME, correlation=number, thread=thread)
    if ran:
        b.event("k", at + lag, at + lag + 4, correlation=number, **columns)


def series(ran: str, **columns: Any) -> TraceBuilder:
    """A launch every 10 ns; `x` has its event, `.` has none."""
    b = TraceBuilder()
    for place, mark in enumerate(ran):
        call(b, 10 * place, ran=mark == "x", **columns)
    return b


def found(b: TraceBuilder | Trace) -> Launches:
    trace = b.build() if isinstance(b, TraceBuilder) else b
    return launches(trace, attribute(trace))


def missing(b: TraceBuilder | Trace) -> list[int]:
    """How many calls without an event are at the start, in the middle and at the end; and how many just at an edge."""
    one = found(b)
    return [*np.bincount(one.place[one.is_missing], minlength=3).tolist(), int(one.at_edge.sum())]


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        ("xxxxxxxx", [0, 0, 0, 0]),
        ("x.x.x.xx", [0, 3, 0, 0]),
        ("xxxxxxx.", [0, 0, 1, 1]),  # the last one: the recording may have ended before it ran
        (".xxxxxxx", [1, 0, 0, 1]),
        (".x.xxx.x.", [1, 2, 1, 2]),
        ("xxxx....", [0, 0, 4, 1]),  # work takes 7 ns: only the last of them may still have been to come
        ("....xxxx", [4, 0, 0, 1]),
        ("........", [0, 8, 0, 0]),
    ],
)
def test_calls_without_events_by_time(ran, expected):
    """GIVEN calls of which some have no event WHEN asked THEN they are before, between or after those that have one"""
    assert missing(series(ran)) == expected


def test_a_device_behind_the_host_has_a_long_edge():
    """GIVEN a device that runs everything 40 ns late, up to the end of the recording THEN 4 calls may be to come"""
    b = TraceBuilder()
    for place in range(10):
        call(b, 10 * place, ran=place < 6, lag=40)
    assert missing(b) == [0, 0, 4, 4]


def test_a_device_that_is_busy_until_the_end_may_have_more_to_come():
    """GIVEN a last kernel that ends 4 ns before the recording THEN all launches after its own may be to come

    The first of them is 47 ns old when the recording ends, while the longest took 44 ns.
    """
    b = TraceBuilder()
    for at in range(0, 51, 10):
        call(b, at, lag=40)
    call(b, 51, ran=False)
    call(b, 96, ran=False)
    assert missing(b) == [0, 0, 2, 2]


def test_a_stream_runs_in_order():
    """GIVEN one launch that took 100 ns and a later one without an event WHEN the next has one THEN it is no edge"""
    b = TraceBuilder()
    call(b, 0, lag=96)
    call(b, 10, ran=False)
    call(b, 100)
    assert missing(b) == [0, 1, 0, 0]


def test_a_stream_that_is_behind_has_an_edge_as_long_as_the_longest_work():
    """GIVEN a stream behind another THEN its launch of 224 ns before the end is lost where the longest took 204"""
    b = TraceBuilder()
    call(b, 0, stream=7)
    call(b, 5, stream=20)
    call(b, 10, ran=False)
    call(b, 30, stream=7, lag=200)
    assert missing(b) == [0, 1, 0, 0]


def test_a_wait_is_for_the_device_of_its_caller():
    """GIVEN a last launch without an event, and a wait of another device or process THEN it may be to come"""
    two = TraceBuilder()
    for place in range(5):
        call(two, 10 * place, device=0)
        call(two, 10 * place + 5, ran=place < 4, device=1, thread=1)
    two.range("cudaDeviceSynchronize", 48, 49, HostKind.RUNTIME)
    assert missing(two) == [0, 0, 1, 1]
    one = series("xxxx.")
    one.range("cudaDeviceSynchronize", 43, 45, HostKind.RUNTIME, thread=1)
    trace = one.build()
    assert missing(trace) == [0, 0, 1, 0]
    assert missing(dataclasses.replace(trace, threads=(Thread(1, 1), Thread(2, 2)))) == [0, 0, 1, 1]


def test_what_the_program_has_waited_for_is_no_edge():
    """GIVEN the last launch without an event WHEN the program then waits for the device THEN it ran, and is lost"""
    b = series("xxxx.")
    b.range("cudaDeviceSynchronize", 43, 45, HostKind.RUNTIME)
    assert missing(b) == [0, 0, 1, 0]


def test_another_stream_may_be_behind():
    """GIVEN two streams of which one lags WHEN the recording ends THEN its last launches may be pending"""
    b = TraceBuilder()
    for place in range(10):
        call(b, 10 * place, stream=7)
        call(b, 10 * place + 4, ran=place < 7, stream=20, lag=25)
    assert missing(b) == [0, 2, 1, 3]


def test_a_capture_runs_nothing():
    """GIVEN launches while a stream is captured, one by autograd's thread THEN they are captured, not lost"""
    b = series("xx")
    b.range("cudaStreamBeginCapture", 20, 21, HostKind.RUNTIME)
    call(b, 22, ran=False)
    call(b, 25, ran=False, thread=1)
    b.range("cudaStreamEndCapture", 30, 31, HostKind.RUNTIME)
    call(b, 32, ran=False)
    call(b, 42)
    one = found(b)
    assert (int(one.is_captured.sum()), int(one.is_missing.sum())) == (2, 1)


def test_a_capture_that_began_before_the_recording():
    """GIVEN the end of a capture without its beginning THEN what is before it was captured; what is after was not"""
    b = TraceBuilder()
    call(b, 0, ran=False)
    b.range("hipStreamEndCapture", 5, 6, HostKind.RUNTIME)
    for at in (10, 20, 40):
        call(b, at)
    call(b, 30, ran=False)
    one = found(b)
    assert one.start[one.is_captured].tolist() == [0]
    assert one.start[one.is_missing].tolist() == [30]


def test_captures_of_another_process_are_its_own():
    b = series("xx.x")
    b.range("cudaStreamBeginCapture", 15, 16, HostKind.RUNTIME, thread=1)
    trace = b.build()
    apart = dataclasses.replace(trace, threads=(Thread(1, 1), Thread(2, 2)))
    assert int(found(apart).is_missing.sum()) == 1
    assert int(found(trace).is_missing.sum()) == 0


def test_a_call_inside_another_counts_once():
    """GIVEN a runtime call that calls the driver WHEN either has the event THEN it is one launch, with its event"""
    b = series("xx")
    for at, inner_has in ((20, True), (30, False)):
        b.range(LAUNCH, at, at + 6, HostKind.RUNTIME, correlation=at)
        b.range("cuLaunchKernel", at + 1, at + 5, HostKind.RUNTIME, correlation=at + 1)
        b.event("k", at + 6, at + 8, correlation=at + inner_has)
    one = found(b)
    assert (len(one), int(one.has_event.sum())) == (4, 4)


def test_calls_that_touch_are_not_inside():
    """GIVEN times of whole microseconds, so that one call begins where the other ends THEN they are two"""
    b = TraceBuilder().range(LAUNCH, 0, 1000, HostKind.RUNTIME, correlation=1)
    b.range(LAUNCH, 1000, 1000, HostKind.RUNTIME, correlation=2)
    assert len(found(b.event("k", 2000, 3000, correlation=1))) == 2


def test_numbers_that_ranks_share():
    """GIVEN two ranks in one file with the same numbers, one of which lacks an event THEN one is missing"""
    b = TraceBuilder()
    for thread in (0, 1):
        for number in (1, 2, 3):
            b.range(LAUNCH, 10 * number, 10 * number + 2, HostKind.RUNTIME, correlation=number, thread=thread)
            if (thread, number) != (1, 2):
                b.event("k", 10 * number + 3, 10 * number + 5, correlation=number, device=thread)
    trace = dataclasses.replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    assert int(found(trace).is_missing.sum()) == 1


def test_a_call_without_a_number_cannot_be_judged():
    """GIVEN calls that name no correlation THEN they count only where the file has no event at all"""
    b = TraceBuilder().range(LAUNCH, 0, 2, HostKind.RUNTIME)
    assert len(found(b)) == 1
    call(b, 10)
    assert found(b).start.tolist() == [10]
    assert len(found(TraceBuilder().range(LAUNCH, 0, 2, HostKind.RUNTIME).event("k", 5, 9))) == 0


def test_graphs_that_nsys_recorded_whole_are_not_missing():
    b = series("xxx")
    call(b, 15, ran=False, name=GRAPH)
    assert int(found(b).is_missing.sum()) == 1
    assert int(found(saying(b.build(), whole_graphs=WholeGraphs(1, 5))).is_missing.sum()) == 0


def test_the_device_of_a_call_is_that_of_its_thread():
    """GIVEN a thread for each device WHEN a call has no event THEN its device is that of the thread's others

    The third thread has none, and its process has two devices: nothing tells.
    """
    b = TraceBuilder()
    for place, mark in enumerate("xx.x"):
        call(b, 10 * place, ran=mark == "x", device=0)
        call(b, 10 * place + 5, device=1, thread=1)
    call(b, 12, ran=False, thread=2)
    one = found(b)
    assert one.device[one.is_missing].tolist() == [0, -1]


def test_the_device_of_a_call_is_else_that_of_its_process():
    """GIVEN a thread without any event WHEN its process uses one device THEN its calls are of that one"""
    b = series("xxx", device=3)
    call(b, 15, ran=False, thread=1)
    one = found(b)
    assert one.device[one.is_missing].tolist() == [3]


def test_the_table_counts_by_kind_and_device():
    """GIVEN launches, a copy, memsets and a graph WHEN asked THEN calls add up: with, captured, and without by place"""
    b = series("x.xxx")
    call(b, 12, name=COPY, kind=DeviceKind.MEMCPY)
    call(b, 14, name=SET, ran=False)
    call(b, 16, name=GRAPH)
    b.range("cudaStreamBeginCapture", 50, 51, HostKind.RUNTIME)
    call(b, 52, ran=False)
    trace = b.build()
    table = launch_table(account_for(trace, attribute(trace)).partial)
    assert_regular(table)
    assert table.frame.to_numpy().tolist() == [
        ["kernel launch", "0", 6, 4, 1, 0, 1, 0],
        ["copy", "0", 1, 1, 0, 0, 0, 0],
        ["memset", "0", 1, 0, 0, 0, 1, 0],
        ["graph launch", "0", 1, 1, 0, 0, 0, 0],
    ]


def test_there_is_a_table_only_where_there_are_calls():
    for b, there in ((TraceBuilder().range("aten::mm", 0, 9), False), (series("x"), True)):
        trace = b.build()
        assert (LAUNCHES.of(account_for(trace, attribute(trace)).partial, View()) is not None) is there


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "kind", "counts"),
    [  # calls, with an event, captured, missing; memsets and captures from issue 11, the rest by json.load
        ("kineto/v100_training.json.gz", Call.MEMSET, (380, 145, 0, 235)),
        ("kineto/v100_training.json.gz", Call.KERNEL, (4350, 4350, 0, 0)),
        ("kineto/h100_bert_small_inference.json.gz", Call.MEMSET, (22, 0, 0, 22)),
        ("kineto/h100_bert_small_inference.json.gz", Call.KERNEL, (60, 60, 0, 0)),
        ("kineto/sglang_decode_capture.json.gz", Call.KERNEL, (546, 2, 544, 0)),
    ],
)
def test_real_traces(name, kind, counts):
    one = found(load(corpus_file(name)))
    mine = one.kind == kind
    assert tuple(int((mine & rows).sum()) for rows in (mine, one.has_event, one.is_captured, one.is_missing)) == counts


def test_places_are_in_order_of_time():
    assert [place.name for place in Place] == ["START", "MIDDLE", "END"]
