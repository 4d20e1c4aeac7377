"""Recomputation, and layers unlike their siblings."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.kernels.layers import recomputation, uneven_layers
from perfkit.schema.finding import Cost, Evidence
from tests.analysis.findings.performance.cases import MS, US, found
from tests.builders import TraceBuilder


def test_work_that_runs_again():
    """GIVEN two forward operations of 10 us, 5 us apart, inside a node that ends after them

    THEN 25 us less 200 ns to record each are recomputation, of 1 ms
    """
    b = TraceBuilder().step(0, 0, MS).module("net", 0, 50 * US)
    b.range("aten::mm", 0, 10 * US, sequence=1).range("aten::relu", 15 * US, 25 * US, sequence=2)
    b.node("MmBackward0", 200 * US, 300 * US, 1).range("perfkit::net", 210 * US, 245 * US)
    b.range("aten::mm", 212 * US, 222 * US, sequence=3).range("aten::relu", 227 * US, 237 * US, sequence=4)
    finding = found(recomputation, b)
    assert finding.cost == Cost(24_600, 0.0246)
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


def test_the_median_step_says_what_a_layer_costs():
    """GIVEN a layer that takes 140, 200 and 210 ns THEN 200 less the 60 of its siblings are at stake"""
    b = TraceBuilder()
    for number, slow in enumerate([140, 200, 210]):
        start = 1000 * number
        b.step(number, start, start + 1000)
        for layer in range(4):
            b.module(f"layers.{layer}", start + 220 * layer, start + 220 * layer + (slow if layer == 1 else 60))
    assert found(uneven_layers, b).cost.ns == 140


def test_module_frames_have_numbers_of_their_own():
    b = TraceBuilder().step(0, 0, 4000)
    for number, time in enumerate([100, 100, 100, 300, 100]):
        b.module(f"Net_0/Block_{number}", 500 * number, 500 * number + time)
    assert found(uneven_layers, b).where == "Net_0/Block_3"


def of_operators(rows) -> TraceBuilder:
    """A step of layers, each of which calls these operators: (name, ns)."""
    b = TraceBuilder().step(0, 0, 4000)
    begin = 0
    for number, called in enumerate(rows):
        b.module(f"layers.{number}", begin, begin + sum(time for _, time in called))
        for name, time in called:
            b.range(f"aten::{name}", begin, begin + time)
            begin += time
    return b


BLOCK = [("linear", 50), ("gelu", 50)]


@pytest.mark.parametrize(
    ("rows", "stands_out"),
    [
        ([BLOCK] * 4 + [[("linear", 150), ("gelu", 150)]], True),
        ([BLOCK] * 4 + [[("linear", 50), ("gelu", 50), ("histc", 200)]], True),  # its siblings' work and more
        ([[("conv2d", 300)], [("batch_norm", 100)], [("relu", 100)], [("max_pool2d", 100)]], False),  # a Sequential
        ([BLOCK] * 4 + [[("embedding_bag", 300)]], False),
    ],
)
def test_siblings_call_the_same_operators(rows, stands_out):
    assert bool(found(uneven_layers, of_operators(rows))) is stands_out


@pytest.mark.parametrize("wide", [False, True])
def test_on_a_host_a_layer_with_its_siblings_shapes_is_not_slow_by_itself(wide):
    """GIVEN a layer of three times its siblings' time WHEN its shapes are theirs, or not THEN only then is it told"""
    b = TraceBuilder(metadata={"record_shapes": 1}).step(0, 0, 4000)
    for number in range(5):
        last = number == 4
        begin, end = 400 * number, 400 * number + (300 if last else 100)
        b.module(f"layers.{number}", begin, end).call("aten::linear", begin, end, [[8, 48 if last and wide else 16]])
    assert bool(found(uneven_layers, b)) is wide
