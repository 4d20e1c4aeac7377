"""The timing model: the time of a step, by hand."""

from __future__ import annotations

import pytest

from tests.planted.machine import (
    COMPUTE,
    COPIES,
    GAP_NS,
    LATENCY_NS,
    LAUNCH_NS,
    OP_NS,
    PINNED,
    RETURN_NS,
    Machine,
    matmul_ns,
    play,
)

SHORT, LONG = 10_000, 1_000_000


def named(played, name):
    return [one for one in played.happened if one.name == name]


def test_a_step_takes_what_the_host_takes_where_the_device_has_little_to_do():
    def step(machine):
        machine.busy(LONG)
        machine.kernel("small", SHORT)

    assert play(step).step_ns == LONG + LAUNCH_NS


def test_a_step_takes_what_the_device_takes_where_the_host_runs_ahead():
    """GIVEN one launch a step, THEN a step is timed after a thousand, when the queue is full"""
    assert play(lambda machine: machine.kernel("large", LONG)).step_ns == LONG + GAP_NS


def test_a_recording_begins_with_an_empty_queue_and_ends_with_the_device():
    """GIVEN five kernels of 1 ms THEN the first starts when it was launched, and the last step waits for the last"""
    played = play(lambda machine: machine.kernel("large", LONG))
    [first, *_, last] = named(played, "large")
    [launch, *_] = named(played, "cudaLaunchKernel")
    assert first.start == launch.end + LATENCY_NS
    whole = LAUNCH_NS + LATENCY_NS + 5 * LONG + 4 * GAP_NS + RETURN_NS
    assert played.recorded_ns == whole // 5
    assert [one for one in played.happened if one.category == "user_annotation"][-1].end == last.end + RETURN_NS


def test_a_synchronising_call_adds_host_and_device_up():
    def step(machine):
        machine.busy(SHORT)
        machine.kernel("large", LONG)
        machine.synchronise()

    assert play(step).step_ns == SHORT + LAUNCH_NS + LATENCY_NS + LONG + RETURN_NS


def test_waiting_for_a_stream_does_not_wait_for_another():
    def step(machine):
        machine.kernel("large", LONG, COPIES)
        machine.kernel("small", SHORT)
        machine.synchronise(COMPUTE)

    machine = Machine()
    step(machine)
    assert machine.now == 2 * LAUNCH_NS + LATENCY_NS + SHORT + RETURN_NS


def test_a_copy_from_pageable_memory_holds_the_host_and_one_from_pinned_memory_does_not():
    pageable, pinned = Machine(), Machine()
    pageable.copy("HtoD (Pageable -> Device)", 25_000_000, PINNED)
    pinned.copy("HtoD (Pinned -> Device)", 25_000_000, PINNED)
    assert pinned.now == LAUNCH_NS
    assert pageable.now == LAUNCH_NS + LATENCY_NS + 1_300 + LONG


def test_a_stream_waits_for_an_event_of_another():
    machine = Machine()
    machine.recording = True
    machine.kernel("copying", LONG, COPIES)
    event = machine.record_event(COPIES)
    machine.wait_event(COMPUTE, event)
    machine.kernel("waiting", SHORT)
    copying, waiting = (one for one in machine.happened if one.category == "kernel")
    assert waiting.start == copying.end + GAP_NS


def test_ranges_hold_what_runs_inside_and_their_own_time():
    machine = Machine()
    machine.recording = True
    with machine.op("aten::outer", [[2]]), machine.op("aten::inner", [[2]]):
        machine.kernel("small", SHORT)
    outer, inner, call, kernel = machine.happened
    assert (outer.end - outer.start, inner.end - inner.start) == (2 * OP_NS + LAUNCH_NS, OP_NS + LAUNCH_NS)
    assert outer.start < inner.start < call.start
    assert call.end < inner.end < outer.end
    assert call.args["External id"] == inner.args["External id"] == kernel.args["External id"]
    assert call.args["correlation"] == kernel.args["correlation"]


def test_a_large_matmul_takes_what_its_operations_take():
    """6000 x 1000 x 5000 are 60 GFLOP: 100 us at 600 TFLOP/s."""
    assert matmul_ns(6000, 1000, 5000) == 100_000 + 2_000


def test_a_matmul_of_one_row_takes_what_its_bytes_take():
    """The weights have 2 MB: 0.8 us at 2.5 TB/s."""
    assert matmul_ns(1, 1000, 1000) == pytest.approx(800 + 2_000, abs=2)
