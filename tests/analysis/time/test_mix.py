"""Categories by phase: shares of each phase, and of all."""

from __future__ import annotations

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.mix import mix_table
from tests.analysis.columns import assert_regular, names, summed
from tests.builders import TraceBuilder


def test_the_mix_of_each_phase():
    """GIVEN forward with 30 ns of matmul and 10 of softmax, and backward with 60 of matmul THEN 75% and 100%, 90% of
    all: how the share of matmuls changes from inference to training"""
    b = TraceBuilder().step(0, 0, 1_000).module("net", 0, 100)
    b.range("aten::mm", 5, 20, sequence=1).launched("gemm", 6, 100, 130)
    b.range("aten::_softmax", 25, 40).launched("softmax", 26, 130, 140)
    b.node("MmBackward0", 200, 300, 1).range("aten::mm", 210, 250).launched("gemm", 220, 300, 360)
    trace = b.build()
    found = mix_table(account_for(trace, attribute(trace)).partial)
    assert_regular(found)
    assert names(found) == ["category", "forward_share", "backward_share", "share", "total_ns"]
    assert summed(found) == names(found)[1:]
    assert found.frame[names(found)].to_numpy().tolist() == [
        ["matmul", 0.75, 1.0, pytest.approx(0.9), 90],
        ["softmax", 0.25, 0.0, pytest.approx(0.1), 10],
    ]


def test_a_trace_of_nothing():
    trace = TraceBuilder().build()
    assert len(mix_table(account_for(trace, attribute(trace)).partial)) == 0
