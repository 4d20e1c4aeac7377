"""Gains by replay: of which findings, what they say, and how findings are ranked by them."""

from __future__ import annotations

import dataclasses

import numpy as np

from perfkit.analysis.findings.performance import catalogue
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.findings.performance.look import Look
from perfkit.analysis.time.replay.edit import Edit
from perfkit.schema.finding import Cost, Finding, Rule
from perfkit.trace.columns import HostKind
from tests.analysis.findings.performance.cases import US, case_of
from tests.builders import TraceBuilder

STEP = 100 * US


def program() -> TraceBuilder:
    """A step of 100 us that the host paces: `a` takes 40 us of the host and launches 1, `b` 50 us and launches 20."""
    b = TraceBuilder().step(0, 0, STEP).range("aten::a", 0, 40 * US).launched("ka", 10 * US, 12 * US, 13 * US)
    return b.range("aten::b", 40 * US, 90 * US).launched("kb", 50 * US, 52 * US, 72 * US)


def gone(name: str):
    def edit(case: Case, _: Finding) -> Edit:
        return Edit(host=case.host.matching(lambda text: text == name))

    return edit


def kernel_gone(case: Case, _: Finding) -> Edit:
    return Edit(device=np.ones(len(case.trace.device.start), dtype=bool))


def look(name: str, cost: int | None, edit=None, **how) -> Look:
    rule = Rule(name, "performance", "made by a test")
    return Look(rule, lambda _: Finding(rule, name, Cost(cost), sure="measured"), (), edit=edit, **how)


def found(*looks: Look, b: TraceBuilder | None = None) -> tuple[Finding, ...]:
    return catalogue.findings(case_of(b or program()), looks)


def test_a_gain_is_what_the_step_takes_less_without_it():
    """GIVEN an operator of 40 us on the host's way WHEN a finding is about it THEN it gains at most 40 us of 100"""
    (finding,) = found(look("a", 10 * US, gone("aten::a")))
    assert finding.gain == Cost(40 * US, 0.4)
    assert finding.cost == Cost(10 * US)
    assert finding.at_stake == finding.gain
    assert finding.what == "a; at most 40.00 us of 100.0 us a step to gain, by a replay without it"
    assert finding.sure == "measured"


def test_work_that_does_not_set_the_pace_gains_nothing():
    """GIVEN kernels that the host outlasts WHEN they are gone THEN nothing is gained, and the cost stays"""
    (finding,) = found(look("kernels", 21 * US, kernel_gone))
    assert (finding.cost.ns, finding.gain.ns, finding.at_stake.ns) == (21 * US, 0, 0)
    assert finding.what.endswith("gains nothing, since something else sets the pace of 100.0 us a step")


def test_findings_are_ranked_by_their_gains():
    """GIVEN a dear finding that gains nothing, one without an edit, and a cheap one that gains much THEN by gain"""
    said = found(look("dear", 90 * US, kernel_gone), look("plain", 45 * US), look("cheap", 10 * US, gone("aten::b")))
    assert [(one.rule.id, one.at_stake.ns) for one in said] == [("cheap", 50 * US), ("plain", 45 * US), ("dear", 0)]


def test_idle_time_gains_no_more_than_there_is():
    (finding,) = found(look("idle", 30 * US, gone("aten::a"), is_idle=True))
    assert finding.gain.ns == 30 * US


def test_five_findings_at_most_are_replayed():
    """GIVEN seven findings with edits THEN the five dearest are replayed; they gain nothing, so the others are first"""
    said = found(*(look(f"f{number}", (10 - number) * US, kernel_gone) for number in range(7)))
    assert [one.rule.id for one in said] == ["f5", "f6", "f0", "f1", "f2", "f3", "f4"]
    assert [one.gain.ns for one in said] == [None, None, 0, 0, 0, 0, 0]


def test_without_findings_that_cost_something_nothing_is_replayed(monkeypatch):
    def unwanted(*_: object) -> None:
        raise AssertionError("a replay that nobody needs")

    monkeypatch.setattr("perfkit.analysis.findings.performance.case.graph_of", unwanted)
    assert found() == ()
    (finding,) = found(look("free", None, kernel_gone))
    assert finding.gain.ns is None


def test_a_host_alone_has_guesses():
    """GIVEN no device THEN the cost stands without a gain, and is a guess; what has no cost is as sure as it was"""
    b = TraceBuilder().step(0, 0, STEP).range("aten::a", 0, 40 * US)
    first, second = found(look("a", 10 * US, gone("aten::a")), look("b", None), b=b)
    assert (first.gain.ns, first.sure, first.what) == (None, "guessed", "a")
    assert second.sure == "measured"


def test_a_replay_that_misses_its_recording_is_refused():
    """GIVEN a kernel that starts 60 us late for no reason in the file THEN the replay is off, and costs are guesses"""
    b = program().launched("late", 91 * US, 92 * US, 93 * US)
    b.range("cudaDeviceSynchronize", 92 * US, 99 * US, HostKind.RUNTIME)
    b.launched("odd", 99 * US, 900 * US, 950 * US).step(1, 960 * US, 970 * US)
    assert case_of(b).replay is None
    (finding,) = found(look("a", 10 * US, gone("aten::a")), b=b)
    assert (finding.gain.ns, finding.sure) == (None, "guessed")


def test_an_edit_that_cannot_be_said_leaves_the_cost():
    (finding,) = found(look("a", 10 * US, lambda case, finding: None))
    assert finding == dataclasses.replace(finding, gain=Cost())
