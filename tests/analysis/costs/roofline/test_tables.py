"""Tables of roofs: by operator and kernel, by layer and phase, by step."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.costs.roofline import tables
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.trace_table import View
from perfkit.trace.load import load
from tests.analysis.columns import assert_regular
from tests.analysis.costs.roofline.devices import SQUARE, account_of, one_step, save_peaks, traced
from tests.builders import TraceBuilder
from tests.corpus import corpus_file

ROOFS = ("bound", "efficiency", "above_ns")


@pytest.fixture(autouse=True)
def _peaks(monkeypatch, tmp_path):
    save_peaks(monkeypatch, tmp_path)


def rows(frame: pd.DataFrame, *columns: str) -> list[list[object]]:
    return [[None if pd.isna(value) else value for value in row] for row in frame[list(columns)].to_numpy().tolist()]


def test_the_roofline_of_each_operator():
    """GIVEN a matmul of 3,200 ns (roof 2,000), an addition of 800 (600), 40 bytes in 100 ns, and an unknown operator"""
    found = tables.operator_table(account_of(one_step()).partial, View())
    assert_regular(found)
    assert rows(found.frame, "operator", "kernel", "shapes", "precision", "total_ns", *ROOFS) == [
        ["aten::mm", "gemm", "100x100, 100x100", "fp32", 3_200, "compute", 0.625, 1_200],
        ["aten::add", "add", "5000, 5000", "fp32", 800, "memory", 0.75, 200],
        ["aten::mul", "mul", "10, 10", "fp32", 100, "launch", pytest.approx(0.012), pytest.approx(98.8)],
        ["mylib::op", "odd", "", None, 50, None, None, None],
    ]
    mm = found.frame.iloc[0]
    assert (mm["flops_per_s"], mm["bytes_per_s"]) == (pytest.approx(625e9), pytest.approx(37.5e9))
    assert (mm["flops_per_byte"], mm["above_step_ns"]) == (pytest.approx(2_000_000 / 120_000), 1_200)
    assert found.notes[-1] == "peaks of Round GPU: fp32 1.000 TFLOP/s, 100.0 GB/s"


def test_kernels_have_short_names_for_people():
    full = (
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, at::detail::Array>(int)"
    )
    b = traced().step(0, 0, 300).call("aten::add", 5, 20, [[10], [10]]).launched(full, 10, 100, 200)
    table = tables.operator_table(account_of(b).partial, View())
    assert rows(table.frame, "kernel", "short_kernel") == [[full, "add · float · vectorized x4"]]
    shown = [column.name for column in table.seen_by("people").columns]
    assert ("short_kernel" in shown, "kernel" in shown) == (True, False)


def test_a_kernel_that_the_device_waits_for_longer_than_it_runs_is_bound_by_its_launch():
    """GIVEN two matmuls of 3,200 ns, the second launched 5,000 ns after the first ended THEN the launch bounds them,
    unless the wait is 1,000"""
    for wait, expected in ((5_000, "compute"), (7_000, "launch")):
        b = traced().step(0, 0, 30_000).call("aten::mm", 5, 20, SQUARE).launched("gemm", 10, 100, 3_300)
        b.call("aten::mm", 3_200 + wait, 3_400 + wait, SQUARE)
        b.launched("gemm", 3_290 + wait, 3_300 + wait, 6_500 + wait)
        found = tables.operator_table(account_of(b).partial, View()).frame
        assert rows(found, "count", "bound") == [[2, expected]]


def test_the_roofline_of_layers_and_phases():
    """GIVEN the same in a module THEN 4,100 ns whose roofs are 2,601.2, mostly compute"""
    found = tables.layer_table(account_of(one_step()).partial, View())
    assert_regular(found)
    assert rows(found.frame, "scope", "phase", "total_ns", *ROOFS) == [
        ["net", "forward", 4_100, "compute", pytest.approx(2_601.2 / 4_100), pytest.approx(4_100 - 2_601.2)],
        ["<unattributed>", "other", 50, None, None, None],
    ]


def test_the_roofline_of_steps():
    """GIVEN a step of 20 us THEN rates, efficiency and time above the roof are of it: 2,601.2 ns would do"""
    found = tables.step_table(account_of(one_step()).partial, View())
    columns = ("step", "device", "pace_ns", "total_ns", "roof_ns", "efficiency", "mfu", "hfu")
    assert rows(found.frame, *columns) == [
        [0, "0", 20_000, 4_150, 2_601.2, pytest.approx(0.13006), pytest.approx(0.1), pytest.approx(0.1)]
    ]
    assert found.frame["flops_per_s"][0] == pytest.approx(2_005_010 / 20_000 * 1e9)


def test_a_step_in_which_the_device_waits_for_launches_is_bound_by_them():
    b = one_step().call("aten::mm", 12_000, 12_100, SQUARE).launched("gemm", 12_050, 12_100, 15_300)
    assert tables.step_table(account_of(b).partial, View()).frame["bound"].tolist() == ["launch"]


def test_without_steps_there_is_a_row_for_the_device():
    b = traced().call("aten::mm", 5, 20, SQUARE).launched("gemm", 10, 100, 3_300)
    partial = account_of(b).partial
    found = tables.step_table(partial, View()).frame
    assert rows(found, "step", "device", "pace_ns", "mfu") == [[None, "0", 3_200, pytest.approx(0.625)]]
    assert "above_step_ns" not in [column.name for column in tables.operator_table(partial, View()).columns]


def test_a_device_that_is_not_known_has_rates_and_no_roof():
    found = tables.operator_table(account_of(one_step("a card of tomorrow")).partial, View())
    assert rows(found.frame, *ROOFS)[0] == [None, None, None]
    assert found.frame["flops_per_s"][0] == pytest.approx(625e9)
    assert "no roofs" in found.notes[-1]


def test_a_host_has_times_of_its_own():
    """GIVEN a trace without a device THEN its operators, without kernels, and no peaks that are not measured"""
    b = TraceBuilder().step(0, 0, 100_000).call("aten::mm", 5, 40_000, SQUARE)
    found = tables.operator_table(account_of(b).partial, View())
    assert "kernel" not in [column.name for column in found.columns]
    assert rows(found.frame, "operator", "total_ns", "bound") == [
        ["aten::mm", 39_995, None],
        ["<no operator>", 60_005, None],
    ]
    assert tables.step_table(account_of(b).partial, View()).frame["device"].tolist() == [None]


def test_a_phase_has_its_own_roofs_and_no_utilisation():
    partial = account_of(one_step(), Selection(phase=Phase.FORWARD)).partial
    assert tables.operator_table(partial, View()).frame["total_ns"].sum() == 4_100
    assert rows(tables.step_table(partial, View()).frame, "mfu", "hfu") == [[None, None]]


def test_the_tables_are_there_where_shapes_are():
    names = {"roofline", "roofline_layers", "roofline_steps", "attention"}
    assert names <= set(report(one_step().build()).names)
    assert not names & set(report(TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 40).build()).names)


@pytest.mark.corpus
def test_a_matmul_of_a_real_trace_is_at_62_percent_of_its_peak():
    """GIVEN Qwen1.5 0.5B on an H100 THEN 8944 x 2816 x 1024 runs at 610 TFLOP/s, 62% of the dense 989 in bf16, as the
    issue has it; flash attention at 90 TFLOP/s is bound by memory: 140 operations a byte, where the ridge is at 295"""
    trace = load(corpus_file("kineto/h100_qwen_0.5b_inference.json.gz"))
    partial = account_for(trace, attribute(trace)).partial
    found = tables.operator_table(partial, View()).frame
    mm = found[(found["operator"] == "aten::mm") & (found["shapes"] == "8944x1024, 1024x2816")].iloc[0]
    flash = found[found["operator"] == "aten::_flash_attention_forward"].iloc[0]
    assert (mm["precision"], mm["bound"], flash["bound"]) == ("bf16", "compute", "memory")
    assert mm["flops_per_s"] == pytest.approx(610e12, rel=0.01)
    assert mm["efficiency"] == pytest.approx(0.62, abs=0.005)
    for made in (tables.operator_table(partial, View()), tables.layer_table(partial, View())):
        assert made.frame["total_ns"].sum() == (trace.device.end - trace.device.start).sum()
