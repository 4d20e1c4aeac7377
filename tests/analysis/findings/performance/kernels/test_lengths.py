"""Short kernels, and one that takes most of the time."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.kernels.lengths import hot_spot, tiny_kernels
from perfkit.trace.columns import HostKind
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


def test_kernels_of_a_cuda_graph_are_not_told_of_cuda_graphs():
    """GIVEN 120 short kernels of one graph launch THEN the advice knows that they run in a graph"""
    assert "as a CUDA graph" in found(tiny_kernels, short(120)).advice
    b = TraceBuilder().step(0, 0, 2 * MS)
    b.range("cudaGraphLaunch", 0, 10, HostKind.RUNTIME, correlation=1)
    for number in range(120):
        b.event("elementwise_kernel", (number * 10 + 1) * US, (number * 10 + 6) * US, correlation=1)
    assert "they run in CUDA graphs already" in found(tiny_kernels, b).advice


def test_a_hot_spot_is_no_idle_time():
    """GIVEN two sorts of 100 us, and 400 us between them THEN they take 200 us"""
    b = TraceBuilder().step(0, 0, MS).launched("sort_kernel", 5, 10, 10 + 100 * US)
    finding = found(hot_spot, b.launched("sort_kernel", 6, 10 + 500 * US, 10 + 600 * US))
    assert finding.cost.ns == 200 * US
    assert "alone takes 100.0% of what the device does, 200.0 us a step" in finding.what
