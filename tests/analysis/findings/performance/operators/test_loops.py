"""Python loops over elements."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.loops import indexing_loop
from tests.analysis.findings.performance.cases import found, operators
from tests.builders import TraceBuilder


def step(names) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, names, 0)
    return b


def test_a_loop_over_rows():
    """GIVEN ten passes of select, mm, copy_, 30 ns each THEN nine tenths of 300 ns are at stake"""
    finding = found(indexing_loop, step(["select", "mm", "copy_"] * 10))
    assert finding.cost.ns == 270
    assert "select, mm, copy_ up to 10 times in a row" in finding.what


@pytest.mark.parametrize(
    "names",
    [
        ["select", "mm", "copy_"] * 9,
        ["layer_norm", "linear", "gelu", "add"] * 20,  # layers
        ["select", "mm", "select", "add", "mul", "relu", "select", "tanh"] * 2,
    ],
)
def test_what_is_no_loop_over_elements(names):
    assert found(indexing_loop, step(names)) is None


def test_a_loop_of_the_optimizer_is_not_judged_here():
    b = TraceBuilder().step(0, 0, 1000).annotation("Optimizer.step#AdamW.step", 0, 900)
    operators(b, ["select", "mul_", "add_"] * 20, 0)
    assert found(indexing_loop, b) is None


def test_on_a_device_the_loops_kernels_count():
    """GIVEN 20 passes with kernels of 10 ns back to back THEN 19 twentieths of 200 ns"""
    b = TraceBuilder().step(0, 0, 1000)
    for number in range(20):
        at = 20 * number
        operators(b, ["select"], at, 5)
        b.range("aten::mul", at + 5, at + 15).launched("mul_kernel", at + 6, 2000 + 10 * number, 2010 + 10 * number)
    assert found(indexing_loop, b).cost.ns == 190
