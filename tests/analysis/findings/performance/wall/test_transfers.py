"""Copies of pageable memory, and copies that their calls wait for."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.wall.communication import missed_overlap
from perfkit.analysis.findings.performance.wall.transfers import blocking_copies
from perfkit.trace.columns import DeviceKind
from tests.analysis.findings.performance.cases import MS, US, call, found
from tests.builders import TraceBuilder

PAGEABLE, PINNED = "Memcpy HtoD (Pageable -> Device)", "Memcpy HtoD (Pinned -> Device)"


def copying(
    copy: int = 100 * US, idle: int = 100 * US, name: str = PAGEABLE, how: str = "cudaMemcpyAsync", stream: int = 7
) -> TraceBuilder:
    """A step of 10 ms: a copy, a wait for it, and a kernel that is launched `idle` after the copy was done."""
    b = TraceBuilder().step(0, 0, 10 * MS).range("aten::to", 0, copy + 20 * US)
    call(b, how, 1, 9 if how.endswith("Async") else copy + 10, correlation=1)
    b.event(name, 10, 10 + copy, DeviceKind.MEMCPY, correlation=1, stream=stream)
    if how.endswith("Async"):
        call(b, "cudaStreamSynchronize", 9, copy + 10 * US)
    at = 10 + copy + idle
    return b.launched("gemm", at, at + 1, 10 * MS)


def test_a_copy_of_pageable_memory():
    """GIVEN a copy of 100 us, and a launch 100 us after it THEN the device lost 200 us"""
    finding = found(blocking_copies, copying())
    assert finding.cost.ns == 200 * US
    assert "copies from or to pageable memory: 1 a step, 100.0 us a step" in finding.what
    assert "idle for 100.0 us a step" in finding.what
    assert dict(finding.evidence[0].key) == {"name": PAGEABLE}


def test_a_copy_that_its_call_waits_for():
    finding = found(blocking_copies, copying(name="Memcpy HtoD (Pinned -> Device)", how="cudaMemcpy"))
    assert finding.cost.ns == 200 * US
    assert "by calls that wait for them" in finding.what


@pytest.mark.parametrize(("idle", "said"), [(50 * US, True), (50 * US - 1, False)])
def test_the_least_share(idle, said):
    """GIVEN a copy of 50 us THEN with 50 us of idle time it is 1% of the step, and a finding"""
    assert (found(blocking_copies, copying(50 * US, idle)) is not None) == said


def test_a_copy_that_computation_hides_costs_what_follows_it():
    """GIVEN a kernel beside the copy THEN only the idle time behind both is lost"""
    b = copying(idle=99 * US, stream=20).launched("hiding", -5, 5, 10 + 100 * US)
    assert found(blocking_copies, b) is None
    assert (
        found(blocking_copies, copying(idle=150 * US, stream=20).launched("hiding", -5, 5, 10 + 100 * US)).cost.ns
        == 150 * US
    )


def test_pinned_memory_and_an_asynchronous_call_are_fine():
    assert found(blocking_copies, copying(name=PINNED)) is None


def test_a_file_that_does_not_tell_the_memory():
    assert found(blocking_copies, copying(name="Memcpy HtoD")) is None


def test_pinned_copies_on_the_stream_that_computes():
    """GIVEN a pinned copy of 200 us of 10 ms, on the stream of the kernels THEN it could have one of its own"""
    finding = found(missed_overlap, copying(200 * US, name=PINNED))
    assert finding.cost.ns == 200 * US
    assert "on the stream that computes" in finding.what


@pytest.mark.parametrize("case", ["other stream", "short", "pageable"])
def test_copies_that_miss_no_overlap(case):
    b = {
        "other stream": lambda: copying(200 * US, name=PINNED, stream=20),
        "short": lambda: copying(200 * US - 1, name=PINNED),
        "pageable": lambda: copying(200 * US),
    }[case]()
    assert found(missed_overlap, b) is None


def test_advice_on_copies_from_the_device_is_none_on_loaders():
    """GIVEN 200 us of results copied to pageable memory beside nothing THEN no loader, and no idle time, is named"""
    b = TraceBuilder().step(0, 0, 10 * MS).launched("gemm", 1, 10, MS)
    b.launched("Memcpy DtoH (Device -> Pageable)", 3, MS, MS + 200 * US, kind=DeviceKind.MEMCPY)
    finding = found(blocking_copies, b.launched("gemm", 5, MS + 200 * US, 10 * MS))
    assert finding.what == "copies from or to pageable memory: 1 a step, 200.0 us a step"
    assert finding.advice.startswith("results that are read after the loop")
    both = found(
        blocking_copies,
        copying().launched(
            PAGEABLE.replace("HtoD", "DtoH").replace("Pageable -> Device", "Device -> Pageable"),
            5 * MS,
            10 * MS,
            10 * MS + 100 * US,
            kind=DeviceKind.MEMCPY,
        ),
    )
    assert both.advice.count("; ") == 1
