"""Roofs of hand-built calls on a device with round peaks."""

from __future__ import annotations

import pandas as pd
import pytest

from perfkit.analysis.costs.flops import precision
from perfkit.analysis.costs.hardware.model import Hardware, Peak
from perfkit.analysis.costs.roofline.roofs import Bound, devices_of, rate, roofed
from perfkit.analysis.time.partial import Partial
from perfkit.schema.ceilings import Precision
from tests.analysis.costs.roofline.devices import SQUARE, account_of, one_step, save_peaks, traced
from tests.builders import TraceBuilder


@pytest.fixture(autouse=True)
def _peaks(monkeypatch, tmp_path):
    save_peaks(monkeypatch, tmp_path)


def roofs(b: TraceBuilder) -> dict[str, pd.Series]:
    """By operator."""
    partial: Partial = account_of(b).partial
    frame = roofed(partial, devices_of(partial.facts))
    return {partial.facts.names[row["name"]]: row for _, row in frame.iterrows()}


def test_the_roof_is_the_longer_of_peak_and_bandwidth():
    """GIVEN a matmul of 2,000 ns at the peak and 1,200 at the bandwidth, an addition of 60,000 bytes, two vectors of 40
    bytes THEN compute, memory and launch bound them: the last takes 100 ns where memory would take 1.2"""
    found = roofs(one_step())
    assert [(found[f"aten::{name}"]["roof_ps"], found[f"aten::{name}"]["bound"]) for name in ("mm", "add", "mul")] == [
        (2_000_000, Bound.COMPUTE),
        (600_000, Bound.MEMORY),
        (1_200, Bound.LAUNCH),
    ]
    assert (found["mylib::op"]["bound"], found["mylib::op"]["roofed_ns"]) == (-1, 0)


def test_each_precision_has_its_own_peak_and_arithmetic_that_of_fp32():
    """GIVEN a matmul and an addition in bf16 THEN 2,000,000 operations take 200 ns at 10,000 a ns, but 60,000 bytes
    600: memory; an addition of 5,000 counts at the fp32 units"""
    b = traced().call("aten::mm", 5, 20, SQUARE, "c10::BFloat16").launched("gemm", 10, 100, 1_100)
    found = roofs(b.call("aten::add", 21, 40, [[5_000], [5_000]], "c10::BFloat16").launched("add", 30, 2_000, 2_400))
    assert (found["aten::mm"]["roof_ps"], found["aten::mm"]["bound"]) == (600_000, Bound.MEMORY)
    assert (found["aten::add"]["roof_ps"], found["aten::add"]["bound"]) == (300_000, Bound.MEMORY)


@pytest.mark.parametrize(
    ("kernel", "ns", "expected"),
    [
        ("gemm", 1_800, "tf32"),  # 1,111 FLOPs a ns: more than 1,050
        ("gemm", 1_950, "fp32"),  # 1,026: a higher clock
        ("gemm", 400, "fp32"),  # 5,000: more than TF32 has
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_tn", 4_000, "tf32"),
        ("cutlass_80_tensorop_s1688gemm_128x64_16x6_nn_align4", 4_000, "tf32"),
    ],
)
def test_fp32_above_its_peak_is_tf32(kernel: str, ns: int, expected: str):
    """GIVEN a matmul of fp32 tensors whose kernel says tf32, or that is faster than 1,000 FLOPs a ns THEN tf32"""
    found = roofs(traced().call("aten::mm", 5, 20, SQUARE).launched(kernel, 10, 100, 100 + ns))["aten::mm"]
    assert precision.ALL[found["precision"]] == expected


def test_a_name_is_looked_at_once_however_many_tables_ask():
    """GIVEN kernels of matmuls WHEN several tables ask for their precision THEN each name is searched once"""
    precision.of_kernel.cache_clear()
    b = traced().call("aten::mm", 5, 20, SQUARE).launched("some_gemm", 10, 100, 200)
    for _ in range(3):
        roofs(b)
    assert precision.of_kernel.cache_info().misses == 1


def test_peaks_are_looked_up_once_whatever_the_number_of_shapes(monkeypatch):
    """GIVEN matmuls of 2 and of 20 different shapes THEN the device is asked for its peaks as often: a trace with
    50,000 shapes takes no group of a frame for each"""
    asked: list[str] = []
    peak = Hardware.peak

    def told(self: Hardware, name: Precision) -> Peak | None:
        asked.append(name)
        return peak(self, name)

    monkeypatch.setattr(Hardware, "peak", told)
    counts = []
    for shapes in (2, 20):
        b = traced()
        for at in range(shapes):
            b.call("aten::mm", 100 * at + 5, 100 * at + 20, [[10 + at, 10], [10, 10]])
            b.launched(f"gemm_{at}", 100 * at + 10, 100 * at + 30, 100 * at + 40)
        partial = account_of(b).partial
        asked.clear()
        roofed(partial, devices_of(partial.facts))
        counts.append(len(asked))
    assert counts[0] == counts[1] > 0


def test_nothing_is_known_of_an_unknown_device():
    found = roofs(one_step("a card of tomorrow"))
    assert {row["bound"] for row in found.values()} == {-1}
    assert not devices_of(account_of(one_step("a card of tomorrow")).partial.facts).is_known


def test_a_device_of_another_number_is_the_only_kind_there_is():
    """GIVEN a file that describes device 0 and has the events of device 3, as HIP has them THEN its peaks"""
    b = traced().call("aten::mm", 5, 20, SQUARE).launched("gemm", 10, 100, 3_300, device=3)
    assert roofs(b)["aten::mm"]["roof_ps"] == 2_000_000


def test_the_mask_of_attention_is_no_work_done():
    """GIVEN causal flash attention of 4 heads, 100 tokens, width 10: 1,600,000 operations in full, of which the mask
    hides 4,950 of 10,000 pairs THEN rate and roof are of 808,000: bf16 80.8 ns, but its 32,000 bytes take 320"""
    q = [1, 4, 100, 10]
    values = ["", "", "", "0.0", "True", "False", ""]
    b = traced().call(
        "aten::_scaled_dot_product_flash_attention", 5, 20, [q, q, q, [], [], [], []], "c10::BFloat16", values
    )
    found = roofs(b.launched("flash", 10, 100, 500))["aten::_scaled_dot_product_flash_attention"]
    assert (found["flops"], found["masked_flops"], found["roof_ps"]) == (1_600_000, 792_000, 320_000)
    assert rate(pd.DataFrame([found])) == pytest.approx(808_000 / 400 * 1e9)
