"""Where the difference of two traces lies, by hand: the rows close, and what they leave over is named."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.reports import two_traces
from perfkit.analysis.reports.changes import BEHIND, BESIDE, SHARES, WHERE_IT_LIES
from perfkit.analysis.reports.two_traces import PHASES
from perfkit.errors import UsageError
from perfkit.schema.report import Report
from tests.analysis.reports.test_differences import FAST, SLOW, compared, said, steps
from tests.builders import TraceBuilder, host_step
from tests.reports import evidence_that_misses


def rows(report: Report) -> dict[str, float]:
    """What changed, B less A; checked to add up to the difference of the first sentence."""
    table = report.table("changes")
    assert table is not None
    frame = table.frame
    assert frame["difference_ns"].sum() == pytest.approx(report.summary["time"]["difference_ns"], abs=1e-6)
    assert frame["a_ns"].sum() == pytest.approx(report.summary["time"]["a_ns"])
    return dict(zip(frame["what"], frame["difference_ns"], strict=True))


def test_rows_add_up_to_the_difference_and_the_largest_is_first():
    """GIVEN 100 and 75 ns: softmax 30 less, gemm 2 and flash 8 more, 5 less idle THEN that is -25, of which one says"""
    found = compared(SLOW, FAST)
    assert list(rows(found).items()) == [
        ("softmax", -30.0), ("other", 8.0), ("idle: launch-starved", -5.0), ("matmul", 2.0),
    ]  # fmt: skip
    assert said(found, WHERE_IT_LIES) == [
        "the difference of -25.00 ns is softmax -30.00 ns, other +8.000 ns, idle: launch-starved -5.000 ns, matmul"
        " +2.000 ns"
    ]
    assert said(found, SHARES) == [
        "matmul has 57.1% of kernel and copy time in A and 84.0% in B; softmax has 42.9% in A and 0.00% in B"
    ]
    assert evidence_that_misses(found) == []


def test_kernels_side_by_side_have_a_row_of_their_own():
    """GIVEN 40 and 40 ns of which 20 at the same time, against the same one after the other, in steps of 100 ns

    THEN neither kind differs: 20 ns less idle, 20 ns more of what ran beside
    """
    together = TraceBuilder().step(0, 0, 100).launched("gemm", 1, 10, 50).launched("softmax", 3, 30, 70, stream=8)
    apart = TraceBuilder().step(0, 0, 100).launched("gemm", 1, 10, 50).launched("softmax", 3, 50, 90)
    found = rows(compared(together, apart))
    assert found[BESIDE] == 20
    assert (found["matmul"], found["softmax"]) == (0, 0)
    assert sum(change for what, change in found.items() if what.startswith("idle")) == -20


def test_a_device_behind_its_host_has_a_row_of_its_own():
    """GIVEN steps of 10 ns that launch 100 ns each, against steps of 100 ns with 90 ns of work THEN the rows close"""
    ahead = TraceBuilder()
    for number in range(4):
        ahead.step(number, 10 * number, 10 * number + 10)
        ahead.launched("gemm", 10 * number + 1, 5 + 100 * number, 105 + 100 * number)
    assert BEHIND in rows(compared(ahead, steps(100, ("gemm", 90))))


@pytest.mark.parametrize("count", [1, 3])
def test_means_of_a_step_close_whatever_their_number(count):
    assert rows(compared(SLOW, steps(75, ("gemm", 42), ("flash", 8), count=count)))["softmax"] == -30


def test_traces_without_steps_or_device_close_too():
    """GIVEN a trace without steps: busy time by kind; and a host's: the main thread's time by kind"""
    bare = TraceBuilder().launched("gemm", 0, 10, 60).launched("softmax", 1, 70, 90)
    assert rows(compared(bare, TraceBuilder().launched("gemm", 0, 10, 40))) == {"matmul": -20, "softmax": -20}
    host = rows(compared(host_step(), TraceBuilder().range("aten::mm", 0, 40)))
    assert sum(host.values()) == -60


def test_traces_with_nothing_in_common_close():
    found = compared(steps(100, ("gemm", 60)), steps(100, ("softmax", 60)))
    assert rows(found) == {"matmul": -60, "softmax": 60, "idle: launch-starved": 0}


def phased() -> TraceBuilder:
    """Steps with 71 + 29 ns forward and 33 + 67 ns backward: matmul is 71% of the one and 104 of 200 ns of both."""
    b = TraceBuilder()
    for at in (0, 300):
        b.step(at, at, at + 300)
        b.annotation("perfkit.phase::forward", at + 1, at + 9)
        b.launched("gemm", at + 2, at + 10, at + 81).launched("softmax", at + 4, at + 81, at + 110)
        b.annotation("perfkit.phase::backward", at + 10, at + 19)
        b.launched("gemm", at + 11, at + 110, at + 143).launched("other", at + 13, at + 143, at + 210)
    return b


def test_a_phase_beside_the_whole_step():
    found = two_traces.of_phases(phased().build(), (Phase.FORWARD, None))
    assert said(found, PHASES) == [
        "forward has 100.0 ns of kernel and copy time a step and the whole step 200.0 ns (50.0%)"
    ]
    assert said(found, SHARES) == [
        "matmul has 71.0% of kernel and copy time in forward and 52.0% in the whole step; other has 0.00% in forward"
        " and 33.5% in the whole step"
    ]
    table = found.table("categories")
    assert table is not None
    assert [column.heading for column in table.columns][1:3] == ["count forward", "count step"]
    assert table.seen_by("people").frame["difference_ns"].sum() == 100
    assert evidence_that_misses(found) == []


def test_a_phase_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="--phases optimizer: this trace has no time in it"):
        two_traces.of_phases(phased().build(), (Phase.OPTIMIZER, None))
