"""Attention written out, and SDPA that fell to math."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.attention import (
    EAGER_ATTENTION,
    SDPA_MATH,
    eager_attention,
    sdpa_math,
)
from perfkit.schema.finding import Cost
from tests.analysis.findings.performance.cases import found, nodes, operators
from tests.builders import TraceBuilder

EAGER = ["matmul>bmm", "mul", "masked_fill", "softmax", "dropout", "matmul>bmm"]


def step(names, *, on_device=False) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, 1000)
    operators(b, names, 100, sequence=1, on_device=on_device)
    return b


@pytest.mark.parametrize("on_device", [False, True])
def test_a_softmax_between_two_batched_matmuls(on_device):
    """GIVEN six operators of 10 ns THEN what is between the matmuls is at stake: 4 x 10 of 1,000 ns"""
    finding = found(eager_attention, step(EAGER, on_device=on_device))
    assert finding.rule is EAGER_ATTENTION
    assert finding.cost == Cost(40, 0.04)
    assert "once a step: mul, masked_fill, softmax, dropout between" in finding.what
    assert "scaled_dot_product_attention" in finding.advice
    assert {row.table for row in finding.evidence} == {"kernels"}


def test_its_backward_is_at_stake_too():
    """GIVEN the nodes of the six operators THEN 4 nodes' operators of 9 ns, and the nodes' own 1 + 2 ns, are added"""
    b = step(EAGER)
    nodes(b, ["Bmm", "Mul", "MaskedFill", "Softmax", "Dropout", "Bmm"], 300, 1)
    assert found(eager_attention, b).cost.ns == 40 + 4 * (10 + 2)


@pytest.mark.parametrize(
    "names",
    [
        ["linear>addmm", "softmax", "linear>addmm"],  # a gate, not attention
        ["matmul>bmm", "softmax", "topk", "matmul>bmm"],  # a router
        ["matmul>bmm", "softmax"],
        ["matmul>bmm", "log_softmax", "nll_loss", "matmul>bmm"],
        ["scaled_dot_product_attention>bmm"],
        ["matmul>bmm", *["mul"] * 20, "softmax", "matmul>bmm"],
        ["matmul>bmm", "relu", "matmul>bmm"],
    ],
)
def test_what_is_no_attention(names):
    assert found(eager_attention, step(names)) is None


def test_little_attention_is_not_worth_a_finding():
    """GIVEN 40 of 4,100 ns, under 1% THEN nothing"""
    b = TraceBuilder().step(0, 0, 4100)
    operators(b, EAGER, 100)
    assert found(eager_attention, b) is None


def test_sdpa_that_fell_to_math():
    """GIVEN 60 ns of SDPA, of which its two bmm take 10 each THEN 40 are at stake"""
    b = TraceBuilder().step(0, 0, 1000).range("aten::scaled_dot_product_attention", 100, 160)
    b.range("aten::_scaled_dot_product_attention_math", 100, 160)
    b.range("aten::bmm", 100, 110).range("aten::_softmax", 110, 140).range("aten::bmm", 150, 160)
    finding = found(sdpa_math, b)
    assert (finding.rule, finding.cost) == (SDPA_MATH, Cost(40, 0.04))
    assert "math backend once a step" in finding.what


def test_sdpa_that_is_fused():
    b = TraceBuilder().step(0, 0, 1000).range("aten::scaled_dot_product_attention", 100, 160)
    b.range("aten::_scaled_dot_product_flash_attention_for_cpu", 100, 160)
    assert found(sdpa_math, b) is None
    assert found(eager_attention, b) is None


def test_without_operators_kernels_tell():
    """GIVEN kernels on a stream: matmul, scale, mask, softmax, matmul THEN the 30 ns between seem to be attention"""
    b = TraceBuilder().step(0, 0, 1000)
    names = (
        "ampere_sgemm_nn",
        "elementwise_kernel",
        "masked_fill_elementwise_kernel",
        "softmax_warp_forward",
        "ampere_sgemm_nt",
    )
    for number, name in enumerate(names):
        b.launched(name, number, 100 + 10 * number, 110 + 10 * number)
    finding = found(eager_attention, b)
    assert (finding.cost, finding.sure) == (Cost(30, 0.03), "guessed")
    b.launched("sort_kernel", 7, 125, 126)  # in between: a router
    assert found(eager_attention, b) is None


def test_streams_are_apart():
    b = TraceBuilder().step(0, 0, 1000)
    for number, name in enumerate(("ampere_sgemm_nn", "softmax_warp_forward", "ampere_sgemm_nt")):
        b.launched(name, number, 100 + 10 * number, 110 + 10 * number, stream=number)
    assert found(eager_attention, b) is None
