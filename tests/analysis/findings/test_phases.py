"""What is said where nothing says a phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.phases import NO_PHASE_EVIDENCE, backward_unmarked, no_phase_evidence
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.summary import summary
from perfkit.schema.finding import Finding
from perfkit.trace.columns import HostKind
from perfkit.trace.recording import Recording, Tool
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
    assert said.what == "10.00 ns in all (20.0%) are in phase other: nothing in the file says which phase it is"


def test_where_most_of_it_is():
    """GIVEN two kernels of a user's range without a word, and one outside THEN the finding names the range"""
    b = TraceBuilder().annotation("forward", 0, 50).launched("k", 10, 20, 50).annotation("misc", 60, 90)
    said = finding(b.launched("l", 65, 70, 80).launched("m", 70, 80, 90).launched("n", 95, 100, 110))
    assert said is not None
    assert " are in phase other, most of it in misc: " in said.what


def test_advice_is_not_to_annotate_what_is_annotated():
    b = TraceBuilder().module("net", 0, 50).launched("k", 10, 20, 50).range("aten::norm", 55, 70)
    said = finding(b.launched("l", 60, 70, 80))
    assert said is not None
    assert "annotate" not in said.advice
    assert ", most of it in aten::norm: " in said.what


@pytest.mark.parametrize(
    ("tool", "names", "speaks"),
    [
        (Tool.NSYS, ("net", "optimizer"), True),
        (Tool.KINETO, ("net", "optimizer"), False),
        (Tool.NSYS, ("net",), False),
        (Tool.NSYS, ("net", "optimizer", "backward"), False),
    ],
)
def test_annotated_training_under_nsys_without_backward(tool, names, speaks):
    """GIVEN perfkit's modules in a recording WHEN it trains and nothing marks backward THEN it is said"""
    b = TraceBuilder()
    for place, name in enumerate(names):
        at = 100 * place
        b = b.module(name, at, at + 90) if name == "net" else b.annotation(name, at, at + 90)
        b.launched("k", at + 10, at + 20, at + 30)
    trace = replace(b.build(), recording=Recording(tool))
    account = account_for(trace, attribute(trace))
    said = backward_unmarked(account, summary(account.partial))
    assert (said is not None) is speaks
    assert said is None or "backward=True" in said.advice


def test_under_a_hundredth_of_the_time_nothing_is_said():
    b = TraceBuilder().annotation("forward", 0, 50).launched("k", 10, 100, 10_000).launched("l", 60, 10_000, 10_090)
    assert finding(b) is None


def test_communication_and_work_without_a_launch_need_no_phase():
    assert finding(TraceBuilder().launched("ncclDevKernel_AllReduce", 10, 20, 50).event("k", 60, 90)) is None


def test_a_phase_that_the_loop_names_says_what_its_work_is():
    """GIVEN work in forward, and work in a phase of the author's own THEN nothing lacks one, and the second is other"""
    b = TraceBuilder().range("perfkit.phase::forward", 0, 50).launched("k", 10, 20, 50)
    b = b.range("perfkit.phase::clip", 55, 75).launched("l", 60, 70, 80)
    assert finding(b) is None
    trace = b.build()
    assert account_for(trace, attribute(trace)).phase.tolist() == [Phase.FORWARD, Phase.OTHER]


def test_on_the_host_what_runs_between_operators_needs_no_phase():
    """GIVEN a step with a frame and an operator WHEN looked at THEN only the operator's time lacks a phase"""
    b = TraceBuilder().step(0, 0, 100).range("script.py(1): main", 10, 90, HostKind.PYTHON).range("aten::mm", 20, 50)
    said = finding(b)
    assert said is not None
    assert said.cost.ns == 30
    assert finding(TraceBuilder().step(0, 0, 100).range("script.py(1): main", 10, 90, HostKind.PYTHON)) is None
