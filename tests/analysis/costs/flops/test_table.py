"""Tables of work: operations, bytes and time of hand-built traces, and of real ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.costs.flops import table
from perfkit.analysis.costs.flops.work import work_of
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.partial import Partial
from perfkit.trace.columns import DeviceKind
from perfkit.trace.load import load
from perfkit.trace.operands import operands_of
from tests.analysis.columns import assert_regular
from tests.builders import TraceBuilder
from tests.corpus import corpus_file


def partial_of(b: TraceBuilder, selection: Selection | None = None) -> Partial:
    trace = b.build()
    return account_for(trace, attribute(trace), selection).partial


def rows(frame: pd.DataFrame, *columns: str) -> list[list[object]]:
    return [[None if pd.isna(value) else value for value in row] for row in frame[list(columns)].to_numpy().tolist()]


def device_trace() -> TraceBuilder:
    """Two steps with a matmul of two kernels in a module (10 and 20 ns); in the first, an operator that nobody knows
    (8 ns), a copy whose type is not told (4 ns), and a kernel outside every operator (2 ns)."""
    b = TraceBuilder()
    for step, at in enumerate((0, 1000)):
        b.step(step, at, at + 100).module("net", at, at + 90).call("aten::mm", at + 5, at + 40, [[2, 3], [3, 5]])
        b.launched("gemm", at + 10, at + 100, at + 110).launched("reduce", at + 12, at + 110, at + 130)
    b.call("mylib::op", 50, 60, [[7]]).launched("odd", 52, 200, 208)
    b.call("aten::copy_", 61, 70, [[2], [2]], "a type of tomorrow").launched(
        "copy", 62, 210, 214, kind=DeviceKind.KERNEL
    )
    return b.launched("stray", 95, 220, 222)


def test_the_work_of_operators_and_the_time_of_their_kernels():
    """GIVEN a trace of a device WHEN tabled THEN each call's work once, all its kernels' time, and rates of the two:
    120 operations in 60 ns, 4 x (6 + 15 + 10) bytes a call"""
    found = table.work_table(partial_of(device_trace()))
    assert_regular(found)
    assert rows(found.frame, "operator", "category", "shapes", "count", "total_ns", "flops", "bytes") == [
        ["aten::mm", "matmul", "2x3, 3x5", 2, 60, 120, 248],
        ["mylib::op", None, "", 0, 8, None, None],
        ["aten::copy_", "cast/layout", "2, 2", 1, 4, 0, None],
        ["<no operator>", None, "", 0, 2, None, None],
    ]
    assert found.frame["flops_per_s"][0] == pytest.approx(2e9)
    assert found.frame["bytes_per_s"][0] == pytest.approx(248 / 60e-9)
    assert found.frame["flops_per_byte"][0] == pytest.approx(120 / 248)
    assert (found.pinned, found.frame["share"].sum()) == (1, pytest.approx(1))


def test_work_by_layer_and_phase():
    found = table.layer_table(partial_of(device_trace()))
    assert_regular(found)
    assert rows(found.frame, "scope", "phase", "count", "total_ns", "flops") == [
        ["net", "forward", 3, 72, 120],
        ["<unattributed>", "other", 0, 2, None],
    ]


def test_scalars_are_of_a_step():
    """GIVEN 60 operations of a matmul in each of two steps THEN 60 a step, and 64 of 74 ns are counted"""
    assert table.scalars(partial_of(device_trace())) == {"flops_per_step": 60, "counted_share": 64 / 74}
    one = table.scalars(partial_of(device_trace(), Selection(steps=1)))
    assert one == {"flops_per_step": 60, "counted_share": 1.0}
    outside = TraceBuilder().call("aten::mm", 5, 40, [[2, 3], [3, 5]])
    assert table.scalars(partial_of(outside))["flops_per_step"] is None
    uneven = device_trace().call("aten::mm", 1050, 1060, [[1, 1], [1, 1]]).launched("gemm", 1052, 1200, 1204)
    assert table.scalars(partial_of(uneven))["flops_per_step"] == 61


def test_work_counts_once_however_the_account_is_cut():
    """GIVEN an operator whose second kernel is communication WHEN only communication is asked for THEN its time, and
    not its work again"""
    b = TraceBuilder().call("aten::mm", 5, 40, [[2, 3], [3, 5]]).launched("gemm", 10, 100, 110)
    b.launched("ncclDevKernel_AllReduce", 12, 110, 130)
    found = table.work_table(partial_of(b, Selection(phase=Phase.COMMUNICATION))).frame
    assert rows(found, "operator", "count", "total_ns", "flops") == [["aten::mm", 0, 20, 0]]


def test_without_a_device_the_time_is_the_hosts():
    """GIVEN an addition that first copies, in a module, without a device THEN each has its self time"""
    b = TraceBuilder().step(0, 0, 100).module("net", 0, 90).call("aten::add", 10, 50, [[4], [4]])
    b.call("aten::copy_", 20, 30, [[4], [4]]).call("aten::mul", 60, 80, [[4], [4]], thread=1)
    found = table.work_table(partial_of(b)).frame
    assert rows(found, "operator", "total_ns", "flops") == [
        ["aten::add", 30, 4],
        ["aten::copy_", 10, 0],
        ["<no operator>", 60, None],
    ]


def test_a_trace_without_shapes_has_no_such_tables():
    shown = report(TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 40).build())
    assert not {"work", "work_layers"} & set(shown.names)
    assert (shown.summary["flops_per_step"], shown.summary["counted_share"]) == (None, None)
    assert {"work", "work_layers"} <= set(report(device_trace().build()).names)


# --- real traces ------------------------------------------------------------------------------------------------------


@pytest.mark.corpus
def test_matmuls_and_attention_of_a_real_trace():
    """GIVEN a Qwen1.5 0.5B forward on an H100 THEN its largest matmul runs at 610 TFLOP/s and flash attention at 90,
    as the issue has them: 2 x 8944 x 2816 x 1024 operations in 84.5 us; 16 heads of 16 sequences of 559 tokens, 64
    wide, causal, in 113.4 us. In full it is 2 x 2 x 256 x 559^2 x 64"""
    trace = load(corpus_file("kineto/h100_qwen_0.5b_inference.json.gz"))
    found = table.work_table(account_for(trace, attribute(trace)).partial).frame
    mm = found[(found["operator"] == "aten::mm") & (found["shapes"] == "8944x1024, 1024x2816")].iloc[0]
    flash = found[found["operator"] == "aten::_flash_attention_forward"].iloc[0]
    assert (mm["flops"], mm["count"]) == (48 * 2 * 8944 * 2816 * 1024, 48)
    assert mm["flops_per_s"] == pytest.approx(610e12, rel=0.01)
    assert flash["flops"] == 24 * 2 * 2 * 256 * 559**2 * 64
    assert flash["flops_per_s"] == pytest.approx(90e12, rel=0.01)


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("h100_bert_small_inference", 0.99),
        ("h100_qwen_0.5b_inference", 0.69),  # of the 69.9% that was launched inside the window
        ("particle_transformer", 0.96),
        ("resnet50_torch18_workers0", 0.78),  # forward convolutions need strides, which files of 2021 lack
    ],
)
def test_how_much_of_real_traces_is_counted(name: str, share: float):
    trace = load(corpus_file(f"kineto/{name}.json.gz"))
    account = account_for(trace, attribute(trace))
    assert table.scalars(account.partial)["counted_share"] == pytest.approx(share, abs=0.01)
    for made in (table.work_table(account.partial), table.layer_table(account.partial)):
        assert made.frame["total_ns"].sum() == account.total.sum()


@pytest.mark.corpus
def test_recomputation_and_backward_count_what_was_recorded():
    """GIVEN three steps of a ResNet whose blocks are checkpointed THEN recomputation has forward's work but for the
    first convolution, and backward two gradients each, but one for the first, whose input needs none"""
    trace = load(corpus_file("kineto/mi300_resnet_checkpoint_training.json.gz"))
    attribution = attribute(trace)
    work = work_of(operands_of(trace), attribution)
    names = np.array(trace.names, dtype=object)[attribution.host.name]
    is_convolution = np.array(["convolution" in name for name in names])
    flops = {phase: int(work.flops[(attribution.ranges.phase == phase) & is_convolution].sum()) for phase in Phase}
    first = 3 * 2 * 10 * 64 * 112**2 * 3 * 7**2  # 10 images, 3 channels to 64, 112 x 112 places, a kernel of 7 x 7
    assert flops[Phase.RECOMPUTE] == flops[Phase.FORWARD] - first
    assert flops[Phase.BACKWARD] == 2 * flops[Phase.FORWARD] - first
