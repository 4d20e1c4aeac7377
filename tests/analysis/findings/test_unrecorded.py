"""Threads of which the profiler recorded launches but no operator, and backward that ran where nothing was recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings.integrity import CHECKS
from perfkit.analysis.findings.unrecorded import UNRECORDED_THREADS, unrecorded_threads
from perfkit.analysis.time.account import account_for
from perfkit.schema.finding import Cost, Finding
from perfkit.trace.columns import HostKind, Trace
from perfkit.trace.recording import Tool
from tests.builders import TraceBuilder, device_step, host_step

ADVICE = "profile(experimental_config=torch._C._profiler._ExperimentalConfig(profile_all_threads=True))"
OPTIMIZER = "Optimizer.step#AdamW.step"


def found(trace: TraceBuilder | Trace) -> Finding | None:
    trace = trace if isinstance(trace, Trace) else trace.build()
    return unrecorded_threads(account_for(trace, attribute(trace)))


def test_work_launched_in_a_thread_without_operators() -> None:
    """GIVEN a step of 40 ns in all WHEN another thread, with Python frames alone, launches 55 ns THEN the setting"""
    b = device_step().range("threading.py(1): run", 0, 90, HostKind.PYTHON, thread=1)
    b.launched("gemm", 20, 200, 240, thread=1).launched("gemm", 30, 240, 255, thread=1)
    assert found(b) == Finding(
        UNRECORDED_THREADS,
        "2 device events (55.00 ns, 57.9%) were launched in a thread whose operators the profiler did not record: they"
        " have no scope",
        Cost(55, 55 / 95),
        advice=ADVICE,
        sure="derived",
    )
    assert unrecorded_threads in CHECKS


def test_threads_are_counted_and_a_cost_is_that_of_a_step() -> None:
    b = device_step().step(1, 100, 200)
    b.launched("gemm", 20, 200, 240, thread=1).launched("gemm", 120, 240, 250, thread=2)
    finding = found(b)
    assert finding is not None
    assert "in 2 threads whose operators" in finding.what
    assert finding.cost == Cost(25, 50 / 90)


@pytest.mark.parametrize(
    "trace",
    [
        device_step(),
        device_step().range("aten::mm", 10, 40, thread=1).launched("gemm", 20, 200, 240, thread=1),
        device_step().annotation("mine", 10, 40, thread=1).launched("gemm", 50, 200, 240, thread=1),
        device_step().range("cudaEventQuery", 10, 12, HostKind.RUNTIME, thread=1),  # which launches nothing
        device_step().launched("memset of nothing", 20, 200, 200, thread=1),
        device_step().event("launched before", 1, 3),
        TraceBuilder().launched("gemm", 20, 200, 240),  # activities=[CUDA]: operators were not asked for
        TraceBuilder().event("gemm", 20, 30),
    ],
)
def test_other_launches_are_no_cause(trace: TraceBuilder) -> None:
    assert found(trace) is None


def test_nsys_records_no_operators_of_any_thread() -> None:
    trace = device_step().launched("gemm", 20, 200, 240, thread=1).build()
    assert found(trace) is not None
    assert found(replace(trace, recording=replace(trace.recording, tool=Tool.NSYS))) is None


def training() -> TraceBuilder:
    """A step of 100 ns on a CPU: forward to 30, backward elsewhere, the optimizer from 70 to 90."""
    b = TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 30, sequence=1).annotation(OPTIMIZER, 70, 90)
    return b.range("aten::addcdiv_", 75, 80, sequence=2)


def test_backward_in_a_thread_of_its_own_on_a_cpu() -> None:
    """GIVEN forward operations and an optimizer's step WHEN there is no backward node THEN 40 ns are at stake"""
    assert found(training()) == Finding(
        UNRECORDED_THREADS,
        "no backward node is in the file, though an optimizer stepped once: backward ran in a thread that the profiler"
        " did not record; 40.00 ns passed between the last forward operation and the step",
        Cost(40, 0.4),
        advice=ADVICE,
        sure="derived",
    )


def test_each_step_waits_from_its_own_forward_pass() -> None:
    """GIVEN steps with 40 and 50 ns between forward and optimizer, and two optimizers in a row in the second WHEN
    examined THEN 45 ns a step: the second optimizer waited for the first alone"""
    b = training().step(1, 100, 200).range("aten::mm", 101, 120, sequence=3)
    b.annotation(OPTIMIZER, 170, 180).annotation(OPTIMIZER, 180, 190)
    finding = found(b)
    assert finding is not None
    assert "an optimizer stepped 3 times" in finding.what
    assert finding.cost == Cost(45, 90 / 200)


@pytest.mark.parametrize(
    "trace",
    [
        host_step(),
        training().node("MmBackward0", 40, 60, 1),
        host_step().annotation(OPTIMIZER, 50, 60),  # and no operation that would have made a node
        TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 30, sequence=1),  # inference with gradients on
        TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 30, sequence=1).annotation("Optimizer.zero_grad#S", 50, 60),
    ],
)
def test_steps_on_a_cpu_that_are_whole(trace: TraceBuilder) -> None:
    assert found(trace) is None
