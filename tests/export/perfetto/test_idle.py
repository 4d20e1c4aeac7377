"""Idle gaps by cause, all of them."""

from __future__ import annotations

from collections import Counter

from perfkit.analysis.time.idle.tables import wall_time_table
from tests.analysis.time.idle.traces import USERS, account_of, loop
from tests.builders import TraceBuilder
from tests.export.perfetto.reading import exported, shown, timeline


def test_a_gap_has_its_cause_and_what_ended_it():
    """GIVEN a kernel launched 10 ns after the one before it ended WHEN exported THEN the gap is launch-starved"""
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).launched("a", 1, 5, 20).launched("b", 30, 35, 100)
    gap = next(s for s in shown(b).on("idle, by cause") if s.start == 20)
    assert (gap.name, gap.end, gap.args["ended by"]) == ("idle: launch-starved", 35, "b")
    assert (gap.args["scope of what ended it"], gap.args["phase of what ended it"]) == ("net", "forward")


def test_gaps_add_up_to_the_table_of_wall_time():
    account = account_of(loop())
    table = wall_time_table(account.partial).frame
    expected = {row["what"]: row["total_ns"] for row in table.to_dict("records") if row["what"].startswith("idle")}
    gaps = timeline(exported(account)).of("perfkit.idle")
    sums: Counter[str] = Counter()
    for gap in gaps:
        sums[gap.name] += gap.end - gap.start
    assert sums == expected
    assert len(expected) > 1


def test_a_gap_of_a_wait_names_it():
    waits = [s.args for s in shown(loop()).on("idle") if s.name == "idle: blocking"]
    assert {(args["waited in"], args["host operator"]) for args in waits} == {("cudaStreamSynchronize", "aten::item")}
    assert {args["Python"] for args in waits} == {USERS}
