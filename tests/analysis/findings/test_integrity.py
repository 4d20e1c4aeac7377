"""What the integrity report finds, each in a trace made for it, and that it stays silent without cause."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings import integrity
from perfkit.analysis.time.account import account_for
from perfkit.schema.finding import CLEAN, Cost, Evidence, Finding
from perfkit.trace.columns import BEGIN_END, NO_TIME, HostKind, ReadFacts
from tests.builders import TraceBuilder


def clean() -> TraceBuilder:
    b = TraceBuilder().step(0, 0, 100).module("Model", 0, 90).range("aten::mm", 10, 40, sequence=1)
    return b.launched("gemm", 20, 50, 60)


def checks(builder: TraceBuilder) -> dict[str, Finding]:
    """What asks for caution, by the name that people read."""
    trace = builder.build()
    found = integrity.findings(account_for(trace, attribute(trace)))
    return {one.rule.title: one for one in found if one.rule is not CLEAN}


def test_a_clean_trace_is_one_line():
    trace = clean().build()
    assert len(integrity.findings(account_for(trace, attribute(trace)))) == 1
    assert checks(clean()) == {}


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        (ReadFacts(truncated_at=1000), "truncated file"),
        (ReadFacts(repairs={"backslash": 2}), "repaired JSON"),
        (ReadFacts(remarks=("the file changed",)), "reading"),
        (ReadFacts(resolution_ns=1000), "resolution"),
        (ReadFacts(negative_durations=3), "negative durations"),
        (ReadFacts(ignored={"kernel" + NO_TIME: 2, "ac2g": 9}), "unusable events"),
        (ReadFacts(ignored={BEGIN_END: 2, "gpu_user_annotation": 9}), "unusable events"),
    ],
)
def test_facts_of_the_file(facts, check):
    b = clean()
    b.facts = facts
    assert set(checks(b)) == {check}


def test_work_launched_before_the_window():
    found = checks(clean().event("before", 1, 31))["no launch"]
    assert found.cost == Cost(30, 0.75)
    assert found.what.startswith("1 device event (30.00 ns, 75.0%) ")
    assert "; it ran before" in found.what
    assert found.evidence == (Evidence("phases", {"phase": "unlaunched"}),)


def test_kernels_of_a_file_without_any_launch():
    """GIVEN three kernels and no launch THEN none is said to have run before the first that has one"""
    b = TraceBuilder().event("gemm", 0, 30, correlation=1).event("gemm", 100, 130, correlation=2).event("k", 200, 230)
    assert checks(b)["no launch"].what == "3 device events (90.00 ns, 100.0%) have no launch in the file"


def test_a_cost_is_that_of_a_step():
    """GIVEN 30 ns without a launch in two steps, of 60 ns in all WHEN examined THEN a step has 15, half of all"""
    b = TraceBuilder().step(0, 0, 100).step(1, 100, 200).range("aten::mm", 10, 40).launched("gemm", 20, 50, 80)
    assert checks(b.event("before", 1, 31))["no launch"].cost == Cost(15, 0.5)


def test_zero_overlapping_and_outside():
    b = clean().event("nothing", 70, 70, correlation=1000).event("other", 55, 65, correlation=1000, stream=7)
    b.launched("late", 200, 300, 310)
    found = checks(b)
    assert found["zero durations"].what.startswith("1 device event")
    assert found["overlapping"].cost.ns == 5
    assert found["outside steps"].cost == Cost(10, 10 / 30)


def test_kernels_on_different_streams_do_not_overlap():
    assert "overlapping" not in checks(clean().launched("other", 25, 55, 65, stream=8))


def test_external_ids_that_are_correlations():
    b = TraceBuilder().range("launch", 0, 1, HostKind.RUNTIME, correlation=5, external_id=5)
    assert "external ids" in checks(b.event("k", 2, 3, correlation=5))


def test_calls_without_external_ids_do_not_repeat_the_correlation():
    """GIVEN a file without either number WHEN examined THEN nothing is said of an old profiler"""
    assert "external ids" not in checks(clean().range("launch", 60, 61, HostKind.RUNTIME))


def test_a_graph_launch_says_whose_scope_its_kernels_have():
    b = clean().range("cudaGraphLaunch", 60, 61, HostKind.RUNTIME, correlation=7)
    found = checks(b.event("gemm", 60, 70, correlation=7).event("gemm", 70, 80, correlation=7))
    assert found["CUDA graphs"].what.startswith("2 device events (20.00 ns) ")
    assert "shared launches" not in found


def test_a_correlation_that_comes_twice_is_no_graph():
    """GIVEN two kernels with one correlation number, of an ordinary call WHEN examined THEN they share it"""
    found = checks(clean().event("gemm", 60, 70, correlation=1000))
    assert found["shared launches"].what.startswith("2 device events (20.00 ns) ")
    assert "CUDA graphs" not in found


def test_backward_that_leads_nowhere_is_counted():
    """GIVEN one node of two whose forward operation ran before recording WHEN examined THEN it is counted"""
    b = clean().node("MmBackward0", 60, 70, 1).node("LostBackward0", 75, 85, 99)
    assert checks(b)["unlinked nodes"].what.startswith("1 of 2 backward nodes link to no forward operation")


def test_dropped_records_and_unknown_names():
    b = clean().launched("mystery_kernel", 95, 96, 99)
    b.metadata = {"INFO": ["CuptiActivityProfiler.cpp:300] Record counts: Out-of-range = 7, Blocklisted runtime = 9"]}
    found = checks(b)
    assert found["out of range"].what.startswith("the profiler dropped 7 records")
    assert found["unknown kernels"].what.startswith("1 kernel name of no known category (3.000 ns): mystery_kernel")


def test_a_graph_node_goes_to_the_scope_noted_at_capture():
    """GIVEN a replayed graph with annotations WHEN attributed THEN its nodes have them, and the report says so"""
    b = clean().event("second", 60, 70, correlation=1000, graph_node=5, annotation="layers.3.attn")
    trace = b.build()
    found = attribute(trace)
    account = account_for(trace, found)
    assert [account.scopes[index] for index in account.scope] == ["Model", "layers.3.attn"]
    assert "1 have the scope noted at capture" in checks(b)["CUDA graphs"].what


def test_the_profilers_own_pauses():
    b = clean()
    b.facts = ReadFacts(ignored={"overhead": 4}, overhead_ns=5000)
    found = checks(b)["profiler overhead"]
    assert found.cost == Cost(5000)
    assert "4 times, for 5.000 us in all" in found.what


def test_a_step_cut_by_the_recording():
    """GIVEN four steps of which the last is cut short WHEN examined THEN it is named; whole steps are not"""
    b = TraceBuilder()
    for step in range(4):
        b.step(step, step * 100, step * 100 + 100)
        for op in range(10 if step < 3 else 4):
            b.range("aten::mm", step * 100 + op * 10, step * 100 + op * 10 + 5, sequence=op)
    found = checks(b)["cut steps"]
    assert (found.where, found.sure) == ("ProfilerStep#3", "guessed")
    assert found.what.startswith("ProfilerStep#3 did clearly less")
