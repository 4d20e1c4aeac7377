"""Matmuls in fp32 outside the tensor cores."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.kernels.precision import unused_tensor_cores
from perfkit.schema.finding import Cost
from tests.analysis.findings.performance.cases import found, operators
from tests.builders import TraceBuilder

A100 = {"deviceProperties": [{"id": 0, "name": "NVIDIA A100-SXM4-40GB", "computeMajor": 8, "computeMinor": 0}]}
V100 = {"deviceProperties": [{"id": 0, "name": "Tesla V100-SXM2-32GB", "computeMajor": 7, "computeMinor": 0}]}


def step(kernel: str, metadata=A100) -> TraceBuilder:
    return TraceBuilder(metadata=metadata).step(0, 0, 1000).launched(kernel, 10, 100, 500)


@pytest.mark.parametrize(
    "kernel",
    [
        "ampere_sgemm_128x64_nn",
        "volta_sgemm_64x32_sliced1x4_tn",
        "sgemm_largek_lds64",
        "void cutlass::Kernel<cutlass_80_simt_sgemm_128x128_8x4_nn_align1>(Params)",
        "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize128x128x8_stage3_warpsize2x4x1_ffma_aligna4_alignc4_execute",
        "volta_scudnn_128x64_relu_interior_nn_v1",
        "void implicit_convolve_sgemm<float, float, 1024, 5, 5, 3, 3, 3, 1, false>(int)",
        "void cudnn::detail::dgrad_engine<float, 512, 6, 5, 3, 3, 3, false>(int, int, int)",
        "Cijk_Ailk_Bljk_SB_MT64x64x16_MI16x16x4x1_SE_1LDSB0",
    ],
)
def test_fp32_kernels(kernel):
    """GIVEN 400 of 1,000 ns THEN seven eighths of them are at stake"""
    finding = found(unused_tensor_cores, step(kernel))
    assert finding.cost == Cost(350, 0.35)
    assert "set_float32_matmul_precision" in finding.advice
    assert "--precision tf32" in finding.advice
    assert [dict(row.key) for row in finding.evidence] == [{"name": kernel}]


@pytest.mark.parametrize(
    "kernel",
    [
        "ampere_fp16_s16816gemm_fp16_128x64_ldg8_f2f_stages_64x3_nn",
        "ampere_bf16_s16816gemm_bf16_64x64_sliced1x2_ldg8_f2f_stages_64x5_tn",
        "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x16_stage4_warpsize2x2x1_tensor16x8x8_execute",
        "void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_128x128_16x5_nn_align4>(Params)",
        "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT",
        "volta_h884gemm_64x128_ldg8_nn",
        "Cijk_Ailk_Bljk_HHS_BH_MT128x128x32",
        "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>>(int)",
    ],
)
def test_kernels_of_tensor_cores_and_others(kernel):
    assert found(unused_tensor_cores, step(kernel)) is None


def test_a_device_without_tf32_is_told_of_16_bits():
    finding = found(unused_tensor_cores, step("volta_sgemm_128x64_nn", V100))
    assert "tf32" not in finding.advice.lower()
    assert "fp16" in finding.advice


def test_little_of_it_and_hosts_are_none():
    b = TraceBuilder().step(0, 0, 30_000).launched("ampere_sgemm_128x64_nn", 10, 100, 500)
    assert found(unused_tensor_cores, b) is None
    host = TraceBuilder().step(0, 0, 100)
    operators(host, ["mm"], 10, 80)
    assert found(unused_tensor_cores, host) is None


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("NVIDIA A100-SXM4-40GB", 19.5 / 156),
        ("NVIDIA H100 80GB HBM3", 66.9 / 494.7),
        ("NVIDIA GeForce RTX 4090", 1 / 2),  # TF32 as fast as fp32, bf16 twice
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 1 / 2),
        ("Tesla V100-SXM2-32GB", 15.7 / 125),  # fp16
        ("Some GPU", 1 / 8),
    ],
)
def test_what_is_left_follows_from_the_devices_peaks(name, left):
    """GIVEN 400 ns in fp32 THEN what is left of them is the ratio of the vendor's dense peaks"""
    metadata = {"deviceProperties": [{"id": 0, "name": name, "computeMajor": 8, "computeMinor": 0}]}
    finding = found(unused_tensor_cores, step("ampere_sgemm_128x64_nn", metadata))
    assert finding.cost.ns == pytest.approx(400 * (1 - left), rel=0.01)


@pytest.mark.parametrize(
    ("name", "major"),
    [
        ("NVIDIA GeForce GTX 1080 Ti", 6),
        ("Tesla P100-PCIE-16GB", 6),
        ("NVIDIA GeForce GTX 1660 Ti", 7),
        ("AMD Radeon VII", 9),
    ],
)
def test_a_device_without_tensor_cores_is_told_nothing(name, major):
    metadata = {"deviceProperties": [{"id": 0, "name": name, "computeMajor": major, "computeMinor": 0}]}
    assert found(unused_tensor_cores, step("maxwell_sgemm_128x64_nn", metadata)) is None


@pytest.mark.parametrize(
    ("name", "faster", "advice"),
    [
        ("AMD Instinct MI250X", "in 16 bits", "torch.autocast in bf16 or fp16"),
        ("AMD Instinct MI355X", "in 16 bits", "torch.autocast in bf16 or fp16"),
        ("AMD Instinct MI300X", "in TF32", "torch.set_float32_matmul_precision"),
    ],
)
def test_matrix_cores_of_amd_take_fp32(name, faster, advice):
    """GIVEN fp32 matmuls on AMD's matrix cores THEN they are not said to be outside of them"""
    metadata = {"deviceProperties": [{"id": 0, "name": name, "computeMajor": 9, "computeMinor": 4}]}
    finding = found(unused_tensor_cores, step("Cijk_Ailk_Bljk_SB_MT64x64x16_MI16x16x4x1_SE", metadata))
    assert finding.what.startswith(f"matmuls and convolutions in fp32 take 400.0 ns a step; {faster} they")
    assert finding.advice.startswith(advice)
