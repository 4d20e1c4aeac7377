"""Garbage collection, recorded or inferred."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.collector import garbage_collection
from tests.analysis.findings.performance.cases import MS, found
from tests.builders import TraceBuilder


def steps(silences, *, length=100, loader=False, other_thread=False) -> TraceBuilder:
    """Steps whose operators leave out this many ms before `aten::mul` or, where negative, before `aten::add`."""
    b = TraceBuilder()
    for number, silent in enumerate(silences):
        begin = number * length * MS
        b.step(number, begin, begin + length * MS)
        first, last = (abs(silent), 0) if silent > 0 else (0, abs(silent))
        b.range("aten::mm", begin, begin + 20 * MS)
        b.range("aten::mul", begin + (20 + first) * MS, begin + max(60, 21 + first) * MS)
        b.range("aten::add", begin + (max(60, 21 + first) + last) * MS, begin + length * MS)
        if loader:
            b.annotation("enumerate(DataLoader)#_Next.__next__", begin + 20 * MS, begin + (20 + first) * MS)
        if other_thread:
            b.range("aten::conv2d", begin + 20 * MS, begin + (20 + first) * MS, thread=1)
    return b


def test_silences_that_come_now_and_then():
    """GIVEN 30 and 40 ms of silence in two of four steps of 100, at two places THEN 70 / 4 ms a step"""
    finding = found(garbage_collection, steps([0, 40, -30, 0]))
    assert finding.cost.ns == 17.5 * MS
    assert "silent 2 times, for up to 40.00 ms, in 2 of 4 steps" in finding.what
    assert finding.sure == "guessed"
    assert "--gc off" in finding.advice


@pytest.mark.parametrize(
    "builder",
    [
        steps([30, 30, 30, 30]),  # the same in each step: the program's own work
        steps([0, 40, 0, 0]),  # once, and short: anything
        steps([40, 0, -40, 0]),  # one of them in the first step, where the profiler starts
        steps([0, 24, -24, 0]),  # under a quarter of a step: slices of other programs
        steps([0, 150, -40, 0], length=160),  # not alike
        steps([0, -40]),  # two steps tell nothing
        steps([0, 40, 0, 35, 0, 0], loader=True),
        steps([0, 40, 0, 35, 0, 0], other_thread=True),
    ],
)
def test_other_silences(builder):
    assert found(garbage_collection, builder) is None


def test_one_long_silence():
    """GIVEN one silence of 250 ms in steps of 400 THEN it is enough by itself"""
    b = TraceBuilder()
    for number in range(4):
        begin = 400 * number * MS
        b.step(number, begin, begin + 400 * MS).range("aten::mm", begin, begin + 100 * MS)
        b.range("aten::mul", begin + (350 if number == 2 else 100) * MS, begin + 400 * MS)
    finding = found(garbage_collection, b)
    assert finding.cost.ns == 62.5 * MS
    assert finding.where == "step 2"


def test_recorded_collections_need_no_inference():
    """GIVEN a collection of 10 ms in one of two steps of 100 THEN 5 ms a step, measured"""
    b = steps([0, 0])
    b.range("Python GC", 70 * MS, 80 * MS)
    finding = found(garbage_collection, b)
    assert finding.cost.ns == 5 * MS
    assert finding.sure == "measured"


def test_a_silence_that_the_user_named_is_no_collection():
    """GIVEN the two silences, each in a range of the user's without operators, as when weights are written THEN none"""
    b = steps([0, 40, -30, 0])
    b.annotation("save_checkpoint", 121 * MS, 159 * MS).annotation("save_checkpoint", 261 * MS, 289 * MS)
    assert found(garbage_collection, b) is None
    assert found(garbage_collection, steps([0, 40, -30, 0]).annotation("train", 0, 400 * MS)) is not None
