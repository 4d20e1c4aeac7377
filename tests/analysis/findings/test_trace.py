"""What a trace holds, in sentences: each finding's number, and when it is silent."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.findings.trace import UNATTRIBUTED_TIME, captured, one_rank, one_rank_each, only_rank
from perfkit.analysis.reports.trace import findings_of, report
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.render.findings import lines
from perfkit.schema.finding import Finding
from perfkit.trace.columns import Trace
from perfkit.trace.recording import Recording, Tool
from tests.builders import TraceBuilder, device_step, saying


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


@pytest.mark.parametrize(
    ("ranks", "world", "what"),
    [
        ([0], 4, "the trace of only 1 of 4 ranks was read, rank 0: it says nothing of ranks 1-3"),
        ([1], 2, "the trace of only 1 of 2 ranks was read, rank 1: it says nothing of rank 0"),
        ([3, 0], 4, "the traces of only 2 of 4 ranks were read, ranks 0, 3: they say nothing of ranks 1, 2"),
        (range(8), 64, "the traces of only 8 of 64 ranks were read, ranks 0-7: they say nothing of ranks 8-63"),
        (range(0, 64, 2), 64, "the traces of only 32 of 64 ranks were read: they say nothing of the others"),
        ([], 2048, "the trace of only 1 of 2,048 ranks was read: it says nothing of the others"),
        ([9], 4, "the trace of only 1 of 4 ranks was read, rank 9: it says nothing of the others"),
    ],
    ids=["one", "one of two", "two", "a node", "every other", "which is not known", "not of these"],
)
def test_who_is_missing_is_said(ranks, world, what):
    found = captured(ranks, world)
    assert found is not None
    assert (found.rule.id, found.what) == ("captured-ranks", what)


@pytest.mark.parametrize(("ranks", "world"), [([0, 1], 2), ([0], 1), ([0], None), ([], 1), ([0, 1, 2], 2)])
def test_nothing_is_said_where_all_are_there_or_nobody_knows(ranks, world):
    assert captured(ranks, world) is None


@pytest.mark.parametrize(
    ("rank", "world", "remark"),
    [
        (3, 4, "this is rank 3 of a job of 4 ranks: nothing here is about the other 3"),
        (0, 2, "this is rank 0 of a job of 2 ranks: nothing here is about the other"),
        (None, 2, "this is one rank of a job of 2 ranks: nothing here is about the other"),
        (0, 1, None), (0, None, None), (None, None, None),
    ],
)  # fmt: skip
def test_a_trace_of_one_rank_is_remarked_upon(rank, world, remark):
    """GIVEN a trace that says its rank THEN a note where it was named itself, a first line where its folder was"""
    about = account(saying(device_step().build(), rank=rank, world_size=world))
    note, first = one_rank(about, {}), only_rank(about, {})
    assert (note.what if note else None) == remark
    assert (first is None) == (remark is None)
    if note and first:
        assert (note.rule.read, first.rule.read) == ("by topic", "first")


@pytest.mark.parametrize(
    ("a", "b", "remark"),
    [
        ((0, 8), (3, 8), "A is rank 0 of 8 and B is rank 3 of 8: nothing here is about other ranks"),
        ((None, 2), (0, 1), "A is one rank of 2: nothing here is about other ranks"),
        ((None, None), (1, 2), "B is rank 1 of 2: nothing here is about other ranks"),
        ((1, 2), (0, 2), "A is rank 1 of 2 and B is rank 0 of 2"),
        ((0, 2), (0, 2), "A is rank 0 of 2 and B is rank 0 of 2: nothing here is about other ranks"),
        ((0, 1), (None, None), None),
    ],
)
def test_two_traces_are_each_of_one_rank(a, b, remark):
    found = one_rank_each(*(Recording(Tool.KINETO, rank=rank, world_size=world) for rank, world in (a, b)))
    assert (found.what if found else None) == remark
