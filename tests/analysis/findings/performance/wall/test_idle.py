"""Devices that are idle because the host launches too slowly, or has waited."""

from __future__ import annotations

import dataclasses
import re

import pytest

from perfkit.analysis.findings.performance.wall.idle import host_synchronisation, launch_bound
from perfkit.analysis.findings.performance.wall.places import pieces_of
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.trace.columns import DeviceKind, HostKind
from perfkit.trace.recording import OwnNotes
from tests.analysis.findings.performance.cases import MS, US, call, case_of, found
from tests.builders import TraceBuilder


def late(count: int = 50, kernel: int = 20 * US, idle: int = 20 * US, length: int = 2 * MS) -> TraceBuilder:
    """A step in which each kernel ends before the host launches the next: so much idle time before each."""
    b = (
        TraceBuilder()
        .launched("before", -20, -10, -5)
        .step(0, 0, length)
        .module("layers.3.mlp", 0, length - 1)
        .range("aten::linear", 1, length - 2)
    )
    for number in range(count):
        at = number * (kernel + idle)
        b.launched("gemm", at + idle - 1, at + idle, at + idle + kernel)
    return b


def test_a_device_that_waits_for_launches():
    """GIVEN 50 kernels of 20 us, each 20 us after the one before, in 2 ms THEN the device is idle for half of it"""
    finding = found(launch_bound, late())
    assert finding.cost.ns == 50 * 20 * US
    assert finding.cost.share == 0.5
    assert "idle for 1.000 ms a step (50.0%)" in finding.what
    assert finding.what.endswith(
        "; of this idle time all is before work of layers.*.mlp, all passes while the host is in aten::linear"
    )
    assert dict(finding.evidence[0].key) == {"what": "idle: launch-starved"}


def test_shares_of_idle_time_are_wholes_of_two_parts():
    """GIVEN 40 kernels of layer 3, and then 10 of the head, launched in one range of the user's and two operators

    THEN each share has its rest beside it: no two of them are of overlapping places
    """
    b = TraceBuilder().launched("before", -20, -10, -5).step(0, 0, 2 * MS).annotation("work", 0, 2 * MS - 1)
    for path, start, end in (("layers.3", 0, 1600), ("head", 1600, 1999)):
        b.module(path, start * US, end * US).range("aten::linear", start * US + 1, (start + 500) * US - 1)
    for number in range(50):
        at = number * 40 * US
        b.launched("gemm", at + 20 * US - 1, at + 20 * US, at + 40 * US)
    what = found(launch_bound, b).what
    assert "; of this idle time 80.0% is before work of layers.* and 20.0% before other work, " in what
    shares = [float(share) for share in re.findall(r"([\d.]+)% (?:passes )?while", what)]
    assert sum(shares) in (0, pytest.approx(100))
    assert len(shares) in (0, 2)


def test_nobody_knows_what_a_device_did_before_its_first_event():
    """GIVEN a step whose first event comes after half of it, and idle time after that THEN only the latter is late"""
    b = TraceBuilder().step(0, 0, 2 * MS).range("aten::mm", 0, 2 * MS).launched("gemm", MS - 1, MS, MS + 500 * US)
    case = case_of(b.launched("gemm", MS + 600 * US, MS + 600 * US, 2 * MS))
    assert case.wall.pieces.ns[pieces_of(case, Cause.LAUNCH_STARVED)].tolist() == [100 * US]


@pytest.mark.parametrize(("idle", "said"), [(6 * US, True), (5_999, False)])
def test_the_least_share_of_idle_time(idle, said):
    """GIVEN 50 gaps in 2 ms THEN 6 us each are 15% of the step, and a finding; a nanosecond less is none"""
    assert (found(launch_bound, late(kernel=40 * US - idle, idle=idle)) is not None) == said


@pytest.mark.parametrize(("count", "said"), [(20, True), (19, False)])
def test_few_gaps_are_no_slow_launches(count, said):
    assert (found(launch_bound, late(count, length=count * 40 * US)) is not None) == said


@pytest.mark.parametrize(("idle", "said"), [(999_999, True), (1_000_000, False)])
def test_long_gaps_are_something_else(idle, said):
    """GIVEN gaps of 1 ms THEN the host was busy with something; under 1 ms it launches slowly"""
    assert (found(launch_bound, late(30, idle=idle, length=50 * MS)) is not None) == said


def test_a_device_with_a_full_queue_is_not_launch_bound():
    """GIVEN the same gaps, all launched at the begin of the step THEN the host is not behind them"""
    b = TraceBuilder().step(0, 0, 2 * MS)
    for number in range(50):
        b.launched("gemm", 1 + number, 20 * US + number * 40 * US, 40 * US + number * 40 * US)
    assert found(launch_bound, b) is None


def test_blocking_launches_are_another_finding():
    """GIVEN launches that return when their kernel has ended THEN `launch-blocking` says it"""
    b = TraceBuilder().step(0, 0, 2 * MS)
    for number in range(40):
        at = number * 40 * US
        b.range("cudaLaunchKernel", at, at + 22 * US, HostKind.RUNTIME, correlation=number)
        b.event("gemm", at + 10 * US, at + 20 * US, correlation=number)
    assert found(launch_bound, b) is None
    assert found(host_synchronisation, b) is None


def waiting(idle: int = 100 * US, operator: str = "aten::item", length: int = 5 * MS) -> TraceBuilder:
    """A step of a kernel of 1 ms, whose value an operator reads; the host launches the next `idle` after it ended."""
    b = TraceBuilder().step(0, 0, length).launched("gemm", 1, 10, MS)
    b.module("head", 20, MS + 20 * US).range(operator, 30, MS + 10 * US)
    call(b, "cudaStreamSynchronize", 40, MS + 5 * US)
    return b.launched("gemm", MS + idle, MS + idle + 1, length)


def test_a_value_that_is_read_in_the_step():
    """GIVEN an item() that returns when the kernel ended, and a launch 100 us after that THEN 100 us are lost"""
    finding = found(host_synchronisation, waiting())
    assert finding.cost.ns == 100 * US
    assert "once a step, mostly in aten::item (cudaStreamSynchronize)" in finding.what
    assert "idle for 100.0 us a step" in finding.what
    assert "tensor.detach()" in finding.advice


@pytest.mark.parametrize(("idle", "said"), [(100 * US, True), (100 * US - 1, False)])
def test_waiting_costs_from_two_percent_of_the_step_on(idle, said):
    assert (found(host_synchronisation, waiting(idle)) is not None) == said


def test_waiting_while_the_device_has_work_costs_nothing():
    """GIVEN the same call, with a kernel queued behind the one it waits for THEN the device is never idle"""
    b = waiting(200 * US).launched("queued", 2, MS, MS + 200 * US)
    assert found(host_synchronisation, b) is None


@pytest.mark.parametrize(
    ("operator", "advice"), [("aten::nonzero", "torch.where"), ("aten::_local_scalar_dense", "no synchronisation")]
)
def test_advice_is_for_the_operator_that_waits(operator, advice):
    assert advice in found(host_synchronisation, waiting(operator=operator)).advice


def test_copies_to_the_device_are_another_finding():
    b = TraceBuilder().step(0, 0, 5 * MS).range("aten::to", 1, MS + 10 * US)
    call(b, "cudaMemcpyAsync", 10, 20, correlation=1)
    b.event("Memcpy HtoD (Pageable -> Device)", 30, MS, DeviceKind.MEMCPY, correlation=1)
    call(b, "cudaStreamSynchronize", 40, MS + 5 * US)
    b.launched("gemm", MS + 200 * US - 1, MS + 200 * US, 5 * MS)
    assert found(host_synchronisation, b) is None


@pytest.mark.parametrize(("phase", "said"), [(None, False), ("perfkit.phase::forward", True)])
def test_perfkits_own_wait_at_the_end_of_a_step_is_none(phase, said):
    """GIVEN a recording by perfkit WHEN it waits for the device outside its phases THEN that is its measuring"""
    b = TraceBuilder().step(0, 0, 5 * MS).launched("gemm", 1, 10, MS)
    if phase:
        b.range(phase, 20, 5 * MS)
    call(b, "cudaDeviceSynchronize", 40, MS + 5 * US)
    trace = b.launched("gemm", MS + 200 * US - 1, MS + 200 * US, 5 * MS).build()
    own = dataclasses.replace(trace, recording=dataclasses.replace(trace.recording, own=OwnNotes()))
    assert (found(host_synchronisation, own) is not None) == said
    assert found(host_synchronisation, trace) is not None


@pytest.mark.parametrize("optimizer", ["", "_fused_adamw_", "add_"])
def test_a_fused_optimizer_is_advice_for_those_who_have_another(optimizer):
    """GIVEN a step without an optimizer, with a fused one, with another THEN only the last is told of a fused one"""
    b = late()
    if optimizer:
        b.annotation("Optimizer.step#AdamW.step", 2 * MS - 100, 2 * MS - 10)
        b.range(f"aten::{optimizer}", 2 * MS - 90, 2 * MS - 20)
        b.launched("optimizer_kernel", 2 * MS - 80, 2 * MS - 70, 2 * MS - 60)
    assert ("fused" in found(launch_bound, b).advice) == (optimizer == "add_")
