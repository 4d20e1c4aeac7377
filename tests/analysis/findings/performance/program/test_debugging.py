"""Switches for debugging that were left on."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.debugging import anomaly_mode, launch_blocking, python_stacks
from perfkit.trace.columns import HostKind
from tests.analysis.findings.performance.cases import MS, US, call, found, operators
from tests.builders import TraceBuilder


def launches(count=20, *, blocking=0, synchronises=0) -> TraceBuilder:
    """Kernels of 5 ns every 10 ns; the first `blocking` calls wait for theirs, the next are followed by a wait."""
    b = TraceBuilder().step(0, 0, 10 * count)
    for number in range(count):
        at = 10 * number
        blocks = number < blocking
        b.event("k", at + 1, at + 6, correlation=number)
        call(b, "cudaLaunchKernel", at, at + (8 if blocks else 1), correlation=number)
        if number < synchronises:
            call(b, "cudaStreamSynchronize", at + 2, at + 7)
    return b


def test_launches_that_wait_for_their_kernel():
    """GIVEN 20 kernels of 5 ns every 10 THEN the 19 gaps of 5 ns between them are at stake"""
    finding = found(launch_blocking, launches(blocking=20))
    assert finding.cost.ns == 95
    assert "100.0% of the kernels" in finding.what
    assert finding.advice.startswith("unset CUDA_LAUNCH_BLOCKING")


def test_a_synchronisation_after_each_launch():
    assert "a synchronisation follows" in found(launch_blocking, launches(synchronises=20)).what


def test_half_of_them_are_the_limit():
    assert found(launch_blocking, launches(synchronises=10)) is not None
    assert found(launch_blocking, launches(synchronises=9)) is None
    assert found(launch_blocking, launches(19, synchronises=19)) is None
    assert found(launch_blocking, launches()) is None


def backward(tested, nodes=4, forward="mm") -> TraceBuilder:
    """Forward operators of 10 us, and their backward nodes, the first of which are tested for NaN for 30 us each."""
    b = TraceBuilder().step(0, 0, MS)
    operators(b, [forward] * nodes, 0, 10 * US, sequence=1)
    for number in range(nodes):
        start = (100 + 100 * number) * US
        numbered = {"sequence": nodes - number, "forward_thread": 1}
        b.range(f"autograd::engine::evaluate_function: {forward}Backward0", start, start + 80 * US, **numbered)
        b.range(f"{forward}Backward0", start + 1, start + 30 * US, **numbered)
        if number < tested:
            operators(b, ["isnan", "_is_any_true", "item"], start + 40 * US, 10 * US)
    return b


def test_anomaly_mode():
    """GIVEN three tests of 10 us after each of four nodes THEN 120 us of 1 ms"""
    finding = found(anomaly_mode, backward(4))
    assert finding.cost.ns == 120 * US
    assert "4 of 4 backward nodes" in finding.what
    assert "detect_anomaly" in finding.advice


def test_what_a_view_takes_is_a_python_stack():
    """GIVEN the same with transposes in forward, of 10 us each THEN the stacks of four nodes are at stake, too"""
    finding = found(anomaly_mode, backward(4, forward="t"))
    assert finding.cost.ns == 160 * US
    assert "a Python stack for each node of forward, 40.00 us; it costs at least that" in finding.what


def test_a_test_for_nan_of_the_programs_own():
    assert found(anomaly_mode, backward(1)) is None
    b = backward(0)
    operators(b, ["isnan", "any", "item"], 700 * US, 10 * US)
    assert found(anomaly_mode, b) is None


@pytest.mark.parametrize(("frames", "said"), [(200, True), (199, False)])
def test_python_frames_that_slow_the_program(frames, said):
    """GIVEN half a microsecond a frame WHEN it is a tenth of 1 ms THEN it is said, and costs the program nothing"""
    b = TraceBuilder().step(0, 0, 1000 * US).range("aten::mm", 0, 900 * US)
    for number in range(frames):
        b.range("train.py(3): f", number * US, number * US + 500, HostKind.PYTHON)
    finding = found(python_stacks, b)
    assert (finding is not None) == said
    if finding:
        assert finding.cost.ns is None


def test_frames_are_counted_against_what_there_is():
    """GIVEN steps of no length THEN nothing is said; without steps frames are of the recording"""
    assert found(python_stacks, TraceBuilder().step(0, 0, 0).launched("k", 0, 0, 0)) is None
    b = TraceBuilder()
    for number in range(10):
        b.range("a.py(1): f", number * US, (number + 1) * US, HostKind.PYTHON)
    assert "are 5.000 us of the recording, which" in found(python_stacks, b).what
