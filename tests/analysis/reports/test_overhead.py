"""The profiler's own cost, from records by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest

from perfkit.analysis.reports import overhead
from perfkit.analysis.reports.overhead import PROFILING_COST
from perfkit.render import terminal
from perfkit.schema.finding import NO_COST
from perfkit.schema.probes import StepProbes
from perfkit.schema.record import RunRecord
from tests.reports import evidence_that_misses, lines_in, tables_for_people
from tests.runs import quick, sample, saved


def record(*walls: float, profiler: str = "none", **phases: float) -> RunRecord:
    """Steps of these times, each with the same phases."""
    return saved(config=quick(profiler=profiler), steps=tuple(sample(wall, **phases) for wall in walls))


def test_the_table_has_both_medians_their_difference_and_their_ratio():
    # GIVEN a step of which 2 ms are in forward, and under the profiler 6 of 14
    plain = record(0.010, 0.010, forward=0.002)
    profiled = record(0.014, 0.014, profiler="torch", forward=0.006)

    # WHEN
    report = overhead.report(profiled, plain)

    # THEN
    [table] = report.tables
    assert terminal.render(table, color=False, width=120, top=1).splitlines()[:6] == [
        "Overhead of --profiler torch",
        "phase    plain (ms)  profiled (ms)  added (ms)  profiled/plain",
        "──────────────────────────────────────────────────────────────",
        "step          10.00          14.00        4.00           1.400",
        "forward        2.00           6.00        4.00           3.000",
        "rest           8.00           8.00        0.00           1.000",
    ]
    assert tables_for_people(report) == report.tables
    assert report.summary == {"overhead_ratio": pytest.approx(1.4)}
    [finding] = report.findings
    cost = finding.cost.ns, finding.cost.share
    assert (finding.rule, cost) == (PROFILING_COST, (4_000_000, pytest.approx(0.4)))
    assert evidence_that_misses(report) == []


def test_where_others_took_time_from_either_side_the_overhead_is_not_known():
    # GIVEN plain steps of 10 ms of which the main thread waited for a CPU for 4
    delayed = StepProbes(main_cpu_s=0.006, main_delay_s=0.004)
    plain = saved(steps=(dataclasses.replace(sample(0.010), probes=delayed),) * 2)

    # WHEN
    [finding] = overhead.report(record(0.014, 0.014, profiler="torch"), plain).findings

    # THEN
    assert finding.what.endswith("; other programs took time from the plain ones, so the overhead is not known")
    assert (finding.cost, finding.sure) == (NO_COST, "guessed")


def test_a_phase_of_one_side_only_is_left_out_and_one_without_time_has_no_ratio():
    # GIVEN
    plain, profiled = record(0.01, backward=0.0), record(0.01, forward=0.002, backward=0.003)

    # WHEN
    [table] = overhead.report(profiled, plain).tables

    # THEN
    ratios = dict(zip(table.frame["phase"], table.frame["ratio"], strict=True))
    assert list(ratios) == ["step", "backward", "rest"]
    assert math.isnan(ratios["backward"])


@pytest.mark.parametrize(
    ("plain", "profiled", "known"),
    [
        ((0.0099, 0.0101), (0.0119, 0.0121), True),
        ((0.01, 0.01), (0.01, 0.01), True),  # no spread, no overhead
        ((0.0099, 0.0101), (0.0079, 0.0081), True),  # faster, and by more than the spread
        ((0.008, 0.012), (0.0109, 0.0111), False),
        ((0.0099, 0.0101), (0.009, 0.013), False),
        ((0.008, 0.012), (0.0089, 0.0091), False),
    ],
)
def test_less_than_the_steps_of_either_process_differ_by_is_not_known(plain, profiled, known):
    [finding] = overhead.report(record(*profiled), record(*plain)).findings
    assert finding.what.startswith("profiled steps take ")
    assert ("the overhead is not known" not in finding.what) is known
    assert finding.sure == ("measured" if known else "guessed")


@pytest.mark.parametrize("without", ["plain", "profiled"])
def test_without_steps_on_either_side_nothing_is_said_of_them(without):
    # GIVEN
    records = {"plain": record(0.01), "profiled": record(0.02)}
    records[without] = dataclasses.replace(records[without], steps=())

    # WHEN
    report = overhead.report(records["profiled"], records["plain"])

    # THEN
    assert (report.tables, tables_for_people(report), report.summary) == ((), (), {})
    assert "overhead is not known" in lines_in(report)[0]
