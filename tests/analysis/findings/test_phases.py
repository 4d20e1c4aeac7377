"""What is said where nothing says a phase."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings.phases import NO_PHASE_EVIDENCE, no_phase_evidence
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.summary import summary
from perfkit.schema.finding import Finding
from perfkit.trace.columns import HostKind
from tests.builders import TraceBuilder


def finding(b: TraceBuilder) -> Finding | None:
    trace = b.build()
    account = account_for(trace, attribute(trace))
    return no_phase_evidence(account, summary(account.partial))


def test_a_file_in_which_nothing_says_a_phase():
    """GIVEN ranges of layers alone WHEN looked at THEN the finding says that phases cannot be told, and what to do"""
    said = finding(TraceBuilder().annotation("layer 0", 0, 50).launched("k", 10, 20, 50).launched("l", 12, 60, 70))
    assert said is not None
    assert said.rule is NO_PHASE_EVIDENCE
    assert said.what == "phases cannot be told: no range, operation or module in the file says one"
    assert (said.cost.ns, said.cost.share) == (40, 1.0)
    assert "perfkit.annotate(model)" in said.advice


def test_a_file_with_some_work_that_nothing_tells():
    b = TraceBuilder().annotation("forward", 0, 50).launched("k", 10, 20, 50).launched("l", 60, 70, 80)
    said = finding(b.annotation("to_device", 90, 99).launched("a copy", 91, 100, 110))
    assert said is not None
    assert said.what == "10.00 ns (20.0%) are in phase other: nothing in the file says which phase it is"


def test_under_a_hundredth_of_the_time_nothing_is_said():
    b = TraceBuilder().annotation("forward", 0, 50).launched("k", 10, 100, 10_000).launched("l", 60, 10_000, 10_090)
    assert finding(b) is None


def test_communication_and_work_without_a_launch_need_no_phase():
    assert finding(TraceBuilder().launched("ncclDevKernel_AllReduce", 10, 20, 50).event("k", 60, 90)) is None


def test_on_the_host_what_runs_between_operators_needs_no_phase():
    """GIVEN a step with a frame and an operator WHEN looked at THEN only the operator's time lacks a phase"""
    b = TraceBuilder().step(0, 0, 100).range("script.py(1): main", 10, 90, HostKind.PYTHON).range("aten::mm", 20, 50)
    said = finding(b)
    assert said is not None
    assert said.cost.ns == 30
    assert finding(TraceBuilder().step(0, 0, 100).range("script.py(1): main", 10, 90, HostKind.PYTHON)) is None
