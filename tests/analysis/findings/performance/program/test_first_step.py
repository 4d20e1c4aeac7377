"""A first step that was not warmed up."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.first_step import slow_first_step
from perfkit.schema.finding import Evidence
from tests.analysis.findings.performance.cases import MS, call, found
from tests.builders import TraceBuilder


def steps(*lengths) -> TraceBuilder:
    b, begin = TraceBuilder(), 0
    for number, length in enumerate(lengths):
        b.step(number, begin, begin + length * MS).range("aten::mm", begin + 1, begin + length * MS - 1)
        begin += length * MS
    return b


def test_a_slow_first_step():
    """GIVEN steps of 30, 10, 10, 10 ms THEN the mean is 20 / 4 = 5 ms too high"""
    finding = found(slow_first_step, steps(30, 10, 10, 10))
    assert finding.cost.ns == 5 * MS
    assert finding.cost.share == pytest.approx(5 / 15)
    assert "the first step takes 30.00 ms, the others 10.00 ms" in finding.what
    assert finding.evidence == (Evidence("steps", {"step": 0}),)


@pytest.mark.parametrize("lengths", [(30, 10), (15, 10, 10), (10, 30, 10), (25, 10, 10, 24), (10, 10, 10)])
def test_what_is_no_slow_first_step(lengths):
    assert found(slow_first_step, steps(*lengths)) is None


def test_a_reason_in_it_lowers_the_limit():
    b = steps(15, 10, 10)
    call(b, "cuModuleLoadData", 2, 3 * MS)
    assert "(it loads modules)" in found(slow_first_step, b).what
