"""Calls into the driver's allocator inside the steps."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.allocator import allocator_calls
from perfkit.schema.finding import Cost
from tests.analysis.findings.performance.cases import call, found
from tests.builders import TraceBuilder


def step() -> TraceBuilder:
    return TraceBuilder().step(0, 0, 1000).launched("k", 10, 20, 30).launched("k", 900, 910, 920)


def test_memory_given_back_and_asked_for_again():
    """GIVEN a free of 50 and two allocations of 20 ns THEN 90 of 1,000, and the sentence says so"""
    b = step()
    call(b, "cudaFree", 100, 150)
    call(b, "cudaMalloc", 200, 220)
    call(b, "cudaMalloc", 230, 250)
    finding = found(allocator_calls, b)
    assert finding.cost == Cost(90, 0.09)
    assert "(allocations 2, frees 1)" in finding.what
    assert "empty_cache" in finding.advice


def test_memory_that_only_grows():
    b = step()
    call(b, "hipMalloc", 100, 150)
    assert "expandable_segments" in found(allocator_calls, b).advice


def test_memory_that_is_pinned():
    b = step()
    call(b, "cudaHostAlloc", 100, 150)
    assert "pin" in found(allocator_calls, b).advice


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("cudaMallocAsync", 100),
        ("cudaFreeAsync", 100),
        ("cudaMalloc", 2),
        ("cudaMalloc", 1100),
        ("cudaLaunchKernel", 50),
    ],
)
def test_other_calls_and_other_times(name, start):
    """GIVEN the driver's pool, a call before the first kernel, and one after the step THEN nothing"""
    assert found(allocator_calls, call(step(), name, start, start + 5 if start == 2 else start + 50)) is None


def test_a_program_that_starts_is_not_judged_by_one_call():
    b = TraceBuilder().launched("k", 10, 20, 30).launched("k", 900, 910, 1000)
    call(b, "cudaHostAlloc", 100, 600)
    assert found(allocator_calls, b) is None


def test_who_has_expandable_segments_is_not_told_of_them():
    """GIVEN memory that is mapped, as expandable segments do THEN the advice leaves them out"""
    b = step()
    call(b, "cuMemCreate", 100, 130)
    call(b, "cuMemMap", 140, 160)
    assert found(allocator_calls, b).advice == "shapes that repeat, and steps before recording"
