"""What a trace holds, in sentences: each finding's number, and when it is silent."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.trace import UNATTRIBUTED_TIME
from perfkit.analysis.reports.trace import findings_of, report
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.render.findings import lines
from perfkit.schema.finding import Finding
from perfkit.trace.columns import Trace
from tests.builders import TraceBuilder, device_step


def account(trace: Trace, **selection) -> Account:
    return account_for(trace, attribute(trace), Selection(**selection))


def remarks(account: Account) -> list[str]:
    return lines(findings_of(account))


def test_backward_without_a_node_in_the_file_is_not_called_the_engines():
    """GIVEN backward known by an operator alone WHEN explained THEN the reason is that the file has no nodes"""
    b = TraceBuilder().module("net", 0, 50).launched("k", 5, 10, 20)
    texts = remarks(account(b.range("aten::linear_backward", 60, 80).launched("k", 65, 70, 90).build()))
    why = "<unattributed>: 20.00 ns in all (66.7%) in backward, on threads where the file has no autograd nodes"
    assert any(line.startswith(why) for line in texts)


def test_the_rest_is_explained_where_there_is_one():
    texts = remarks(account(device_step().build()))
    assert "<unattributed>: 5.000 ns in all (12.5%) outside every scope" in texts
    scoped = TraceBuilder().module("net", 0, 50).launched("k", 5, 10, 20)
    assert not any("<unattributed>" in line for line in remarks(account(scoped.build())))


@pytest.mark.parametrize(
    ("scope", "operator", "said"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_where_no_range_names_a_module_operators_are_suggested(scope, operator, said):
    b = TraceBuilder().step(0, 0, 100).launched("k", 20, 30, 40)
    b = b.module("net", 5, 90) if scope else b
    b = b.range("aten::mm", 10, 40) if operator else b
    line = "no range names a module: tables by layer have a row for each operator"
    assert any(line in remark for remark in remarks(account(b.build()))) == said


def test_what_lacks_phases_and_modules_is_told_once_what_to_try():
    b = TraceBuilder().annotation("load", 0, 50).launched("k", 10, 100, 110)
    told = [line for line in remarks(account(b.build())) if "try perfkit.annotate(model) while recording" in line]
    assert len(told) == 1


def test_ranges_that_hold_little_are_said_to():
    b = TraceBuilder().annotation("load", 0, 50).launched("k", 10, 100, 110)
    b.range("aten::mm", 60, 90).launched("k", 70, 110, 140)
    line = (
        "no module is named, and ranges hold less than half of the time: tables by layer have a row for each range or"
        " operator"
    )
    assert line in remarks(account(b.build()))


def test_nothing_shown_suggests_nothing():
    trace = TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 40).build()
    assert not any("names a module" in line for line in remarks(account(trace, phase=Phase.BACKWARD)))


def test_ranges_and_numbers_that_agree_are_a_remark_and_else_an_issue():
    def nodes(second: str) -> list[str]:
        b = TraceBuilder().module("a", 0, 90).range("aten::mm", 10, 20, sequence=1)
        b.range("autograd::engine::evaluate_function: MmBackward0", 100, 150, sequence=1, forward_thread=1)
        b.range(f"perfkit.backward::{second}", 110, 140)
        b.range("MmBackward0", 115, 130, sequence=1, forward_thread=1).launched("k", 120, 120, 125)
        return remarks(account(b.build()))

    agreed = "backward ranges agree with sequence numbers: 1 of 1 nodes"
    assert agreed in nodes("a")
    assert not any(line.startswith("integrity, backward ranges") for line in nodes("a"))
    assert not any(line.startswith("backward ranges agree") for line in nodes("b"))
    assert any(line.startswith("integrity, backward ranges") for line in nodes("b"))
    assert not any("backward ranges" in line for line in remarks(account(device_step().build())))


def test_costs_are_a_step():
    """GIVEN 10 ns without a scope in two steps, of 60 THEN a step has 5, a sixth of all; without steps it is 10"""
    for steps, each in ((2, 5), (0, 10)):
        b = TraceBuilder().module("net", 0, 90).launched("k", 10, 0, 50).launched("k", 95, 60, 70)
        for step in range(steps):
            b.step(step, 50 * step, 50 * step + 50)
        [finding] = [one for one in report(b.build()).findings if one.rule is UNATTRIBUTED_TIME]
        assert (finding.cost.ns, finding.cost.share) == (each, pytest.approx(1 / 6))


def test_names_that_two_models_share_are_said_with_what_to_do():
    b = TraceBuilder()
    for root, at in (("G", 0), ("D", 500)):
        b.module(root, at, at + 400)
        for number in range(5):
            b.module(f"{number}", at + 10 + 50 * number, at + 50 + 50 * number)
    [found] = [f for f in trace_findings_of(b) if f.rule.id == "shared-names"]
    assert found.what == (
        "modules of several models share names, and the rows of these names add them up: 0, 1, 2 and 2 more"
    )
    assert found.advice == 'annotate(model, root="NAME"), with another name for each model'
    assert [e.key["scope"] for e in found.evidence] == ["0", "1", "2", "3", "4"]
    assert not any(f.rule.id == "shared-names" for f in trace_findings_of(TraceBuilder().module("net", 0, 9)))


def trace_findings_of(b: TraceBuilder) -> tuple[Finding, ...]:
    return findings_of(account(b.build()))
