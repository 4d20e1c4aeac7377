"""Recomputation, and layers unlike their siblings."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.kernels.layers import recomputation, uneven_layers
from perfkit.schema.finding import Cost, Evidence
from tests.analysis.findings.performance.cases import found
from tests.builders import TraceBuilder


def test_work_that_runs_again():
    """GIVEN a forward operation of 30 ns inside a node that ends after it THEN 30 of 1,000 ns are recomputation"""
    b = TraceBuilder().step(0, 0, 1000).module("net", 0, 100).range("aten::mm", 10, 40, sequence=1)
    b.node("MmBackward0", 200, 300, 1).range("perfkit::net", 210, 245).range("aten::mm", 212, 242, sequence=2)
    finding = found(recomputation, b)
    assert finding.cost == Cost(35, 0.035)  # with the module's own range
    assert finding.evidence == (Evidence("phases", {"phase": "recompute"}),)


def test_without_it():
    b = TraceBuilder().step(0, 0, 1000).module("net", 0, 100).range("aten::mm", 10, 40, sequence=1)
    b.node("MmBackward0", 200, 300, 1)
    assert found(recomputation, b) is None


def layers(times, prefix="layers", parts=("attn", "mlp")) -> TraceBuilder:
    """A step whose layers take these times, half of each in either part."""
    b = TraceBuilder().step(0, 0, 4000)
    begin = 0
    for number, time in enumerate(times):
        for part in parts:
            each = time // len(parts)
            b.module(f"{prefix}.{number}.{part}", begin, begin + each)
            begin += each
    return b


def test_a_layer_that_takes_longer():
    """GIVEN layers of 100 ns and one of 300 THEN 200 of 4,000 ns are more than its siblings take"""
    finding = found(uneven_layers, layers([100, 100, 102, 300, 98, 100]))
    assert finding.cost == Cost(200, 0.05)
    assert finding.what == "layers.3 300.0 ns a step, where its siblings take 100.0 ns"
    assert finding.where == "layers.3"
    assert finding.sure == "guessed"  # one step only


@pytest.mark.parametrize(
    "times",
    [
        [100, 100, 300],  # too few to know what is usual
        [100, 100, 102, 190, 98, 100],  # not far
        [100, 200, 300, 400, 500, 1000],  # a network that grows
        [300, 300, 100, 100, 100, 100],  # two of six are a third: a design
        [100] * 6,
        [10, 100, 100, 100, 100],  # less work is no loss
    ],
)
def test_layers_that_differ_otherwise(times):
    assert found(uneven_layers, layers(times)) is None


def test_layers_of_other_parts_are_other_layers():
    b = layers([100] * 5)
    b.module("layers.5.attn", 600, 700).module("layers.5.experts", 700, 1200)
    assert found(uneven_layers, b) is None


def test_of_several_steps_the_quickest_counts():
    """GIVEN three steps, in one of which a layer was slow THEN in another it took what its siblings take"""
    b = TraceBuilder()
    for number in range(3):
        start = 1000 * number
        b.step(number, start, start + 1000)
        for layer in range(4):
            slow = layer == number == 1
            b.module(f"layers.{layer}", start + 200 * layer, start + 200 * layer + (190 if slow else 60))
    assert found(uneven_layers, b) is None


def test_module_frames_have_numbers_of_their_own():
    b = TraceBuilder().step(0, 0, 4000)
    for number, time in enumerate([100, 100, 100, 300, 100]):
        b.module(f"Net_0/Block_{number}", 500 * number, 500 * number + time)
    assert found(uneven_layers, b).where == "Net_0/Block_3"
