"""The scalars of a trace; the numbers are read off the steps in tests/builders.py."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.summary import device_span, summary
from perfkit.trace.columns import DeviceKind, Trace
from perfkit.trace.recording import Device
from tests.builders import TraceBuilder, device_step, host_step, saying


def partial(trace: Trace) -> Partial:
    """What adds up of a trace."""
    return account_for(trace, attribute(trace), Selection()).partial


def test_scalars_of_device_work():
    b = device_step().node("MmBackward0", 60, 70, 1).node("LostBackward0", 72, 80, 9)
    b.range("perfkit.backward::net", 82, 84)
    devices = (Device(0, "H100"), Device(1, "A100"))
    assert summary(partial(saying(b.build(), devices=devices))) == {
        "source": "built by a test",
        "format": "kineto",
        "devices": ["H100"],
        "kernels": 3,
        "kernel_time_ns": 35,
        "gpu_events": 4,
        "gpu_time_ns": 40,
        "busy_ns": 35,
        "steps": 1,
        "step_wall_ns": 100,
        "step_ns": 100.0,
        "step_until_done": False,
        "step_source": "profiler",
        "total_ns": 40,
        "unattributed_ns": 5,
        "unattributed_reasons_ns": {"outside": 5},
        "other_category_ns": 5,
        "scoped_ns": 35,
        "scope_source": "perfkit",
        "layers_by": "modules",
        "backward_nodes": 2,
        "backward_nodes_linked": 1,
        "backward_ranges": 1,
    }


def test_scoped_is_what_was_launched_in_a_scope_communication_aside():
    """GIVEN kernels in a module, in a user's range, in nothing, without launch, and a collective THEN the first two"""
    b = TraceBuilder().module("net", 0, 50).launched("k", 10, 100, 107).launched("ncclKernel", 20, 110, 130)
    b.annotation("decode", 60, 90).launched("k", 70, 140, 143).launched("k", 95, 150, 151).event("k", 200, 250)
    b.event("k", 300, 390, annotation="noted")
    assert summary(partial(b.build()))["scoped_ns"] == 7 + 3
    assert summary(partial(host_step().build()))["scoped_ns"] == 0


def test_scalars_of_host_times():
    scalars = summary(partial(host_step().build()))
    assert [scalars[key] for key in ("kernels", "kernel_time_ns", "gpu_events", "gpu_time_ns", "busy_ns")] == [0] * 5
    assert (scalars["total_ns"], scalars["step_wall_ns"], scalars["unattributed_ns"]) == (100, 100, 10)
    assert scalars["devices"] == []


def test_time_of_no_known_category_is_that_of_the_table():
    """GIVEN a copy, a gemm, and 7 and 4 ns in kernels that nobody knows WHEN summed up THEN 11 ns; on the host alone,
    the self time of operators that nobody knows, and none of what lies between operators
    """
    b = TraceBuilder().step(0, 0, 100).launched("mystery", 1, 20, 27).launched("riddle", 2, 30, 34)
    b.launched("gemm", 3, 40, 60).launched("Memcpy HtoD", 4, 60, 80, kind=DeviceKind.MEMCPY)
    assert summary(partial(b.build()))["other_category_ns"] == 11
    host = TraceBuilder().step(0, 0, 100).range("my::op", 10, 40).range("aten::mm", 20, 30).annotation("mine", 50, 90)
    assert summary(partial(host.build()))["other_category_ns"] == 20


def test_the_span_goes_from_the_first_start_to_the_last_end_on_each_device():
    """GIVEN work from 20 to 90 ns on one device and from 40 to 50 on another WHEN added up THEN the spans are 80 ns"""
    b = TraceBuilder().step(0, 0, 100).launched("a", 1, 20, 30).launched("a", 3, 60, 90)
    b.launched("b", 5, 40, 50, device=1)
    assert device_span(partial(b.build())) == 70 + 10


def test_without_a_device_there_is_no_span():
    assert device_span(partial(host_step().build())) == 0
