"""Short kernels, and one that takes most of the time."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.kernels.lengths import hot_spot, tiny_kernels
from tests.analysis.findings.performance.cases import MS, US, found, operators
from tests.builders import TraceBuilder


def short(count, each=5 * US, gap=5 * US, length=2 * MS) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, length)
    for number in range(count):
        at = number * (each + gap)
        b.launched("elementwise_kernel", at, at + 1, at + 1 + each)
    return b


def test_most_kernels_are_short():
    """GIVEN 120 kernels of 5 us with 5 us between them in 2 ms THEN 120 x 5 + 119 x 5 us"""
    finding = found(tiny_kernels, short(120))
    assert finding.cost.ns == (120 + 119) * 5 * US
    assert "120 of 120 kernels a step are shorter than 10 us" in finding.what


@pytest.mark.parametrize("case", ["few", "long", "half", "little of the step"])
def test_what_is_not_many_short_kernels(case):
    b = {
        "few": lambda: short(99),
        "long": lambda: short(120, each=10 * US),
        "half": lambda: short(120),
        "little of the step": lambda: short(120, length=13 * MS),
    }[case]()
    if case == "half":
        for number in range(121):
            b.launched("gemm", 1500 * US + number, 1500 * US, 1510 * US)
    assert found(tiny_kernels, b) is None


def test_one_operator_takes_most_of_the_time():
    """GIVEN a sort of 600 of 1,000 ns THEN it is the hot spot"""
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, ["sort"], 0, 600)
    operators(b, ["mm"], 700, 100)
    finding = found(hot_spot, b)
    assert finding.cost.ns == 600
    assert "aten::sort (reduction) alone takes 85.7%" in finding.what


@pytest.mark.parametrize("name", ["mm", "conv2d", "scaled_dot_product_attention", "select"])
def test_what_may_well_take_most_of_the_time(name):
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, [name], 0, 900)
    assert found(hot_spot, b) is None


def test_a_hot_spot_of_a_device_that_hardly_works_is_none():
    b = TraceBuilder().step(0, 0, 10_000).launched("sort_kernel", 5, 10, 20)
    assert found(hot_spot, b) is None


@pytest.mark.parametrize("names", [["to>_to_copy>copy_"] * 9, ["mul"] * 9])
def test_what_other_rules_are_about_is_no_hot_spot(names):
    """GIVEN casts, or a chain, that take nearly all of the time THEN their own rules tell"""
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, names, 0, 100)
    assert found(hot_spot, b) is None
