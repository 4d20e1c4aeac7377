"""Elementwise operations in a row."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.chains import elementwise_chains
from perfkit.schema.finding import Cost
from tests.analysis.findings.performance.cases import found, nodes, operators
from tests.builders import TraceBuilder

NORM = ["pow", "mean", "add", "rsqrt", "mul", "mul"]


def step(names, length=1000, *, on_device=False) -> TraceBuilder:
    b = TraceBuilder().step(0, 0, length)
    operators(b, names, 100, sequence=1, on_device=on_device)
    return b


@pytest.mark.parametrize("on_device", [False, True])
def test_a_norm_written_out(on_device):
    """GIVEN six operations of 10 ns THEN five of them could go: a fused one still reads and writes once"""
    finding = found(elementwise_chains, step(["mm", *NORM, "mm"], on_device=on_device))
    assert finding.cost == Cost(50, 0.05)
    assert "such as pow, mean, add, rsqrt, mul:" in finding.what
    assert "torch.compile" in finding.advice


def test_its_backward_is_at_stake_too():
    """GIVEN nodes of 12 ns each with the engine's part THEN five more of them"""
    b = step(["mm", *NORM, "mm"])
    nodes(b, ["Mm", "Pow", "Mean", "Add", "Rsqrt", "Mul", "Mul", "Mm"], 300, 1)
    assert found(elementwise_chains, b).cost.ns == 50 + 5 * 12


@pytest.mark.parametrize(
    "names",
    [
        ["mm", "gelu", "add", "mm"],  # a pair is usual
        ["mm", "dropout", "add", "layer_norm", "mm"],
        ["mm", "silu", "mul", "mm"],
        ["copy_"] * 20,  # copies do no arithmetic
        ["mm", "mul", "mm", "mul", "mm", "mul", "mm"],
        ["matmul>bmm", "mul", "add", "masked_fill", "softmax", "matmul>bmm"],  # attention's own finding
    ],
)
def test_what_is_no_chain(names):
    assert found(elementwise_chains, step(names)) is None


def test_an_optimizer_is_no_chain():
    b = TraceBuilder().step(0, 0, 1000).annotation("Optimizer.step#AdamW.step", 100, 400)
    operators(b, ["mul_", "lerp_", "addcmul_", "sqrt", "add_", "addcdiv_"], 100)
    assert found(elementwise_chains, b) is None


def test_little_of_it_is_no_finding():
    """GIVEN 50 of 2,600 ns at stake, under 2% THEN nothing; of 2,500 exactly 2%"""
    assert found(elementwise_chains, step(NORM, 2600)) is None
    assert found(elementwise_chains, step(NORM, 2500)) is not None
