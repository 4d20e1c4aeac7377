"""Batch norm across ranks, and biases before it."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.operators.batch_norm import bias_before_batch_norm, sync_batch_norm
from perfkit.schema.finding import Cost
from tests.analysis.findings.performance.cases import found, shapes
from tests.builders import TraceBuilder


def synchronised(count) -> TraceBuilder:
    """Norms whose exchange takes 6 ns, and whose arithmetic takes 10."""
    b = TraceBuilder().step(0, 0, 10_000)
    for number in range(count):
        at = 100 * number
        b.range("SyncBatchNorm", at, at + 90)
        b.range("aten::batch_norm_gather_stats_with_counts", at + 20, at + 30).launched(
            "gather", at + 22, at + 30, at + 36
        )
        b.range("aten::batch_norm_elemt", at + 40, at + 50).launched("elemt", at + 42, at + 50, at + 60)
    return b


def test_many_norms_exchange_their_statistics():
    """GIVEN 21 of them THEN 21 x 6 ns are at stake; the gaps of 64 ns between them belong to others"""
    finding = found(sync_batch_norm, synchronised(21))
    assert finding.cost == Cost(126, 0.0126)
    assert "from all ranks: 21 a step" in finding.what


def test_twenty_are_not_too_many():
    assert found(sync_batch_norm, synchronised(20)) is None


def convolution(*, bias, counter=True, norm="batch_norm"):
    """A convolution with an addition of 20 ns in it, and what follows; and its shapes."""
    b = TraceBuilder(metadata={"record_shapes": 1}).step(0, 0, 1000)
    b.range("aten::conv2d", 10, 110).range("aten::add_", 80, 100)
    if counter:
        b.range("aten::add_", 120, 130)
    b.range(f"aten::{norm}", 140, 200)
    sizes = ((8, 3, 32, 32), (16, 3, 3, 3), (16,) if bias else ())
    return b, shapes(len(b.host), {1: (sizes, ("float", "float", "float"))})


@pytest.mark.parametrize("counter", [True, False])
def test_a_bias_before_batch_norm(counter):
    finding = found(bias_before_batch_norm, *convolution(bias=True, counter=counter))
    assert finding.cost == Cost(20, 0.02)
    assert "takes away again: 1 a step, 20.00 ns a step" in finding.what


def test_a_trained_model_needs_its_bias_until_it_is_folded():
    """GIVEN the same without backward, and with it THEN inference is told to fold, and training to leave it out"""
    builder, details = convolution(bias=True)
    assert "fuse_conv_bn_eval" in found(bias_before_batch_norm, builder, details).advice
    training = convolution(bias=True)[0].node("AddBackward0", 300, 400, 1)
    sizes = ((8, 3, 32, 32), (16, 3, 3, 3), (16,))
    details = shapes(len(training.host), {1: (sizes, ("float", "float", "float"))})
    assert "bias=False" in found(bias_before_batch_norm, training, details).advice


def test_without_a_bias_or_a_norm_after_it():
    assert found(bias_before_batch_norm, *convolution(bias=False)) is None
    assert found(bias_before_batch_norm, *convolution(bias=True, norm="relu")) is None


def test_without_shapes_it_abstains():
    builder, _ = convolution(bias=True)
    assert found(bias_before_batch_norm, builder) is None
