"""Crossing ranges are said where work in their overlap could belong to another scope or phase, and nowhere else."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings.crossing import _NEVER, CROSSING_RANGES, _ends_of_others, crossing_ranges
from perfkit.analysis.findings.integrity import CHECKS
from perfkit.analysis.time.account import account_for
from perfkit.schema.finding import Cost, Finding
from perfkit.trace.columns import ACROSS_THREADS, HostKind, ReadFacts, Thread, Trace
from perfkit.trace.load import load
from tests.builders import TraceBuilder
from tests.corpus import corpus_file


def found(trace: TraceBuilder | Trace) -> Finding | None:
    trace = trace if isinstance(trace, Trace) else trace.build()
    return crossing_ranges(account_for(trace, attribute(trace)))


def crossed(**thread: int) -> TraceBuilder:
    """Scopes a from 0 to 50 and b from 40 to 90."""
    return TraceBuilder().annotation("a", 0, 50, **thread).annotation("b", 40, 90, **thread)


def test_work_in_the_overlap_of_two_scopes() -> None:
    """GIVEN scopes that cross WHEN 30 of 100 ns are launched where both are open THEN those could belong to either"""
    b = crossed().launched("before", 20, 100, 140).launched("both", 45, 140, 170).launched("after", 50, 170, 200)
    assert found(b) == Finding(
        CROSSING_RANGES,
        "30.00 ns (30.0%) of work could belong to another scope or phase: 1 host range begins inside one of another"
        " scope or phase and ends after it; what both hold counts in the later one",
        Cost(30, 0.3),
    )
    assert crossing_ranges in CHECKS


def test_a_cost_is_that_of_a_step() -> None:
    """GIVEN two steps with one pair in each WHEN 20 and 40 ns are launched in the overlaps THEN a step has 30"""
    b = TraceBuilder().step(0, 0, 100).annotation("a", 1, 50).annotation("b", 40, 90).launched("k", 45, 100, 120)
    b.step(1, 100, 200).annotation("a", 101, 150).annotation("b", 140, 190).launched("k", 145, 200, 240)
    finding = found(b)
    assert finding is not None
    assert finding.cost == Cost(30, 1.0)
    assert "2 host ranges begin inside one of another scope or phase and end after it" in finding.what


@pytest.mark.parametrize(
    "trace",
    [
        crossed().launched("k", 39, 100, 120).launched("k", 50, 120, 130),  # before and after
        crossed().launched("k", 45, 100, 100),  # which takes no time
        crossed().launched("k", 45, 100, 120, thread=1),
        crossed().event("k", 45, 60),  # which nothing launched
        TraceBuilder().annotation("a", 0, 50).annotation("a", 40, 90).launched("k", 45, 100, 120),  # one scope
        TraceBuilder().annotation("a", 0, 50).annotation("b", 50, 90).launched("k", 50, 100, 120),  # they touch
        TraceBuilder().annotation("s", 0, 99).range("a", 0, 50).range("b", 40, 90).launched("k", 45, 100, 120),
        TraceBuilder().annotation("a", 0, 50).annotation("b", 40, 90, thread=1).launched("k", 45, 100, 120),
        TraceBuilder().annotation("a", 0, 50).range("call", 40, 90, HostKind.RUNTIME).launched("k", 45, 100, 120),
        TraceBuilder().annotation("a", 0, 50).annotation("x", 45, 48).annotation("b", 60, 99).annotation("y", 60, 62)
        .launched("k", 46, 100, 120),  # children of two ranges
    ],
)  # fmt: skip
def test_where_nothing_can_move_nothing_is_said(trace: TraceBuilder) -> None:
    assert found(trace) is None


def test_a_python_frame_that_ends_a_range_is_no_cause_for_caution() -> None:
    """GIVEN the frame of record_function's own exit, which outlasts the range WHEN only that is in it THEN nothing"""
    b = TraceBuilder().annotation("a", 0, 50).range("record_function.__exit__", 48, 55, HostKind.PYTHON)
    b.annotation("b", 60, 90).launched("k", 20, 100, 120).launched("k", 70, 120, 150)
    assert found(b) is None


def test_ranges_of_one_scope_but_of_two_phases() -> None:
    """GIVEN an operator in a scope's forward and the optimizer's range WHEN they cross THEN the phase is at stake"""
    b = TraceBuilder().range("aten::mm", 0, 50, sequence=1).annotation("Optimizer.step#SGD.step", 40, 90)
    finding = found(b.launched("k", 45, 100, 120))
    assert finding is not None
    assert finding.cost == Cost(20, 1.0)


def test_the_longest_range_of_another_scope_decides() -> None:
    """GIVEN a long range of the same name and a shorter one of another, both crossed WHEN compared THEN the other"""
    b = TraceBuilder().annotation("block b", 0, 60).annotation("a", 10, 70).annotation("block b", 50, 90)
    inside = b.launched("k", 65, 100, 120).launched("k", 72, 120, 150)
    finding = found(inside)
    assert finding is not None
    assert finding.cost.ns == 20


@pytest.mark.parametrize(("resolution", "time"), [(1, 500 + 7), (1000, 500)])
def test_what_the_clock_cannot_tell_apart_does_not_cross(resolution: int, time: int) -> None:
    """GIVEN ranges that cross by 2000 and by 1 ns WHEN the times are whole microseconds THEN the first pair alone"""
    b = TraceBuilder().annotation("a", 0, 5000).annotation("b", 3000, 9000).annotation("c", 8999, 20000)
    b.launched("k", 4000, 0, 500).launched("k", 8999, 500, 507)
    finding = found(replace(b.build(), facts=ReadFacts(resolution_ns=resolution)))
    assert finding is not None
    assert finding.cost.ns == time


def test_ranges_across_threads_may_cross() -> None:
    trace = crossed(thread=1).annotation("c", 0, 9).launched("k", 45, 100, 120, thread=1).build()
    assert found(trace) is not None
    assert found(replace(trace, threads=(Thread(1, 1), Thread(1, 0, ACROSS_THREADS)))) is None


def test_without_a_device_the_operators_in_the_overlap_count() -> None:
    """GIVEN scopes on a CPU WHEN an operator of 6 ns runs where both are open THEN those; without one, nothing"""
    assert found(crossed().range("aten::mm", 60, 70)) is None
    finding = found(crossed().range("aten::mm", 42, 48).range("aten::mm", 60, 70))
    assert finding is not None
    assert finding.cost.ns == 6


def test_without_operators_the_overlap_itself_counts() -> None:
    """GIVEN ranges alone, of 50 ns each, that overlap for 10 WHEN examined THEN 10 of the 100 ns that are counted"""
    finding = found(crossed())
    assert finding is not None
    assert finding.cost == Cost(10, 0.1)


def test_the_latest_end_of_another_kind_against_brute_force() -> None:
    drawn = random.Random(11)
    for _ in range(200):
        rows = [(drawn.randrange(2), drawn.randrange(3), drawn.randrange(9)) for _ in range(drawn.randrange(12))]
        family, kind, end = (
            np.array(column, dtype=np.int64) for column in (zip(*rows, strict=True) if rows else [[]] * 3)
        )
        expected = [
            max((e for f, k, e in rows[:index] if f == own[0] and k != own[1]), default=_NEVER)
            for index, own in enumerate(rows)
        ]
        assert _ends_of_others(family, kind, end).tolist() == expected


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["mi300_resnet_checkpoint_training", "h100_qwen_0.5b_inference", "b300_moe_decode"])
def test_real_traces_with_crossings_and_no_work_in_them(name: str) -> None:
    """GIVEN 24, 2 and 4 crossings of Python frames with annotations (issue 11: noise) WHEN examined THEN nothing"""
    assert found(load(corpus_file(f"kineto/{name}.json.gz"), use_cache=False)) is None
