"""MFU and HFU: of hand-built steps, and of real ones against a plain sum."""

from __future__ import annotations

import gzip
import json
from math import prod
from pathlib import Path
from typing import Any

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.costs.hardware.measured import default_path
from perfkit.analysis.costs.roofline.utilisation import pace_ns, scalars, times_of_steps
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.partial import merge
from perfkit.schema import ceilings
from perfkit.trace.load import load
from perfkit.trace.recording import Cpu, OwnNotes
from tests.analysis.costs.roofline.devices import SQUARE, account_of, one_step, save_peaks, traced
from tests.builders import TraceBuilder, saying
from tests.corpus import corpus_file
from tests.measured_peaks import a_cpu

UNKNOWN = {"mfu": None, "hfu": None}


@pytest.fixture(autouse=True)
def _peaks(monkeypatch, tmp_path):
    save_peaks(monkeypatch, tmp_path)


def of(b: TraceBuilder, selection: Selection | None = None) -> dict[str, Any]:
    return scalars(account_of(b, selection).partial)


def test_utilisation_of_a_step():
    """GIVEN 2,000,000 operations in a step of 20,000 ns on a device that does 1,000 a ns THEN 10%; additions and
    products of vectors count for nothing"""
    assert of(one_step()) == pytest.approx({"mfu": 0.1, "hfu": 0.1})
    assert report(one_step().build()).summary["mfu"] == pytest.approx(0.1)


def test_recomputation_is_in_hfu_alone():
    """GIVEN the same matmul in forward, again in a backward node (checkpointing), and twice in backward THEN model
    FLOPs are three of the four"""
    b = traced().step(0, 0, 20_000).module("net", 0, 900).call("aten::mm", 5, 20, SQUARE, sequence=1)
    b.launched("gemm", 10, 100, 3_300)
    b.node("CheckpointFunctionBackward", 1_000, 1_500, 2)
    b.module("net", 1_010, 1_100).call("aten::mm", 1_020, 1_090, SQUARE).launched("gemm", 1_030, 4_000, 7_000)
    b.node("MmBackward0", 1_600, 1_900, 1)
    for number in range(2):
        at, start = 1_610 + 100 * number, 8_000 + 4_000 * number
        b.call("aten::mm", at, at + 50, SQUARE).launched("gemm", at + 10, start, start + 3_000)
    assert (account_of(b).phase == Phase.RECOMPUTE).any()
    assert of(b) == pytest.approx({"mfu": 0.3, "hfu": 0.4})


def test_the_scores_that_fused_attention_computes_again_are_recomputation():
    """GIVEN the backward of flash attention, five matmuls of 400,000 operations each THEN four are the model's"""
    q, b = [1, 2, 100, 10], traced().step(0, 0, 20_000)
    b.call("aten::_scaled_dot_product_flash_attention_backward", 5, 20, [q, q, q, q, q, [1, 2, 100]], "c10::BFloat16")
    b.launched("flash_bwd", 10, 100, 3_300)
    assert of(b) == pytest.approx({"mfu": 4 * 4e5 / 1e4 / 20_000, "hfu": 5 * 4e5 / 1e4 / 20_000})


def test_each_precision_counts_at_its_own_peak():
    """GIVEN a matmul in fp32 and one in bf16 THEN 2,000 ns and 200 ns of 20,000"""
    b = one_step().call("aten::mm", 61, 80, SQUARE, "c10::BFloat16").launched("gemm", 70, 5_000, 5_700)
    assert of(b) == pytest.approx({"mfu": 0.11, "hfu": 0.11})


def test_a_device_behind_the_host_sets_the_pace():
    """GIVEN two steps of 1,000 ns that launch 3,200 ns of work each, the first after 100 ns THEN they are done after
    6,500 ns, 3,250 a step as the first line says it, and 4,000 ns at the peak are 61.5% of that"""
    b = traced()
    for step in range(2):
        at = 1_000 * step
        b.step(step, at, at + 1_000).call("aten::mm", at + 5, at + 20, SQUARE)
        b.launched("gemm", at + 10, 100 + 3_200 * step, 3_300 + 3_200 * step)
    partial = account_of(b).partial
    assert pace_ns(partial) == 6_500
    assert of(b)["mfu"] == pytest.approx(4_000 / 6_500)
    assert times_of_steps(partial)["pace_ns"].tolist() == [3_300, 3_200]
    assert report(b.build()).summary["step_ns"] == 3_250


def test_without_steps_it_is_of_the_devices_span():
    b = traced().call("aten::mm", 5, 20, SQUARE).launched("gemm", 10, 100, 3_300)
    assert of(b.launched("last", 30, 8_000, 8_100))["mfu"] == pytest.approx(2_000 / 8_000)


def test_two_devices_have_twice_the_peak():
    b = traced(devices=2).step(0, 0, 20_000)
    for device in range(2):
        at = 100 * device
        b.call("aten::mm", at + 5, at + 20, SQUARE).launched("gemm", at + 10, 200, 3_400, device=device)
    assert of(b)["mfu"] == pytest.approx(0.1)


def test_devices_of_other_peaks_have_no_common_one():
    """GIVEN an A100 that works, and a V100 beside it WHEN asked THEN no number: neither has the other's peak"""
    properties = [{"id": 0, "name": "NVIDIA A100-SXM4-40GB"}, {"id": 1, "name": "Tesla V100-SXM2-32GB"}]
    b = TraceBuilder(metadata={"deviceProperties": properties}).step(0, 0, 20_000)
    b.call("aten::mm", 5, 20, SQUARE).launched("gemm", 10, 200, 3_400)
    assert of(b)["mfu"] is not None
    assert of(b.launched("k", 30, 300, 400, device=1)) == UNKNOWN


def test_ranks_that_are_merged_have_their_own_steps():
    """GIVEN the same recording of two ranks THEN the utilisation of one"""
    partial = account_of(one_step()).partial
    assert scalars(merge([partial, partial])) == pytest.approx(scalars(partial))


@pytest.mark.parametrize(
    "b",
    [
        one_step("a card of tomorrow"),
        one_step().call("aten::mm", 61, 80, SQUARE, "double").launched("dgemm", 70, 5_000, 5_700),  # no fp64 peak
        one_step().range("aten::mm", 61, 80).launched("gemm", 70, 5_000, 5_700),  # no shapes: not counted
        traced().step(0, 0, 100).call("aten::add", 5, 20, [[9], [9]]).launched("add", 10, 100, 110),
        TraceBuilder().step(0, 0, 100).range("aten::mm", 5, 40),
    ],
    ids=["device", "precision", "uncounted matmuls", "no matmul", "no shapes"],
)
def test_no_number_is_a_guess(b: TraceBuilder):
    """GIVEN a device, a precision or much work that is not known WHEN asked THEN no number"""
    assert of(b) == UNKNOWN


def test_a_single_phase_has_no_utilisation():
    assert of(one_step(), Selection(phase=Phase.FORWARD)) == UNKNOWN


def test_a_cpu_has_the_peaks_that_were_measured_with_its_threads():
    """GIVEN a host-only trace that says its CPU and threads, and peaks measured with as many THEN 2,000,000 operations
    at 200 GFLOP/s are 10 us of a step of 100; with other threads nothing is known"""
    ceilings.save(a_cpu(), default_path("AMD EPYC", 2))
    trace = TraceBuilder().step(0, 0, 100_000).call("aten::mm", 5, 40_000, SQUARE).build()
    for threads, expected in ((2, 0.1), (4, None)):
        said = saying(trace, own=OwnNotes(cpu=Cpu("AMD EPYC", threads)))
        found = scalars(account_for(said, attribute(said)).partial)["mfu"]
        assert found == (None if expected is None else pytest.approx(expected))


def test_a_clock_that_was_measured_scales_the_peak():
    """GIVEN an H100, whose tensor cores have 1,830 MHz THEN at half the clock, twice the utilisation"""
    partial = account_of(
        traced("NVIDIA H100 80GB HBM3")
        .step(0, 0, 20_000)
        .call("aten::mm", 5, 20, SQUARE, "c10::BFloat16")
        .launched("gemm", 10, 100, 900)
    ).partial
    assert scalars(partial, 915.0)["mfu"] == pytest.approx(2 * scalars(partial, 1_830.0)["mfu"], rel=1e-3)


# --- real traces ------------------------------------------------------------------------------------------------------


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "peak", "milliseconds", "percent"),
    [
        ("h100_qwen_0.5b_inference", 989.4e12, 47.151395, 12.87),  # 6.006 TFLOP in its ProfilerStep
        (
            "h100_bert_small_inference",
            989.4e12,
            4.426114,
            0.187,
        ),  # 8.192 GFLOP: the host is too slow for so small a one
        ("mi300_compiled_triton", 1307.4e12, 12.549032, 33.5),  # 5.498 TFLOP, no step: from the first event to the last
    ],
)
def test_utilisation_of_real_traces_is_a_plain_sum(name: str, peak: float, milliseconds: float, percent: float):
    """GIVEN matmuls and attention in bf16 WHEN their operations are added up from the file's text, over the dense peak
    of the datasheet and the time in the file THEN that is the utilisation"""
    file = corpus_file(f"kineto/{name}.json.gz")
    expected = plain_sum(file) / peak / (milliseconds * 1e-3)
    assert expected * 100 == pytest.approx(percent, rel=3e-3)
    assert of_trace(load(file)) == pytest.approx({"mfu": expected, "hfu": expected}, rel=1e-3)


def plain_sum(file: Path) -> int:
    """2 m k n of each matmul, and 4 tokens^2 x width of each head of fused attention, in full."""
    flops = 0
    for event in json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]:
        sizes = event.get("args", {}).get("Input Dims", [])
        match event["name"]:
            case "aten::mm" | "aten::bmm":
                flops += 2 * prod(sizes[0]) * sizes[1][-1]
            case "aten::addmm":
                flops += 2 * prod(sizes[1]) * sizes[2][-1]
            case "aten::_flash_attention_forward":
                batch, tokens, heads, width = sizes[0]
                flops += 4 * batch * heads * tokens * sizes[1][1] * width
    return flops


@pytest.mark.corpus
def test_utilisation_of_a_checkpointed_resnet():
    """GIVEN three steps of ResNet-18, 10 images of 224 x 224, whose blocks run again for backward THEN, with the
    published 1.814 GMAC of an image, forward has 36.28 GFLOP, backward twice that without the gradient of the images
    (the first convolution's 2.36), recomputation forward without that convolution; over three steps as the first line
    says them, of a device that is busy with them for 56.23 ms"""
    forward, first = 20 * 1.814e9, 2.36e9
    trace = load(corpus_file("kineto/mi300_resnet_checkpoint_training.json.gz"))
    account = account_for(trace, attribute(trace))
    time = pace_ns(account.partial) * 1e-9
    assert time == pytest.approx(3 * report(trace).summary["step_ns"] * 1e-9)
    assert time == pytest.approx(account.exclusive[account.step != -1].sum() * 1e-9, rel=2e-3)
    model, again = 3 * (3 * forward - first), 3 * (forward - first)
    expected = {"mfu": model / 1307.4e12 / time, "hfu": (model + again) / 1307.4e12 / time}
    assert of_trace(trace) == pytest.approx(expected, rel=3e-3)


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name", ["a100_ddp_training", "v100_training", "resnet50_torch18_workers0", "cpu_rank_non_gpu"]
)
def test_real_traces_whose_utilisation_is_not_known(name: str):
    """Without shapes; without; 31% of the time of convolutions is not counted; a CPU that the file does not name."""
    assert of_trace(load(corpus_file(f"kineto/{name}.json.gz"))) == UNKNOWN


def of_trace(trace: Any) -> dict[str, Any]:
    return scalars(account_for(trace, attribute(trace)).partial)
