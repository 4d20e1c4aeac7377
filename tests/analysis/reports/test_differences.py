"""Two traces: which one is faster, by how much, and what made the difference, each worked out by hand."""

from __future__ import annotations

from typing import Any

from perfkit.analysis.reports import two_traces
from perfkit.analysis.reports.differences import FASTER, NEW_KERNELS, NOTHING_SHARED, WHAT_CHANGED
from perfkit.analysis.reports.page.runs import comparison
from perfkit.schema.finding import Rule
from perfkit.schema.report import Report
from tests.builders import TraceBuilder, host_step
from tests.reports import evidence_that_misses, lines_in


def steps(length: int, *kernels: tuple[str, int], count: int = 2) -> TraceBuilder:
    """Steps of one length, one after the other, with these kernels of the module `net`, by name and duration."""
    b = TraceBuilder()
    for number in range(count):
        at = length * number
        b.step(number, at, at + length).module("net", at, at + length)
        for place, (name, duration) in enumerate(kernels):
            at += 5
            b.launched(name, at - 4 + place, at, at + duration)
            at += duration
    return b


def compared(a: TraceBuilder, b: TraceBuilder, **options: Any) -> Report:
    return two_traces.report(a.build(), b.build(), **options)


def said(report: Report, rule: Rule) -> list[str]:
    return [finding.what for finding in report.findings if finding.rule is rule]


SLOW = steps(100, ("gemm", 40), ("softmax", 30))
FAST = steps(75, ("gemm", 42), ("flash", 8))


def test_the_first_sentence_says_which_is_faster_and_by_how_much():
    """GIVEN steps of 100 and 75 ns WHEN compared in either order THEN 25 ns: 25% less of 100, 33.3% more of 75"""
    found = compared(SLOW, FAST)
    assert (
        found.findings[0].what == "B is faster: A takes 100.0 ns a step and B 75.00 ns; B takes 25.00 ns less (25.0%)"
    )
    assert any("does not tell a difference from chance" in line for line in lines_in(found))
    assert said(compared(FAST, SLOW), FASTER) == [
        "A is faster: A takes 75.00 ns a step and B 100.0 ns; B takes 25.00 ns more (33.3%)"
    ]
    assert said(compared(SLOW, SLOW), FASTER) == [
        "A and B are equally fast: A takes 100.0 ns a step and B 100.0 ns; no difference"
    ]
    near = compared(SLOW, steps(99, ("gemm", 40), ("softmax", 30)), margin=0.01)
    assert said(near, FASTER)[0].endswith(
        "equally fast: A takes 100.0 ns a step and B 99.00 ns; B takes 1.000 ns less (1.00%)"
    )
    assert found.summary["time"] == {
        "compared": "step", "a_ns": 100.0, "b_ns": 75.0, "difference_ns": -25.0, "difference_share": -0.25,
    }  # fmt: skip


def test_much_more_is_told_as_a_multiple():
    assert lines_in(compared(SLOW, steps(500, ("gemm", 40))))[0].startswith(
        "A is faster: A takes 100.0 ns a step and B 500.0 ns; B takes 400.0 ns more (5.0 times as much)"
    )


def test_what_made_the_difference():
    """GIVEN 30 ns of softmax a step gone, 8 of flash new and 2 more of gemm; 30 and 25 ns idle WHEN compared by step

    THEN the parts with most difference first, those under 2% of the longer side's time not, and what one side alone has
    """
    for b in (FAST, steps(75, ("gemm", 42), ("flash", 8), count=5)):  # means of a step, whatever the number of steps
        found = compared(SLOW, b)
        changed = said(found, WHAT_CHANGED)
        assert changed[0] == "wall time, B less A a step: compute -20.00 ns, idle: launch-starved -5.000 ns"
        assert changed[1] == "phases, B less A a step: forward -20.00 ns"
        assert changed[2] == "categories, B less A a step: softmax -30.00 ns, other +8.000 ns, matmul +2.000 ns"
        assert changed[3] == "parts, B less A a step: net -20.00 ns"
        assert changed[4] == "kernels, B less A a step: softmax -30.00 ns, flash +8.000 ns, gemm +2.000 ns"
        assert said(found, NEW_KERNELS) == [
            "only B has 1 kernel, 8.000 ns a step: flash", "only A has 1 kernel, 30.00 ns a step: softmax"
        ]  # fmt: skip
        assert evidence_that_misses(found) == []


def test_traces_with_nothing_in_common():
    """GIVEN kernels of which none is in both THEN that is said, and not where one is"""
    assert said(compared(SLOW, steps(75, ("other", 42))), NOTHING_SHARED) == [
        "A and B share none of their kernels: they do other work, or spell its names in other ways"
    ]
    assert said(compared(SLOW, FAST), NOTHING_SHARED) == []


def test_a_side_whose_host_runs_ahead_is_compared_by_its_pace():
    """GIVEN steps of 10 ns that launch 100 ns each and steps of 100 ns THEN neither is faster, and it is said why"""
    ahead = TraceBuilder()
    for number in range(4):
        ahead.step(number, 10 * number, 10 * number + 10)
        ahead.launched("gemm", 10 * number + 1, 5 + 100 * number, 105 + 100 * number)
    [text] = said(compared(ahead, steps(100, ("gemm", 90))), FASTER)
    assert text == (
        "A and B are equally fast: A takes 100.0 ns a step and B 100.0 ns until its work is done (on the host 10.00 ns"
        " and 100.0 ns, which a device runs behind); no difference"
    )


def test_without_steps_no_side_is_called_faster():
    b = TraceBuilder().launched("gemm", 0, 10, 60).launched("gemm", 1, 70, 90)
    assert lines_in(compared(SLOW, b))[0] == (
        "B has no steps, so that all that was recorded is compared: devices are busy for 140.0 ns in A and 70.00 ns in"
        " B (of 175.0 ns and 80.00 ns recorded); B takes 70.00 ns less (50.0%)"
    )
    bare = TraceBuilder().range("aten::mm", 0, 40)
    text = lines_in(compared(bare, host_step()))[0]
    assert text == (
        "A has no steps, so that all that was recorded is compared: the main thread runs for 40.00 ns in A and 100.0 ns"
        " in B; B takes 60.00 ns more (150.0%)"
    )


def test_the_page_begins_with_the_same_sentence():
    """GIVEN two traces WHEN set side by side on a page THEN it leads, and bars say what made the difference"""
    sections = comparison(compared(SLOW, FAST)).sections
    assert sections[0].takeaway.startswith("B is faster: A takes 100.0 ns a step and B 75.00 ns")
    drawn = [section.anchor for section in sections if section.figures]
    assert drawn == [f"comparison-{name}" for name in ("wall_time", "phases", "categories", "groups", "kernels")]
    assert not any("B is faster" in section.takeaway for section in sections[1:])
