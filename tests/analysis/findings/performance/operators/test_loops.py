"""Python loops over elements, samples and parameters."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.loops import python_loop
from tests.analysis.findings.performance.cases import MS, US, found, operators
from tests.builders import TraceBuilder


def step(names, each=4 * US, length=MS) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, length)
    operators(b, names, 0, each)
    return b


def test_a_loop_over_rows():
    """GIVEN ten passes of select, mm, copy_, 12 us each THEN nine tenths of 120 us, less 30 ranges of 200 ns"""
    finding = found(python_loop, step(["select", "mm", "copy_"] * 10))
    assert finding.cost.ns == 102 * US
    assert "select, mm, copy_ up to 10 times in a row" in finding.what


def test_arithmetic_remains():
    """GIVEN ten passes of 20 us each for select and mm THEN 400 us less a tenth, less 15 us each that is arithmetic"""
    finding = found(python_loop, step(["select", "mm"] * 10, each=20 * US))
    assert finding.cost.ns == (360 - 20 * 15) * US - 20 * 200


@pytest.mark.parametrize(
    "names",
    [
        ["select", "mm", "copy_"] * 9,
        ["layer_norm", "linear", "gelu", "add"] * 20,  # layers
        ["select", "mm", "select", "add", "mul", "relu", "select", "tanh"] * 2,
    ],
)
def test_what_is_no_loop_over_elements(names):
    assert found(python_loop, step(names)) is None


def test_a_loop_of_the_optimizer_is_not_judged_here():
    b = TraceBuilder().step(0, 0, MS).annotation("Optimizer.step#AdamW.step", 0, 900 * US)
    operators(b, ["select", "mul_", "add_"] * 20, 0, 4 * US)
    assert found(python_loop, b) is None


def of_modules(paths, names=("linear", "relu"), each=4 * US) -> TraceBuilder:
    """A step that calls modules one after the other, each of which calls these operators."""
    b = TraceBuilder().step(0, 0, MS)
    begin = 0
    for path in paths:
        end = begin + len(names) * each
        b.module(path, begin, end)
        operators(b, names, begin, each)
        begin = end
    return b


@pytest.mark.parametrize(
    ("paths", "names", "is_loop"),
    [
        (["encoder"] * 12, ("linear", "relu"), True),  # sample by sample
        ([f"layers.{number}" for number in range(12)], ("linear", "relu"), False),  # a stack of layers
        (["encoder"] * 9, ("linear", "relu"), False),
        (["cell"] * 12, ("gru_cell", "dropout"), False),  # each needs the one before
    ],
)
def test_a_module_that_is_called_again_and_again(paths, names, is_loop):
    assert bool(found(python_loop, of_modules(paths, names))) is is_loop


def test_a_stack_of_layers_inside_one_call_is_no_loop():
    """GIVEN one module that calls the same operators twelve times in one call THEN each may need the one before"""
    assert found(python_loop, of_modules(["net"], ("mm", "relu") * 12)) is None


@pytest.mark.parametrize(
    ("names", "is_loop"),
    [
        (["isfinite", "all", "item"] * 12, True),  # a loop over parameters
        (["linalg_vector_norm"] * 24, False),  # what a library does for a list of tensors
    ],
)
def test_a_loop_outside_of_modules(names, is_loop):
    """GIVEN a recording that names modules, and a loop outside of them"""
    b = step(names)
    b.module("net", 900 * US, 950 * US).range("aten::mm", 900 * US, 940 * US)
    assert bool(found(python_loop, b)) is is_loop


def test_its_backward_nodes_count():
    """GIVEN a sample each in twelve calls of 4 us, with backward nodes of 10 us of which 5 us are arithmetic

    THEN 44 us of the calls and 60 us of the nodes, less 200 ns for each of 12 and 36 ranges: the engine has one round
    each node, which is 2 ns longer
    """
    b = TraceBuilder().step(0, 0, MS)
    for number in range(12):
        b.module("encoder", 4 * number * US, 4 * (number + 1) * US)
        operators(b, ["tanh"], 4 * number * US, 4 * US, sequence=number)
    for number in range(12):
        begin = (200 + 12 * number) * US
        b.node("TanhBackward0", begin, begin + 10 * US, 11 - number)
        b.range("aten::tanh_backward", begin, begin + 10 * US)
    calls, nodes = 44 * US - 12 * 200, 12 * (10 - 5) * US + 24 - 36 * 200
    assert found(python_loop, b).cost.ns == calls + nodes


def test_on_a_device_the_loops_kernels_count():
    """GIVEN 20 passes with kernels of 10 ns back to back THEN 19 twentieths of 200 ns"""
    b = TraceBuilder().step(0, 0, 1000)
    for number in range(20):
        at = 20 * number
        operators(b, ["select"], at, 5)
        b.range("aten::mul", at + 5, at + 15).launched("mul_kernel", at + 6, 2000 + 10 * number, 2010 + 10 * number)
    assert found(python_loop, b).cost.ns == 190
