"""Predicted memory beside measured memory: rows that add up, and why they differ. All numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.reports import predicted
from perfkit.schema.memory import estimate as memory
from perfkit.schema.memory.estimate import Beside, MemoryEstimate

PARTS = {
    memory.PARAMETERS: 1000, memory.GRADIENTS: 400, memory.OPTIMIZER: 2000, memory.CONSTANTS: 10,
    memory.MLP: 3000, memory.ROPE: 500, memory.WORKING: 300,
}  # fmt: skip
KINDS = {
    Kind.PARAMETERS: 1000, Kind.GRADIENTS: 400, Kind.OPTIMIZER: 2000, Kind.CONSTANTS: 10, Kind.ACTIVATIONS: 3500,
    Kind.TEMPORARIES: 300, Kind.WORKSPACES: 80,
}  # fmt: skip


def estimate(phase: str = "backward") -> MemoryEstimate:
    beside = Beside(rounding={memory.PARAMETERS: 50, memory.MLP: 70, memory.ROPE: 20}, workspaces=80, context=0)
    return MemoryEstimate(method="formula", parts=PARTS, phase=phase, module="", first_step=0, beside=beside)


def reasons(**changes: int) -> dict[str, str]:
    """Reasons given, by kind, where what was measured differs by so much from what was predicted."""
    measured: dict[Kind, int] = dict(KINDS)
    for name, change in changes.items():
        measured[Kind[name]] = measured.get(Kind[name], 0) + change
    rows = predicted.table(estimate(), measured).frame
    return {str(kind): str(why) for kind, why in zip(rows.kind, rows.why, strict=True) if why}


def test_parts_are_kinds_and_both_columns_add_up():
    # WHEN
    table = predicted.table(estimate(), {**KINDS, Kind.GRADIENTS: 500})

    # THEN
    assert predicted.by_kind(estimate()) == KINDS
    frame = table.frame
    assert frame.predicted_bytes.sum() == estimate().allocated - 140  # without the rounding
    assert frame.measured_bytes.sum() == sum(KINDS.values()) + 100
    assert list(frame.difference_bytes[frame.difference_bytes != 0]) == [100]


def test_without_a_backward_pass_everything_is_temporary():
    assert predicted.by_kind(estimate("forward"))[Kind.TEMPORARIES] == 3800
    assert Kind.ACTIVATIONS not in predicted.by_kind(estimate("forward"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {}),
        ({"GRADIENTS": 7}, {}),  # below 0.1% of the peak
        ({"OPTIMIZER": -2000}, {"optimizer state": "a first step"}),
        ({"OPTIMIZER": -1000}, {"optimizer state": "not modelled"}),
        ({"WORKSPACES": 80}, {"workspaces": "cuBLAS's workspaces"}),
        ({"PARAMETERS": 50}, {"parameters": "rounding"}),
        ({"ACTIVATIONS": 90}, {"activations": "rounding"}),
        ({"ACTIVATIONS": 900}, {"activations": "not modelled"}),
        (
            {"ACTIVATIONS": -200, "TEMPORARIES": 200},
            {"activations": "counted as temporaries", "temporaries": "counted as activations"},
        ),
        ({"ACTIVATIONS": -500, "UNKNOWN": 500}, {"activations": "in the row 'not told'", "not told": "the recording"}),
        ({"GRADIENTS": -300}, {"gradients": "the peak is at another moment"}),
        ({"PARAMETERS": -300}, {"parameters": "not modelled"}),
    ],
)
def test_a_difference_has_its_reason(changes: dict[str, int], expected: dict[str, Any]):
    found = reasons(**changes)
    assert found.keys() == expected.keys()
    assert all(found[kind].startswith(words) for kind, words in expected.items())


def test_a_cpu_has_no_rounding_to_blame():
    plain = MemoryEstimate(method="formula", parts=PARTS, phase="backward", module="", first_step=0)
    rows = predicted.table(plain, {**KINDS, Kind.PARAMETERS: 1050}).frame
    assert list(rows.why[rows.kind == "parameters"]) == ["not modelled"]
