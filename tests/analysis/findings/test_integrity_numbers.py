"""Each check of the integrity report to the number: how many, how long, in which words, and where it begins."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings import integrity
from perfkit.analysis.findings.integrity import (
    CUT_STEPS,
    EXTERNAL_IDS,
    NO_LAUNCH,
    OUT_OF_RANGE,
    OUTSIDE_STEPS,
    OVERLAPPING,
    PROFILER_OVERHEAD,
    SHARED_LAUNCHES,
    STALE_EXPORT,
    UNKNOWN_KERNELS,
    UNLINKED_NODES,
    WHOLE_CUDA_GRAPHS,
    ZERO_DURATIONS,
)
from perfkit.analysis.time.account import Account, Selection, account_for
from perfkit.analysis.time.graphs import CUDA_GRAPHS
from perfkit.render.findings import lines, tables
from perfkit.schema.finding import CLEAN, Finding, Rule
from perfkit.schema.table import Table
from perfkit.trace.columns import DeviceKind, HostKind, ReadFacts, Thread, Trace
from perfkit.trace.recording import WholeGraphs
from tests.analysis import columns
from tests.builders import TraceBuilder, saying


class Said(NamedTuple):
    rule: Rule
    time_ns: int
    what: str


def clean() -> TraceBuilder:
    b = TraceBuilder().step(0, 0, 100).module("Model", 0, 90).range("aten::mm", 10, 40, sequence=1)
    return b.launched("gemm", 20, 50, 60)


def account(trace: Trace, **selection) -> Account:
    return account_for(trace, attribute(trace), Selection(**selection))


def by_name(findings: list[Finding]) -> dict[str, Said]:
    """The rule, the time a step (0: none) and the sentence of each finding but the one of clean traces."""
    return {one.rule.title: Said(one.rule, one.cost.ns or 0, one.what) for one in findings if one.rule is not CLEAN}


def found(builder: TraceBuilder | Trace) -> dict[str, Said]:
    trace = builder if isinstance(builder, Trace) else builder.build()
    return by_name(integrity.findings(account(trace)))


# --- what the file says of itself ---------------------------------------------------------------------------------


def test_pauses_of_the_profiler():
    facts = ReadFacts(ignored={"overhead": 2}, overhead_ns=3000)
    text = "the profiler paused the program 2 times, for 3.000 us in all (buffers, flushes)"
    assert list(found(replace(clean().build(), facts=facts)).values()) == [(PROFILER_OVERHEAD, 3000, text)]


@pytest.mark.parametrize(
    ("said", "issue"),
    [
        (
            {"log": ("a: Out-of-range = 7, b", "Out-of-range = 5", "c", "Out-of-range = 1000")},
            (OUT_OF_RANGE, 0, "the profiler dropped 1,012 records outside its window (its own log says so)"),
        ),
        (
            {"whole_graphs": WholeGraphs(count=2000, time_ns=5000)},
            (
                WHOLE_CUDA_GRAPHS, 5000,
                "2,000 graph launches (5.000 us) were recorded without their kernels and are in no table:"
                " record with nsys profile --cuda-graph-trace=node",
            ),
        ),
        (
            {"newer_report": "a.nsys-rep"},
            (
                STALE_EXPORT, 0, "a.nsys-rep beside this file is newer: analyze it if this file was exported from it"
            ),
        ),
        ({"log": ("Out-of-range = 0",)}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_the_file_says_of_itself(said, issue):
    assert list(found(saying(clean().build(), **said)).values()) == ([issue] if issue else [])


def test_a_clean_trace_says_what_was_looked_at():
    trace = replace(clean().build(), facts=ReadFacts(events=1234))
    [finding] = integrity.findings(account(trace))
    assert lines([finding]) == ["integrity: clean (1,234 events)"]
    assert len(table_of(trace)) == 0


def table_of(trace: Trace) -> Table:
    [table] = [one for one in tables(integrity.findings(account(trace))) if one.name == "integrity"]
    return table


def test_findings_are_lines_and_rows_for_people():
    trace = replace(clean().build(), facts=ReadFacts(negative_durations=1, remarks=("a note",)))
    assert lines(integrity.findings(account(trace))) == [
        "integrity, reading: a note",
        "integrity, negative durations: 1 event ends before it starts; counted as 0 ns",
    ]
    table = table_of(trace)
    assert table.frame[["rule", "what"]].to_numpy().tolist() == [
        ["reading", "a note"],
        ["negative-durations", "1 event ends before it starts; counted as 0 ns"],
    ]
    columns.assert_regular(table)
    assert (table.name, table.title) == ("integrity", "Integrity")


# --- launches -----------------------------------------------------------------------------------------------------


def test_work_without_a_launch_and_what_of_it_ran_before_all_others():
    """GIVEN the first launched kernel at 50, and others without a launch at 49, 50 and 51
    WHEN examined THEN three have none (25 of 35 ns), and one of them ran before"""
    b = clean().event("x", 49, 54).event("x", 50, 60, stream=8).event("x", 51, 61, stream=9)
    assert found(b)["no launch"] == (
        NO_LAUNCH, 25,
        "3 device events (25.00 ns, 71.4%) have no launch in the file;"
        " 1 of them ran before the first event that has one: they were launched before recording began",
    )  # fmt: skip


def test_work_without_a_launch_that_none_of_it_ran_before_the_others():
    assert found(clean().event("x", 70, 80))["no launch"].what == (
        "1 device event (10.00 ns, 50.0%) has no launch in the file"
    )


def test_where_nothing_has_a_launch_nothing_is_said_of_a_first_one():
    """GIVEN a file of kernels alone WHEN examined THEN it is not claimed that they were launched before recording"""
    assert found(TraceBuilder().event("k", 0, 4).event("k", 4, 8))["no launch"] == (
        NO_LAUNCH,
        8,
        "2 device events (8.000 ns, 100.0%) have no launch in the file",
    )
    assert found(TraceBuilder().event("k", 0, 0))["no launch"].what.startswith("1 device event (0 ns, 0.00%)")


def test_only_what_is_shown_counts():
    b = clean().module("b", 95, 99).event("lost", 300, 310)
    trace = b.build()
    assert "no launch" not in by_name(integrity.findings(account(trace, steps=0)))


def test_what_was_launched_outside_the_steps():
    """GIVEN 10 ns launched after the step and 7 ns without a launch WHEN everything or only the step is shown
    THEN the first is counted, and where only steps are shown both are, with a word on where they are"""
    b = clean().launched("late", 200, 300, 310).event("lost", 400, 407)
    trace = b.build()
    everything, steps = (by_name(integrity.findings(account(trace, steps=steps))) for steps in ("all", 0))
    assert everything["outside steps"] == (
        OUTSIDE_STEPS,
        10,
        "1 device event (10.00 ns) was launched outside every step",
    )
    assert steps["outside steps"] == (
        OUTSIDE_STEPS, 17,
        "2 device events (17.00 ns) were launched outside every step: they are in no table (--steps all includes them)",
    )  # fmt: skip
    assert "outside steps" not in found(TraceBuilder().launched("k", 0, 5, 9))


def test_nodes_that_lead_nowhere():
    b = clean().node("MmBackward0", 60, 65, 1).node("MmBackward0", 68, 73, 1).node("LostBackward0", 75, 85, 99)
    assert found(b)["unlinked nodes"] == (
        UNLINKED_NODES, 0,
        "1 of 3 backward nodes link to no forward operation in the file: it ran before recording began, or was not"
        " recorded",
    )  # fmt: skip


def test_graphs():
    b = clean().range("cudaGraphLaunch", 60, 61, HostKind.RUNTIME, correlation=7)
    b.event("gemm", 60, 70, correlation=7).event("gemm", 70, 75, correlation=7)
    b.range("cuGraphLaunch", 80, 81, HostKind.RUNTIME, correlation=8).event("gemm", 85, 86, correlation=8)
    b.event("lost", 91, 92)
    assert found(b)["CUDA graphs"] == (
        CUDA_GRAPHS, 16,
        "3 device events (16.00 ns) ran in 2 graph launches; they have the scope of their launch,"
        " not of the code that was captured",
    )  # fmt: skip
    assert "shared launches" not in found(b)


def test_nodes_of_graphs_whatever_their_launch_is_called():
    b = clean().range("replay", 60, 61, HostKind.RUNTIME, correlation=7)
    for node in (0, 1):
        b.event("gemm", 60 + node, 61 + node, correlation=7, graph_node=node)
    assert found(b)["CUDA graphs"].what.startswith("2 device events (2.000 ns) ran in 1 graph launch;")
    assert "shared launches" not in found(b)
    assert "CUDA graphs" not in found(clean().annotation("cudaGraphLaunch", 92, 93))


def test_noted_scopes_of_graphs():
    b = clean().event("a", 60, 70, correlation=1000, graph_node=5, annotation="layers.3.attn")
    assert found(b.event("b", 70, 71, correlation=1000, graph_node=6))["CUDA graphs"].what == (
        "2 device events (11.00 ns) ran in 1 graph launch; 1 have the scope noted at capture, the others"
        " have the scope of their launch, not of the code that was captured"
    )


def test_shared_launches():
    """GIVEN three kernels on one call and one on another WHEN examined THEN the three share it"""
    b = clean().event("gemm", 60, 70, correlation=1000).event("gemm", 70, 75, correlation=1000)
    b.launched("gemm", 45, 80, 90).event("lost", 91, 92).event("lost", 92, 93)
    assert found(b)["shared launches"] == (
        SHARED_LAUNCHES, 25,
        "3 device events (25.00 ns) share a launch with another: correlation numbers repeat,"
        " as in a file merged from several processes; each event belongs to the first call",
    )  # fmt: skip


# --- times --------------------------------------------------------------------------------------------------------


def test_events_of_no_length():
    b = clean().event("nothing", 70, 70, correlation=1000).launched("short", 30, 80, 81)
    assert found(b)["zero durations"] == (
        ZERO_DURATIONS,
        0,
        "1 device event lasts 0 ns: shorter than the clock's resolution",
    )


def test_overlaps_on_a_stream():
    """GIVEN on one stream 0 to 10, 5 to 8, 8 to 12 and 12 to 20, on a second stream 0 to 9 and 8 to 20, on a
    second device 0 to 9 and 7 to 20 WHEN examined THEN three begin before the one before has ended, by 3, 1 and 2 ns"""
    b = TraceBuilder()
    for number, (start, end, where) in enumerate(
        [
            (12, 20, {}), (5, 8, {}), (0, 10, {}), (8, 12, {}), (8, 20, {"stream": 8}), (0, 9, {"stream": 8}),
            (0, 9, {"device": 1}), (7, 20, {"device": 1}), (20, 25, {"device": 1}),
        ]
    ):  # fmt: skip
        b.launched("k", number, start, end, **where)
    assert found(b)["overlapping"] == (
        OVERLAPPING,
        6,
        "3 device events overlap the one before them on their stream, by 6.000 ns in all",
    )


def test_two_events_may_overlap_and_one_cannot():
    one = TraceBuilder().launched("k", 0, 0, 10)
    assert "overlapping" not in found(one)
    assert found(one.launched("k", 1, 4, 6))["overlapping"].time_ns == 2


def two_ranks(*, numbers_repeat: bool = False) -> TraceBuilder:
    """Three kernels of 10 ns, each from a call of thread 0 and, 4 ns later, from one of thread 1; all on one stream."""
    b = TraceBuilder()
    for kernel in range(3):
        for rank in range(2):
            at, number = 20 * kernel + 4 * rank, 10 * kernel + (0 if numbers_repeat else rank)
            b.range("cudaLaunchKernel", at, at + 1, HostKind.RUNTIME, thread=rank, correlation=number)
            b.event("k", at + 5, at + 15, correlation=number)
    return b


def in_processes(trace: Trace) -> Trace:
    """The trace with a process for each thread."""
    return replace(trace, threads=(Thread(5000, 1), Thread(5001, 1)))


@pytest.mark.parametrize("numbers_repeat", [False, True])
def test_recordings_joined_without_renaming_devices(numbers_repeat):
    """GIVEN two ranks' kernels on one stream of device 0 WHEN they overlap THEN what that may be, and what to do

    Also where their calls have the same numbers, so that all events belong to the first rank's.
    """
    trace = in_processes(two_ranks(numbers_repeat=numbers_repeat).build())
    (finding,) = (one for one in integrity.findings(account(trace)) if one.rule is OVERLAPPING)
    assert finding.what == (
        "3 device events overlap the one before them on their stream, by 18.00 ns in all; 3 of them by the calls of"
        " another process: these may be recordings of several processes, joined without renaming their devices, so that"
        " two devices count as one, whose busy time lacks the overlap"
    )
    assert finding.advice == (
        "analyzing each recording by itself, or joining them with another pid for the devices of each process"
    )


def test_overlaps_in_one_process_are_its_own():
    """GIVEN a process of two threads, or one beside another that has no part in it, or events that name their process

    WHEN they overlap THEN no recordings were joined: dependent launches, or a file that keeps devices apart
    """
    assert "process" not in found(two_ranks())["overlapping"].what
    own = TraceBuilder().launched("k", 0, 5, 15).launched("k", 2, 9, 19).launched("k", 50, 55, 65, thread=1)
    assert "process" not in found(in_processes(own.event("k", 60, 70).build()))["overlapping"].what
    known = in_processes(two_ranks().build())
    known = replace(known, device=replace(known.device, process=np.array([5000, 5001] * 3)))
    assert "process" not in found(known)["overlapping"].what


# --- steps --------------------------------------------------------------------------------------------------------


def stepping(*ranges: int) -> TraceBuilder:
    """Steps of 1000 ns with so many ranges in each, the step's own being one of them."""
    b = TraceBuilder()
    for step, count in enumerate(ranges):
        at = 1000 * step
        b.step(step, at, at + 1000)
        for number in range(count - 1):
            b.annotation("work", at + 10 + 20 * number, at + 20 + 20 * number)
            b.range("call", at + 12 + 20 * number, at + 13 + 20 * number, HostKind.RUNTIME)
    return b


@pytest.mark.parametrize(
    ("ranges", "cut"),
    [
        ((10, 10, 8), ["ProfilerStep#2"]),
        ((8, 10, 10), ["ProfilerStep#0"]),
        ((8, 10, 10, 10, 8), ["ProfilerStep#0", "ProfilerStep#4"]),
        ((10, 10, 9), []),  # nine tenths of the median is still a whole step
        ((10, 5, 10), []),  # what is in the middle was not cut by the recording
        ((10, 8), []),  # two cannot be told apart
    ],
)
def test_steps_that_the_recording_cut(ranges, cut):
    b = stepping(*ranges)
    for number in range(20):  # another thread's work, and what lies behind the last step, tell nothing
        b.annotation("elsewhere", 2 * number, 2 * number + 1, thread=1)
        b.annotation("behind", 1000 * len(ranges) + 2 * number, 1000 * len(ranges) + 2 * number + 1)
    issue = found(b).get("cut steps")
    if not cut:
        assert issue is None
        return
    text = (
        f"{' and '.join(cut)} did clearly less than the other steps: recording began or ended inside, or work differs"
    )
    assert issue == (CUT_STEPS, 0, text)


# --- the rest -----------------------------------------------------------------------------------------------------


def test_external_ids_that_repeat_the_correlation():
    b = TraceBuilder().range("launch", 0, 1, HostKind.RUNTIME, correlation=5, external_id=5)
    assert found(b)["external ids"] == (
        EXTERNAL_IDS,
        0,
        "External ids repeat the correlation ids (a profiler of 2021 to 2023), so they are not used",
    )


def test_two_accounts_of_backward_that_differ():
    b = TraceBuilder()
    for number, name in enumerate("ab"):
        b.module(name, 100 * number, 100 * number + 90).range("aten::mm", 100 * number + 10, 100 * number + 20,
                                                             sequence=number)  # fmt: skip
        at = 300 + 100 * number
        b.range("autograd::engine::evaluate_function: MmBackward0", at, at + 50, sequence=number, forward_thread=1)
        b.range("perfkit.backward::a", at + 10, at + 40)
        b.range("MmBackward0", at + 15, at + 30, sequence=number, forward_thread=1)
    issue = found(b)["backward ranges"]
    assert issue.time_ns == 0
    assert issue.what.startswith("backward ranges agree with sequence numbers: 1 of 2 nodes")


def test_names_of_no_known_kind_longest_first():
    """GIVEN five unknown names, one of them twice and one very long, beside copies and what an operator explains
    WHEN examined THEN the three that took most are shown, cut to 60 letters, and the others counted"""
    b, long = clean(), "z" * 70
    for number, (name, duration) in enumerate([("aa", 3), ("bb", 9), (long, 8), ("aa", 4), ("dd", 2), ("ee", 1)]):
        b.launched(name, 92 + number, 100 * number, 100 * number + duration)
    b.launched("Memcpy", 98, 1000, 1050, kind=DeviceKind.MEMCPY).range("aten::mm", 60, 80)
    assert found(b.launched("kk", 70, 2000, 2090))["unknown kernels"] == (
        UNKNOWN_KERNELS,
        27,
        f"5 kernel names of no known category (27.00 ns): bb, {'z' * 60}, aa and 2 more",
    )


def test_three_unknown_names_are_all_shown():
    b = clean()
    for number, name in enumerate(("aa", "bb", "cc")):
        b.launched(name, 92 + number, 100 * number, 100 * number + 9 - number)
    assert found(b)["unknown kernels"].what.endswith(": aa, bb, cc")


def test_a_known_kind_without_a_category_of_its_own_is_not_unknown():
    """GIVEN a pooling kernel, which counts as other by a pattern WHEN examined THEN it is no unknown name"""
    assert "unknown kernels" not in found(clean().launched("max_pool_forward", 92, 100, 109))


@pytest.mark.parametrize("check", ["no launch", "zero durations", "overlapping", "CUDA graphs", "shared launches",
                                   "outside steps", "unknown kernels"])  # fmt: skip
def test_checks_of_device_work_are_silent_without_any(check):
    assert check not in found(TraceBuilder().step(0, 0, 100).range("aten::mm", 10, 10))
