"""Arithmetic that need not be done."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.wasted import double_precision, no_kv_cache, one_hot_matmul
from tests.analysis.findings.performance.cases import MS, US, found, nodes, operators
from tests.builders import TraceBuilder

SHAPES = {"record_shapes": 1}


def of_types(*arguments) -> TraceBuilder:
    """A step of operators of 10 us with these arguments: sizes and type."""
    b = TraceBuilder(metadata=SHAPES).step(0, 0, MS)
    for number, (sizes, dtype) in enumerate(arguments):
        b.call("aten::mul", 10 * number * US, 10 * (number + 1) * US, [sizes, []], [dtype, "Scalar"])
    return b


def test_operators_on_float64():
    """GIVEN four operators of 10 us on float64 and one on float32 THEN half of 40 us is at stake"""
    finding = found(double_precision, of_types(*[([8, 8], "double")] * 4, ([8, 8], "float")))
    assert finding.cost.ns == 20 * US
    assert finding.what.startswith("operators on float64: 4 a step, 40.00 us a step")


@pytest.mark.parametrize(
    "argument",
    [
        ([], "double"),  # a number, which Python's are
        ([1], "double"),
        ([8, 8], "float"),
        ([[8, 8], [8, 8]], "TensorList"),
    ],
)
def test_what_is_no_work_in_float64(argument):
    assert found(double_precision, of_types(*[argument] * 8)) is None


def test_one_hot_rows_times_a_table():
    """GIVEN one_hot, a cast and a matmul with its backward, 40 us each THEN 160 us are at stake"""
    b = TraceBuilder().step(0, 0, MS)
    operators(b, ["one_hot", "to>copy_", "matmul"], 0, 40 * US, sequence=1)
    nodes(b, ["Matmul"], 300 * US, 3, 40 * US)
    finding = found(one_hot_matmul, b)
    assert finding.cost.ns == 160 * US + 2  # the engine has a range round the node, 2 ns longer
    assert "once a step" in finding.what


@pytest.mark.parametrize(
    "names", [["one_hot", "sum", "matmul"], ["one_hot", "to>copy_", "mul"], ["to>copy_", "matmul"], ["one_hot"]]
)
def test_one_hot_rows_for_something_else(names):
    b = TraceBuilder().step(0, 0, MS)
    operators(b, names, 0, 40 * US)
    assert found(one_hot_matmul, b) is None


def attending(lengths, name="scaled_dot_product_attention", *, layers=2, backward=False) -> TraceBuilder:
    """A step of passes with as many queries each, 100 us a layer."""
    b = TraceBuilder(metadata=SHAPES).step(0, 0, MS)
    calls = [length for length in lengths for _ in range(layers)]
    for number, length in enumerate(calls):
        begin = 100 * number * US
        b.call(f"aten::{name}", begin, begin + 100 * US, [[4, 2, length, 16]], sequence=number + 1)
    if backward:
        nodes(b, ["Attention"], 900 * US, 1)
    return b


@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "softmax"])
def test_a_text_that_grows(name):
    """GIVEN passes on 9, 10, 11 and 12 tokens in 1 ms THEN 9 + 10 + 11 of 42 tokens were computed before

    AND the passes that were need 6 of 8 calls of 5 us anyway
    """
    finding = found(no_kv_cache, attending([9, 10, 11, 12], name))
    assert finding.cost.ns == pytest.approx(MS * 30 / 42 - 30 * US, abs=1)
    assert "up to 12" in finding.what


@pytest.mark.parametrize(
    ("lengths", "backward"),
    [
        ([12, 1, 1, 1], False),  # with a cache
        ([1, 2, 1, 2], False),
        ([9, 10, 11, 12], True),  # training on batches of other lengths
        ([9, 10, 31, 18, 22, 40, 7, 23, 24, 60], False),
    ],
)
def test_texts_that_do_not(lengths, backward):
    assert found(no_kv_cache, attending(lengths, backward=backward)) is None
