"""The outermost operators, what they are, and the patterns among them."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.analysis.findings.performance.units import Kind, base, is_view, kind_of, runs
from tests.analysis.findings.performance.cases import case_of, operators
from tests.builders import TraceBuilder


def test_units_are_the_outermost_operators():
    """GIVEN linear with addmm in it, in a module's range, and an operator in a backward node THEN two units"""
    b = TraceBuilder().step(0, 0, 200).module("net", 0, 50)
    operators(b, ["linear>addmm"], 10, sequence=1)
    b.node("AddmmBackward0", 60, 90, 1).range("aten::mm", 65, 80)
    units = case_of(b).units
    assert [units.names[name] for name in units.name] == ["linear", "mm"]
    assert units.of.tolist().count(0) == 2  # linear, and addmm in it


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("mul_", Kind.POINTWISE), ("masked_fill", Kind.POINTWISE), ("dropout", Kind.POINTWISE),
        ("gelu", Kind.POINTWISE),
        ("cat", Kind.COPY), ("copy_", Kind.COPY), ("to", Kind.VIEW), ("t", Kind.VIEW), ("squeeze_", Kind.VIEW),
        ("mean", Kind.REDUCTION), ("zeros", Kind.FILL), ("fill_", Kind.FILL), ("new_ones", Kind.FILL),
        ("_softmax", Kind.SOFTMAX),
        ("bmm", Kind.BATCHED_MATMUL), ("mm", Kind.OTHER), ("layer_norm", Kind.OTHER), ("conv2d", Kind.OTHER),
        ("sort", Kind.OTHER), ("something_new", Kind.OTHER),
    ],
)  # fmt: skip
def test_kinds_by_name(name, kind):
    assert kind_of(name) is kind


def test_kinds_by_what_is_inside():
    b = TraceBuilder()
    operators(b, ["to>copy_", "to", "matmul>bmm", "matmul>mm", "einsum>bmm"], 0)
    units = case_of(b).units
    kinds = [Kind(kind) for kind in units.kind]
    assert kinds == [Kind.COPY, Kind.VIEW, Kind.BATCHED_MATMUL, Kind.OTHER, Kind.BATCHED_MATMUL]


def test_names_are_told_apart():
    assert base("aten::mul_") == "mul_"
    assert base("aten::mm, seq = 5, op_id = 3") == "mm"
    assert is_view("aten::select")
    assert not is_view("aten::mul")
    assert not is_view("select_kernel")


def test_on_a_device_a_unit_works_that_launched():
    b = TraceBuilder().step(0, 0, 100)
    operators(b, ["mul"], 0, on_device=True)
    operators(b, ["mul"], 20)
    assert case_of(b).works.tolist() == [True, False]


def test_runs_end_with_their_thread():
    flags, thread = np.array([1, 1, 1, 0, 1], dtype=bool), np.array([0, 0, 1, 1, 1])
    begins, ends = runs(flags, thread)
    assert list(zip(begins.tolist(), ends.tolist(), strict=True)) == [(0, 2), (2, 3), (4, 5)]
    assert not len(runs(flags[:0], thread[:0])[0])
