"""The first line of a trace: its time a step, and what the device did in it."""

from __future__ import annotations

from dataclasses import replace

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.totals import PHASE_TOTALS, trace_totals
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.summary import summary
from perfkit.schema.finding import TRACE_TOTALS, Finding
from perfkit.trace.columns import DeviceKind, Thread
from tests.analysis.time.idle.traces import loop
from tests.builders import TraceBuilder, host_step


def totals(b: TraceBuilder, phase: Phase | None = None, mfu: float | None = None) -> Finding:
    trace = b.build()
    account = account_for(trace, attribute(trace), Selection(phase))
    return trace_totals(account, {**summary(account.partial), "mfu": mfu})


def line(b: TraceBuilder, mfu: float | None = None) -> str:
    return totals(b, mfu=mfu).what


def test_a_step_its_busy_and_idle_time_and_the_largest_cause():
    """GIVEN steps of 100 ns: 32 compute, 33 starved, 35 blocked (tests/analysis/time/idle) THEN these, by hand"""
    found = totals(loop())
    assert found.rule == TRACE_TOTALS
    assert found.what == (
        "100.0 ns a step (2 steps)   busy 32.0% · idle 68.0% (35.0% blocking: the host waits for the device)"
    )


def test_utilisation_is_said_where_it_is_known():
    assert line(loop(), mfu=0.312).startswith("100.0 ns a step (2 steps)   busy 32.0% · idle 68.0%")
    assert line(loop(), mfu=0.312).endswith("   MFU 31.2%")


def test_exposed_communication_and_copies_are_part_of_busy():
    """GIVEN a step of 100 ns: 40 compute, 25 of a collective alone, 15 of a copy alone THEN 20 are idle"""
    b = TraceBuilder().step(0, 0, 100).launched("k", 1, 10, 50).launched("ncclDevKernel_AllReduce", 2, 40, 75)
    b.launched("Memcpy HtoD", 3, 75, 90, kind=DeviceKind.MEMCPY)
    assert "busy 80.0% (25.0% exposed communication, 15.0% exposed copies) · idle 20.0%" in line(b)


def test_a_device_that_runs_behind_the_host():
    """GIVEN two steps of 10 ns that launch 60 ns each, all done after 121 WHEN told THEN until that is done, by hand"""
    b = TraceBuilder().step(0, 0, 10).step(1, 10, 20).launched("k", 1, 1, 61).launched("k", 11, 61, 121)
    assert line(b).startswith("60.50 ns a step until its work is done (2 steps)   busy 95.0%")
    assert line(b).endswith("   on the host 10.00 ns a step: the device runs behind it")
    late = TraceBuilder().step(0, 0, 100).launched("k", 1, 90, 110)
    assert line(late).endswith("   50.0% of what a step launches runs after it")


def test_a_device_that_runs_behind_the_host_of_its_own_process():
    """GIVEN the same by two processes, done 122 and 121 ns after their begin WHEN told THEN the mean of all four"""
    b = TraceBuilder()
    for thread in range(2):
        for number in range(2):
            begin = 10 * number + thread
            b.annotation(f"ProfilerStep#{number}", begin, begin + 10, thread=thread)
            b.launched("k", begin + 1, 60 * number + 2, 60 * number + 62, thread=thread, device=thread)
    trace = replace(b.build(), threads=(Thread(1, 1), Thread(2, 2)))
    account = account_for(trace, attribute(trace))
    said = trace_totals(account, summary(account.partial)).what
    assert said.startswith("60.75 ns a step until its work is done (4 steps, 2 devices)")
    assert said.endswith("   on the host 10.00 ns a step: the device runs behind it")


def test_several_devices_are_one_number_where_they_are_alike():
    """GIVEN devices that are busy for 90 and 88, then for 90 and 40 of 100 ns THEN the mean, then both"""
    b = TraceBuilder().step(0, 0, 100).launched("k", 1, 10, 100)
    alike = TraceBuilder().step(0, 0, 100).launched("k", 1, 10, 100).launched("k", 2, 10, 98, device=1)
    assert line(alike).startswith("100.0 ns a step (1 step, 2 devices)   busy 89.0% · idle 11.0%")
    b.launched("k", 2, 10, 50, device=1)
    assert line(b).startswith("100.0 ns a step (1 step, 2 devices)   busy 40.0% to 90.0% · idle 35.0%")


def test_without_steps_the_time_is_that_of_the_recording():
    """GIVEN 35 of 100 ns between the first event and the last WHEN told THEN so; a moment has no share"""
    b = TraceBuilder().launched("k", 0, 100, 130).launched("k", 1, 195, 200)
    assert line(b).startswith("100.0 ns recorded (no steps)   busy 35.0% · idle 65.0%")
    two = TraceBuilder().launched("k", 0, 100, 200).launched("k", 1, 100, 200, device=1)
    assert line(two) == "100.0 ns recorded (no steps, 2 devices)   busy 100.0% · idle 0.00%"
    assert line(TraceBuilder().launched("k", 0, 5, 5)) == "0 ns recorded (no steps)"


def test_on_the_host_the_phases_are_told():
    assert line(host_step()) == "100.0 ns a step (1 step)   forward 90.0% · other 10.0%   no device work in this trace"
    unknown = TraceBuilder().range("aten::mm", 0, 40)
    assert line(unknown) == "40.00 ns on the main thread (no steps)   no device work in this trace"


def test_one_phase_has_its_own_line():
    """GIVEN steps with a matmul of 10 ns in a module WHEN forward is asked for THEN its time alone"""
    found = totals(loop(), Phase.FORWARD)
    assert found.rule == PHASE_TOTALS
    assert found.what == "phase forward: 10.00 ns a step (2 steps) of device work"
