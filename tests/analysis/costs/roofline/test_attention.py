"""Attention by part: softmax against the matmuls, in time and in FLOPs."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.costs.roofline.attention import attention_table
from perfkit.analysis.time.account import account_for
from perfkit.analysis.time.trace_table import View
from perfkit.schema.table import Table
from perfkit.trace.load import load
from tests.analysis.columns import assert_regular
from tests.analysis.costs.roofline.devices import account_of, traced
from tests.builders import TraceBuilder
from tests.corpus import corpus_file

COLUMNS = ("phase", "part", "count", "total_ns", "flops", "time_by_softmax", "flops_by_softmax")


def table(b: TraceBuilder) -> Table:
    return attention_table(account_of(b).partial, View())


def rows(found: Table) -> list[list[object]]:
    values = found.frame[list(COLUMNS)].to_numpy().tolist()
    return [[None if pd.isna(value) else value for value in row] for row in values]


def eager(b: TraceBuilder, at: int) -> TraceBuilder:
    """Two heads of 8 tokens, 4 wide: matmuls of 1,024 operations (30 ns each), softmax of 640 (20 ns), scaling."""
    b.call("aten::bmm", at + 1, at + 4, [[2, 8, 4], [2, 4, 8]]).launched("gemm", at + 2, at + 100, at + 130)
    b.call("aten::mul", at + 5, at + 8, [[2, 8, 8], []]).launched("mul", at + 6, at + 130, at + 135)
    b.call("aten::_softmax", at + 9, at + 12, [[2, 8, 8], [], []]).launched("softmax", at + 10, at + 135, at + 155)
    return b.call("aten::bmm", at + 13, at + 16, [[2, 8, 8], [2, 8, 4]]).launched("gemm", at + 14, at + 155, at + 185)


def test_softmax_against_the_matmuls():
    """GIVEN a module `layers.0.attn` with a projection, scores, softmax and a weighted sum, and a loss outside THEN the
    matmuls do 2,048 operations in 60 ns, softmax 640 in 20: 3.2 times the FLOPs in 3 times its time"""
    b = traced().step(0, 0, 1_000).module("layers.0.attn", 0, 60)
    eager(b, 0).call("aten::mm", 20, 24, [[8, 8], [8, 8]]).launched("gemm", 21, 200, 250)
    b.call("aten::_log_softmax", 70, 80, [[8, 9], [], []]).launched("softmax", 71, 300, 350)
    found = table(b)
    assert_regular(found)
    assert rows(found) == [
        ["forward", "scores and weighted sum", 2, 60, 2_048, 3.0, 3.2],
        ["forward", "softmax", 1, 20, 640, 1.0, 1.0],
        ["forward", "projections", 1, 50, 1_024, 2.5, 1.6],
        ["forward", "rest", 1, 5, 128, 0.25, 0.2],
    ]
    assert found.notes == (
        "forward: scores and weighted sum do 3.20 times the FLOPs of softmax in 3.00 times its time",
    )


def test_without_a_scope_of_that_name_all_softmaxes_and_batched_matmuls_count():
    found = table(eager(traced().step(0, 0, 1_000).annotation("forward", 0, 500), 0))
    assert [row[1] for row in rows(found)] == ["scores and weighted sum", "softmax"]
    assert "no scope is called attention" in found.notes[-1]


def test_a_softmax_that_is_written_out_is_known_by_its_scope():
    """GIVEN a module `attn.softmax` that exponentiates, adds up and divides THEN these are softmax"""
    b = eager(traced().step(0, 0, 1_000), 0)
    b.module("net.attn", 300, 400).module("net.attn.softmax", 310, 390)
    b.call("aten::exp", 320, 330, [[10]]).launched("exp", 321, 500, 510)
    b.call("aten::div", 340, 350, [[10], [10]]).launched("div", 341, 510, 530)
    assert rows(table(b)) == [["forward", "softmax", 2, 30, 20, 1.0, 1.0]]


def test_fused_attention_has_softmax_inside():
    q = [1, 2, 8, 4]
    b = traced().step(0, 0, 1_000).module("attn", 0, 60)
    b.call("aten::_scaled_dot_product_flash_attention", 5, 20, [q, q, q]).launched("flash", 10, 100, 150)
    found = table(b)
    assert [row[:3] for row in rows(found)] == [["forward", "fused attention", 1]]
    assert "inside the kernels of fused attention" in found.notes[0]


def test_a_model_without_attention_has_no_rows():
    assert len(table(traced().step(0, 0, 100).call("aten::mm", 5, 20, [[8, 8], [8, 8]]))) == 0


@pytest.mark.corpus
def test_attention_of_real_modules():
    """GIVEN BERT on an H100, whose modules are called BertAttention and BertSdpaSelfAttention THEN its time is that of
    four layers' projections and flash attention"""
    trace = load(corpus_file("kineto/h100_bert_small_inference.json.gz"))
    found = attention_table(account_for(trace, attribute(trace)).partial, View()).frame
    assert found.set_index("part")["count"][["fused attention", "projections"]].tolist() == [4, 16]
