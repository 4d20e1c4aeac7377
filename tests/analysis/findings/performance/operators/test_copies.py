"""Casts, layout copies, concatenations, writes by index, and tensors that are filled on the wrong side."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.copies import (
    concatenations,
    copies_before_device,
    index_puts,
    layout_copies,
    repeated_casts,
)
from perfkit.schema.finding import Cost
from perfkit.trace.columns import DeviceKind
from tests.analysis.findings.performance.cases import found, operators
from tests.builders import TraceBuilder


def step(names) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, names, 100)
    return b


def test_casts_that_repeat():
    """GIVEN four casts whose inner part takes 9 ns each THEN 36 are at stake; three a step do not repeat"""
    casts = ["to>_to_copy>copy_", "mm"]
    finding = found(repeated_casts, step(casts * 4))
    assert finding.cost == Cost(36, 0.036)
    assert "casts between number types: 4 a step, 36.00 ns a step" in finding.what
    assert found(repeated_casts, step(casts * 3)) is None


def test_a_cast_that_copies_nothing_costs_nothing():
    assert found(repeated_casts, step(["to", "mm"] * 9)) is None


def test_copies_to_the_device_are_no_casts():
    """GIVEN _to_copy that launches copies from the host THEN no cast; kernels are"""
    for name, kind in (("Memcpy HtoD (Pageable -> Device)", DeviceKind.MEMCPY), ("cast_kernel", DeviceKind.KERNEL)):
        b = TraceBuilder().step(0, 0, 1000)
        for at in range(100, 600, 100):
            operators(b, ["to>_to_copy>copy_"], at)
            b.launched(name, at + 3, at + 10, at + 30, kind=kind)
        assert (found(repeated_casts, b) is None) == (kind is DeviceKind.MEMCPY)


def test_copies_into_another_layout():
    finding = found(layout_copies, step(["contiguous>clone>copy_", "mm"] * 4))
    assert finding.cost == Cost(36, 0.036)
    assert "copies into another layout: 4 a step" in finding.what
    assert found(layout_copies, step(["contiguous", "mm"] * 9)) is None
    assert found(layout_copies, step(["to>_to_copy>clone>copy_", "mm"] * 9)) is None


@pytest.mark.parametrize(
    ("strides", "shape", "more"),
    [
        ([[4096, 1, 64], [4096, 64, 1]], [16, 64, 64], 100),  # across, and along the rows
        ([[4096, 64, 1], [4096, 64, 1]], [16, 64, 64], 0),
        ([[0, 1, 0], [4096, 64, 1]], [16, 64, 64], 0),  # one row, repeated
        ([[4096, 1, 64], [4096, 64, 1]], [3, 64, 64], 0),  # small
        ([[1, 64, 1], [32768, 64, 1]], [1, 512, 64], 0),  # there is one of the first dimension, wherever it lies
    ],
)
def test_operators_that_read_two_layouts(strides, shape, more):
    """GIVEN four copies of 9 ns and an operator of 100 whose tensors lie in different orders THEN it counts, too"""
    b = step(["contiguous>clone>copy_", "mm"] * 4)
    b.call("aten::threshold_backward", 500, 600, [shape, shape, []], strides=[*strides, []])
    finding = found(layout_copies, b)
    assert finding.cost.ns == 36 + more
    assert ("threshold_backward on tensors of two layouts: once a step" in finding.what) == bool(more)


def test_an_operator_with_a_list_of_tensors_has_no_layout():
    """GIVEN tensors of several shapes in one operand, as of _foreach_mul THEN nothing is said of their order"""
    b = step(["contiguous>clone>copy_", "mm"] * 4)
    b.call("aten::mul", 500, 600, [[[64, 64], [64]], [64, 64]], strides=[[[64, 1], [1]], [64, 1]])
    finding = found(layout_copies, b)
    assert finding is not None
    assert finding.cost.ns == 36


def test_copies_of_attention_written_out_are_attentions():
    names = ["matmul>bmm", "mul", "contiguous>clone>copy_", "softmax", "contiguous>clone>copy_", "matmul>bmm"]
    assert found(layout_copies, step(names * 3)) is None


@pytest.mark.parametrize("name", ["cat", "stack>cat"])
def test_tensors_put_together(name):
    finding = found(concatenations, step([name, "mm"] * 4))
    assert finding.cost.ns == 40
    assert "concatenations: 4 a step" in finding.what
    assert found(concatenations, step(["mm", name, *["mm"] * 9])) is None


def test_writes_by_index():
    finding = found(index_puts, step(["index_put_>_index_put_impl_"] * 3))
    assert finding.cost.ns == 30
    assert "index_select" in finding.advice
    assert found(index_puts, step(["index", "embedding", "gather"])) is None


def test_a_tensor_filled_on_the_host_and_copied():
    """GIVEN a fill of 30 ns and a copy of 50 right after it, of 1,000 THEN both are at stake"""
    finding = found(copies_before_device, moved(fill=30))
    assert finding.cost == Cost(80, 0.08)
    assert "filled on the host (zeros) and then copied to the device: 1 a step" in finding.what


@pytest.mark.parametrize("case", ["tiny fill", "fill on the device", "other operator between", "no copy"])
def test_what_is_no_copy_of_a_fill(case):
    b = moved(
        fill=4 if case == "tiny fill" else 30,
        launches=case == "fill on the device",
        between=case == "other operator between",
        copies=case != "no copy",
    )
    assert found(copies_before_device, b) is None


def moved(fill, *, launches=False, between=False, copies=True) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, 1000).range("aten::zeros", 100, 100 + fill)
    if launches:
        b.launched("fill_kernel", 110, 120, 125)
    if between:
        b.range("aten::mm", 140, 145).launched("gemm", 142, 150, 160)
    b.range("aten::to", 150, 200)
    name = "Memcpy HtoD (Pageable -> Device)" if copies else "kernel"
    return b.launched(name, 160, 170, 190, kind=DeviceKind.MEMCPY if copies else DeviceKind.KERNEL)


def test_the_gradient_of_a_split_is_no_concatenation():
    """GIVEN chunks in forward, and cat in their backward nodes THEN there is nothing that the program puts together"""
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, ["chunk"] * 4, 0, sequence=1)
    for number in range(4):
        b.node("SplitBackward0", 100 + 60 * number, 150 + 60 * number, 4 - number)
        b.range("aten::cat", 101 + 60 * number, 150 + 60 * number)
    assert found(concatenations, b) is None


def test_one_stack_of_all_results_is_the_healthy_way():
    """GIVEN one stack a step that takes a fifth of it THEN nothing, and from four a step on something"""
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, ["stack>cat"], 0, 200)
    assert found(concatenations, b) is None
