"""The sentences about hand-made results, with the numbers that can be computed in the head."""

from __future__ import annotations

import pytest

from perfkit.analysis.attention.report import Machine, machine_of, report
from perfkit.analysis.costs.hardware.model import Bandwidth, Hardware, Peak
from tests.analysis.attention.cells import cell, result, without_times
from tests.runs import ENVIRONMENT

KNOWN = Machine("a card", Hardware("a card", {"fp32": Peak(1e6, "made up")}, Bandwidth(1e6, "made up")))
"""A ridge at 1 FLOP/B."""


UNKNOWN = Machine()


def said(*results, machine=UNKNOWN):
    return {finding.rule.id: finding.what for finding in report(results, machine).findings}


def test_where_memory_ends_and_what_scores_cost():
    """GIVEN eager at 100 (held 120,000 B) and out of memory at 200 THEN the scores of each are named"""
    lacking = without_times(cell(sequence=200), "predicted-oom", available_bytes=1_000_000, message="not run")
    fused = result(cell("sdpa", sequence=200), held_bytes=90_000, peak_bytes=102_400)
    small = result(cell("sdpa"), held_bytes=40_000, peak_bytes=50_000)
    found = said(result(cell(), held_bytes=120_000, peak_bytes=288_000), lacking, fused, small)
    assert found["attention-memory-ends"] == (
        "eager does not fit from sequence 200 on (head width 10): a pass needs 1.0 MiB, and there were 976.6 KiB;"
        " scores alone are 2 x 200^2 x 4 B = 312.5 KiB, of which backward needs three;"
        " sdpa computes 200 x 10 in 100.0 KiB"
    )
    assert found["attention-scores"] == (
        "at 100 x 10 (sequence x head width) eager holds 117.2 KiB before backward, 66.7% of it written-out weights:"
        " 2 x 100^2 x 4 B = 78.1 KiB, four times as much at twice the sequence; sdpa holds 39.1 KiB, 3.00 times less"
    )


@pytest.mark.parametrize(
    ("seconds", "end"),
    [
        ((1.0, 1.0), "faster in every cell"),
        ((3.0, 1.0), "faster from sequence 200 on, and not below"),
        ((1.0, 3.0), "not faster at the longest sequence"),
    ],
)
def test_how_much_faster_and_from_where(seconds, end):
    """GIVEN eager of 3 s at 100 and 200 THEN a fused pass of 1 s is 3 times as fast"""
    fused = [result(cell("sdpa", sequence=s), one / 2, one / 2) for s, one in zip((100, 200), seconds, strict=True)]
    text = said(result(cell()), result(cell(sequence=200)), *fused)["attention-speed"]
    assert " 3.00 times as fast as eager, forward + backward: at " in text
    assert "1.000 s against 3.000 s" in text
    assert text.endswith(end)


@pytest.mark.parametrize(("spread", "is_told"), [(0.2, True), (0.21, False)])
def test_a_ratio_within_the_spread_is_called_nothing(spread, is_told):
    """GIVEN 3 s against 2 in three passes: 1.5 times, and two standard errors of it are 3 x spread x sqrt(2 / 3)

    THEN up to a spread of 20.4% that is a difference
    """
    fused = result(cell("sdpa"), 1.0, 1.0, spread=spread)
    text = said(result(cell(), spread=spread), fused)["attention-speed"]
    assert text.endswith("; faster") == is_told
    unsure = "not shown to be faster; passes spread by up to 21.0%, which does not tell the ratio from 1"
    assert (unsure in text) != is_told


def test_where_it_is_faster_leaves_out_what_is_not_shown():
    """GIVEN 3 times as fast at 100 and at 200, and passes at 100 that spread by 60% THEN it is faster from 200 on"""
    fused = result(cell("sdpa"), 0.5, 0.5, spread=0.6), result(cell("sdpa", sequence=200), 0.5, 0.5)
    text = said(result(cell()), result(cell(sequence=200)), *fused)["attention-speed"]
    assert "faster from sequence 200 on, and not shown below; in 1 of 2 cells passes spread by up to 60.0%" in text


def test_the_roof_of_a_known_device():
    """GIVEN 1e6 FLOP/s and B/s: eager's 2.4e6 FLOPs beside 15 x 80,000 + 12 x 8,000 B take 2.4 s of its 3"""
    found = report([result(cell()), result(cell("sdpa"), 1.2, 1.2)], KNOWN)
    assert {one.rule.id: one.what for one in found.findings}["attention-roofline"] == (
        "at 100 x 10 eager has 1.85 FLOP/B, so compute bounds it, and runs at 80.0% of its roof; sdpa has 25.0 FLOP/B,"
        " so compute bounds it, and runs at 100.0% of its roof (the ridge is at 1.00 FLOP/B)"
    )
    table = found.table("roofline")
    assert table is not None
    row = table.frame.iloc[0]
    assert (row["flops"], row["bytes"], row["forward_of_roof"]) == (2_400_000, 15 * 80_000 + 12 * 8_000, 0.8)
    assert row["forward_flops_per_s"] == 800_000


def test_notes_say_why_a_cell_has_no_times():
    lacking = without_times(cell("sdpa"), "error", message="no")
    found = report([result(cell()), lacking], Machine())
    assert "sdpa at 100 x 10: no" in found.tables[0].notes
    assert said(lacking)["attention-failed"] == "1 cell has no times: sdpa at 100 x 10 (error)"


def test_a_function_and_a_compiler_have_sentences_of_their_own():
    mine = result(cell("function", function="pkg:mine"), deviation=2e-7)
    compiled = result(cell("compiled"), 1.0, 1.0, first_call_s=12.0)
    found = said(result(cell()), mine, compiled)
    assert found["attention-same-result"].startswith("pkg:mine computes what eager computes: ")
    assert "at most 2e-07 of the largest value, in 1 cell" in found["attention-same-result"]
    assert found["attention-compiling"].startswith("compiling took 10.00 s")


def test_a_cpu_is_named_with_its_threads():
    assert machine_of(ENVIRONMENT).name == "a CPU, 1 threads"
