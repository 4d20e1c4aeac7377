"""Work in a training step that trains nothing."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.program.beside import work_beside_training
from tests.analysis.findings.performance.cases import MS, US, found, nodes, operators
from tests.builders import TraceBuilder


def training(between=(), after=(), *, steps=3, makes_nodes=False) -> TraceBuilder:
    """Steps of 1 ms: forward, backward, these operators of 20 us, the optimizer, and those."""
    b = TraceBuilder()
    for number in range(steps):
        start, sequence = number * MS, 100 * number + 1
        b.step(number, start, start + MS)
        operators(b, ["mm", "relu"], start, 50 * US, sequence=sequence)
        nodes(b, ["mm", "relu"], start + 100 * US, sequence, 50 * US)
        operators(b, between, start + 300 * US, 20 * US)
        b.annotation("Optimizer.step#AdamW.step", start + 500 * US, start + 550 * US)
        operators(b, ["_fused_adamw_"], start + 501 * US, 40 * US)
        operators(b, after, start + 600 * US, 20 * US, sequence=sequence + 50 if makes_nodes else None)
        if makes_nodes and number + 1 < steps:
            nodes(b, after, start + MS + 110 * US, sequence + 50, 5 * US)
    return b


@pytest.mark.parametrize("place", ["between", "after"])
def test_statistics_behind_backward(place):
    """GIVEN five histograms of 20 us, in front of the optimizer or behind THEN 100 us less 200 ns to record each

    AND the Python behind the last: to the optimizer's range 100 us, and to the end of the step as long as they are.
    """
    finding = found(work_beside_training, training(**{place: ["histc"] * 5}))
    assert finding.cost.ns == 200 * US - 5 * 200
    assert "each step also runs histc" in finding.what


def test_python_between_them_is_theirs():
    """GIVEN an evaluation of two operators, 30 us apart THEN it takes 70 us, and what follows 40 at most"""
    b = training()
    for number in range(3):
        start = number * MS + 600 * US
        b.range("aten::linear", start, start + 20 * US).range("aten::argmax", start + 50 * US, start + 70 * US)
    assert found(work_beside_training, b).cost.ns == 110 * US - 2 * 200


@pytest.mark.parametrize(
    "where",
    [
        {"between": ["linalg_vector_norm", "stack", "mul_"] * 3},  # gradients are clipped
        {"between": ["histc"] * 5 + ["mul_"]},  # what runs beside that may be part of it
        {"after": ["lerp_"] * 5},  # an average of the weights
        {"after": ["_foreach_lerp_"] * 5},
        {"after": ["detach", "item"] * 3},  # moves nothing
        {"after": ["mm"] * 5, "makes_nodes": True},  # the next step's forward
        {"after": ["histc"] * 5, "steps": 1},  # what follows may be the forward of a step that was not recorded
    ],
)
def test_what_serves_training(where):
    assert found(work_beside_training, training(**where)) is None


def test_what_a_loader_does_is_the_loaders():
    b = training()
    for number in range(3):
        start = number * MS + 600 * US
        b.annotation("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", start, start + 200 * US)
        operators(b, ["stack"] * 5, start, 20 * US)
    assert found(work_beside_training, b) is None


def test_inference_trains_nothing_anyway():
    b = TraceBuilder()
    for number in range(3):
        b.step(number, number * MS, (number + 1) * MS)
        operators(b, ["linear", "argmax"] * 9, number * MS, 50 * US)
    assert found(work_beside_training, b) is None
