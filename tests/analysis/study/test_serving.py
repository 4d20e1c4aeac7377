"""Kinds of work by the modules that they serve, of a trace by hand."""

from __future__ import annotations

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.study.serving import serving_table
from perfkit.analysis.time.account import account_for
from tests.analysis.columns import assert_regular
from tests.builders import TraceBuilder


def test_blocks_that_differ_in_their_number_are_one_row():
    """GIVEN a matmul of 30 ns in layers.0 and one of 20 in layers.1, and a softmax of 10 in the head"""
    b = TraceBuilder().step(0, 0, 1_000)
    b.module("layers.0", 0, 100).range("aten::mm", 5, 20).launched("gemm", 6, 100, 130)
    b.module("layers.1", 100, 200).range("aten::mm", 105, 120).launched("gemm", 106, 130, 150)
    b.module("head", 200, 300).range("aten::_softmax", 205, 220).launched("softmax", 206, 150, 160)
    trace = b.build()

    # WHEN
    found = serving_table(account_for(trace, attribute(trace)).partial)

    # THEN
    assert_regular(found)
    assert found.frame.to_numpy().tolist() == [["matmul", "layers.*", 50], ["softmax", "head", 10]]
