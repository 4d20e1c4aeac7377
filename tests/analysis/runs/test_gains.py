"""What another precision or compiling brings, by hand."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.runs import gains
from perfkit.analysis.runs.comparison import Comparison, compare
from perfkit.schema.record import MemoryPeaks, RunRecord
from tests.analysis.sides import five, side
from tests.runs import sample


def of(records: list[RunRecord], peak: int, first_s: float = 1.0) -> list[RunRecord]:
    memory = MemoryPeaks(tensors=peak, resident=10 * peak)
    return [dataclasses.replace(one, memory=memory, warmup=(sample(first_s), sample(0.02))) for one in records]


def compared(b: list[RunRecord], peak: int = 2**20) -> Comparison:
    return compare(side("A", of(five(), 2**20)), side("B", of(b, peak)), force=True)


def test_compiling_is_a_number_of_its_own():
    """GIVEN steps of 20.1 and 10.05 ms (medians), half the memory, and a first step of 1 s THEN 2 times, 0.5, 0.99 s"""
    found = compared(five(0.5, first=1, compile="model"), 2**19)
    [text] = [one.what for one in gains.findings(found)]
    assert text.startswith(
        "B is 2.00 times as fast as A; it takes 0.500 times A's peak memory (512.0 KiB against 1.0 MiB); "
    )
    assert text.endswith("compiling took 989.9 ms in B, which no time of a step has")
    [table] = gains.tables(found)
    row = table.frame.iloc[0]
    assert (row["speed_up"], row["memory_ratio"]) == (pytest.approx(2), 0.5)
    assert row["compile_b_s"] == pytest.approx(1 - 0.02 * 0.5 * 1.005, abs=1e-4)
    assert row["compile_a_s"] is None


def test_a_cold_cache_is_told_apart():
    """GIVEN a first step of 100 s in one of five processes, where the others find their graphs and take 1 s"""
    cold, *others = of(five(0.5, first=1, compile="model"), 2**20)
    cold = dataclasses.replace(cold, warmup=(sample(100.0), sample(0.02)))
    found = compare(side("A", of(five(), 2**20)), side("B", [cold, *others]), force=True)
    [text] = [one.what for one in gains.findings(found)]
    assert "compiling took 989.9 ms in B (at most 99.99 s, most likely where the cache of graphs had none" in text


def test_another_precision_has_a_speed_up_and_a_memory_ratio():
    [text] = [one.what for one in gains.findings(compared(five(2.0, first=1, precision="bf16")))]
    assert text == "B is 0.500 times as fast as A; it takes the same peak memory (1.0 MiB against 1.0 MiB)"


def test_other_comparisons_have_neither():
    found = compared(five(0.5, first=1, attention="sdpa"))
    assert list(gains.findings(found)) == []
    assert list(gains.tables(found)) == []


def test_a_speed_up_within_the_spread_says_so():
    """GIVEN processes from half to twice the time THEN the ratio is not called a gain, as the verdict does not"""
    noisy = [
        dataclasses.replace(
            one, steps=tuple(dataclasses.replace(step, wall_s=step.wall_s * factor) for step in one.steps)
        )
        for one, factor in zip(five(1.0, first=1, precision="bf16"), (0.5, 0.8, 1.0, 1.5, 2.0), strict=True)
    ]
    found = compared(noisy)
    assert found.steps[0].verdict == "inconclusive"
    [text] = [one.what for one in gains.findings(found)]
    assert " times as fast as A, which the spread of the processes does not tell from 1; " in text
