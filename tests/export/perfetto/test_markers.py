"""Findings are marked where their evidence lies."""

from __future__ import annotations

import pytest

from perfkit.schema.finding import Cost, Evidence, Finding, Rule
from tests.builders import TraceBuilder
from tests.export.perfetto.reading import Slice, shown

RULE = Rule("slow-kernel", "performance", "for tests")


def _marks(*evidence: Evidence) -> list[Slice]:
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).annotation("load", 92, 95)
    b.launched("gemm", 10, 20, 40).launched("gemm", 60, 70, 75).launched("add", 61, 75, 80)
    finding = Finding(RULE, "gemm is slow", Cost(25, 0.5), evidence, "another shape")
    return shown(b, [finding]).on("Findings", "slow kernel")


@pytest.mark.parametrize(
    ("evidence", "places"),
    [
        (Evidence("kernels", {"name": "gemm"}), [(20, 40), (70, 75)]),
        (Evidence("layers", {"scope": "net"}), [(20, 40), (70, 75), (75, 80)]),
        (Evidence("phases", {"phase": "forward"}), [(20, 40), (70, 75), (75, 80)]),
        (Evidence("steps", {"step": 0}), [(0, 100)]),
        (Evidence("ranges", {"name": "load"}), [(92, 95)]),
        (Evidence("wall_time", {"what": "idle: launch-starved"}), [(0, 20), (40, 70), (80, 100)]),
        (Evidence("kernels", {"name": "no such kernel"}), [(0, 0)]),
        (Evidence("steps", {"step": 7}), [(0, 0)]),
        (Evidence("collectives", {"collective": "allreduce"}), [(0, 0)]),
    ],
)
def test_evidence_has_its_place_in_time(evidence, places):
    """GIVEN a row of a table as evidence WHEN exported THEN its intervals are marked; without any, the begin is"""
    assert [(mark.start, mark.end) for mark in _marks(evidence)] == places


def test_a_marker_says_what_the_finding_says():
    [mark] = _marks(Evidence("steps", {"step": 0}))
    assert (mark.name, mark.category) == ("slow kernel", "perfkit.finding")
    assert mark.args == {
        "finding": "gemm is slow", "try": "another shape", "sure": "measured", "rule": "slow-kernel", "cost_ns": 25
    }  # fmt: skip


def test_the_ten_longest_places_are_marked():
    b = TraceBuilder()
    for row in range(20):
        b.event("k", 100 * row, 100 * row + row + 1)
    finding = Finding(RULE, "k", evidence=(Evidence("kernels", {"name": "k"}),))
    assert [mark.end - mark.start for mark in shown(b, [finding]).on("Findings")] == list(range(11, 21))
