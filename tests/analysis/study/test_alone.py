"""Q15 and Q17: what is said where nothing was measured, and what a report says where it was."""

from __future__ import annotations

import dataclasses

from perfkit.analysis.study.alone import ALONE, OWN
from perfkit.analysis.study.question import Results
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.report import Report
from tests.analysis.study.cases import SCOPE, results, rows, table


def test_the_grid_by_its_formula():
    """GIVEN 1 GiB of memory: batch 8 x 4,096^2 x 4 B are 512 MiB of scores, of which backward has three"""
    scope = dataclasses.replace(SCOPE, memory=2**30)
    answer = ALONE.answer(scope, results())
    assert answer.sentence.startswith("by the formula, for this was not measured")
    assert "512.0 MiB at 4,096" in answer.sentence
    found = {(row["width"], row["context"]): row for row in rows(answer.tables[0])}
    assert len(found) == 20
    assert found[16, 1024]["outcome"] == "not measured"
    assert found[16, 4096]["outcome"] == "out of memory, predicted"
    assert found[16, 4096]["least_bytes"] == 3 * 2**29 + 3 * 8 * 4096 * 16 * 4
    assert found[64, 256]["forward_flops"] == 4 * 8 * 256**2 * 64


def test_what_was_measured_takes_its_place():
    rule = Rule("a", "sweep", "a")
    report = Report("grid", {}, (table("grid", x=[1]),), [
        Finding(rule, "context 4,096 takes 3 ms"), Finding(rule, "sdpa is faster", advice="more"),
    ])  # fmt: skip
    measured = Results({}, attention=lambda kind: report if kind == "grid" else None)
    answer = ALONE.answer(SCOPE, measured)
    assert (answer.sentence, answer.advice) == (
        "context 4,096 takes 3 ms; sdpa is faster",
        "perfkit attention with more",
    )
    assert [one.name for one in answer.tables] == ["grid"]
    assert OWN.answer(SCOPE, measured).sentence.startswith("no function was named")
    both = OWN.answer(SCOPE, Results({}, attention=lambda kind: report if kind != "grid" else None))
    assert both.sentence == (
        "in fp32 context 4,096 takes 3 ms; sdpa is faster; in bf16 context 4,096 takes 3 ms; sdpa is faster"
    )
    assert [one.name for one in both.tables] == ["grid_fp32", "grid_bf16"]
