"""Garbage collection, recorded or inferred."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.collector import garbage_collection
from tests.analysis.findings.performance.cases import MS, found
from tests.builders import TraceBuilder


def steps(silences, *, length=100, loader=False, other_thread=False) -> TraceBuilder:
    """Steps of 100 ms, whose operators leave out this many ms before `aten::mul` or, where negative, `aten::add`."""
    b = TraceBuilder()
    for number, silent in enumerate(silences):
        begin = number * length * MS
        b.step(number, begin, begin + length * MS)
        first, last = (abs(silent), 0) if silent > 0 else (0, abs(silent))
        b.range("aten::mm", begin, begin + 20 * MS)
        b.range("aten::mul", begin + (20 + first) * MS, begin + 60 * MS)
        b.range("aten::add", begin + (60 + last) * MS, begin + 100 * MS)
        if loader:
            b.annotation("enumerate(DataLoader)#_Next.__next__", begin + 20 * MS, begin + (20 + first) * MS)
        if other_thread:
            b.range("aten::conv2d", begin + 20 * MS, begin + (20 + first) * MS, thread=1)
    return b


def test_silences_that_come_now_and_then():
    """GIVEN 20 and 30 ms of silence in two of four steps, at two places THEN 50 / 4 ms a step"""
    finding = found(garbage_collection, steps([20, 0, -30, 0]))
    assert finding.cost.ns == 12.5 * MS
    assert "silent 2 times, for up to 30.00 ms, in 2 of 4 steps" in finding.what
    assert finding.sure == "guessed"
    assert "--gc off" in finding.advice


@pytest.mark.parametrize(
    "builder",
    [
        steps([20, 20, 20, 20]),  # the same in each step: the program's own work
        steps([20, 0, 0, 0]),  # once, and short: anything
        steps([8, 0, -8, 0]),
        steps([20, -30]),  # two steps tell nothing
        steps([20, 0, 25, 0], loader=True),
        steps([20, 0, 25, 0], other_thread=True),
    ],
)
def test_other_silences(builder):
    assert found(garbage_collection, builder) is None


def test_one_long_silence():
    b = steps([0, 0, 0, 0], length=400)
    assert found(garbage_collection, b) is None  # 300 ms in the same place of each step


def test_recorded_collections_need_no_inference():
    """GIVEN a collection of 10 ms in one of two steps of 100 THEN 5 ms a step, measured"""
    b = steps([0, 0])
    b.range("Python GC", 70 * MS, 80 * MS)
    finding = found(garbage_collection, b)
    assert finding.cost.ns == 5 * MS
    assert finding.sure == "measured"
