"""What no rule knows gets its words, its types and numbers, and its library; and no name is too strange."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.general import form
from tests.analysis.kernels.known_names import BY_NAME


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>(c10::BFloat16*)", "fused add rms norm (bf16, 8, vllm)"),
        ("void flashinfer::AppendPagedKVCacheKernel<128u, 8u, __half, int>(T)", "append paged kv cache (128, 8, half, int32, flashinfer)"),
        ("void transformer_engine::normalization::ln_fwd_kernel<Traits>(P)", "layer norm forward (te)"),
        ("void tensorrt_llm::kernels::weight_only::kernel<Details, 1, 4, 128, true>(half*)", "weight only (4, 128, trtllm)"),
        ("void deep_gemm::fp8_gemm_kernel<7168u, 2048u, 256u>(P)", "fp8 gemm (7168, 2048, 256, deepgemm)"),
        ("void kDequantizeBlockwise<__nv_bfloat16, 512, 64, 8, 2>(P)", "dequantize blockwise (bf16, 512, 64, 8)"),
        ("void my_lab::own::MySpecialKernel<float>(float*)", "my special (float, my lab)"),
        ("_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64ELi8ELb0EEEvPT0_PT_", "add rms norm quant (bf16, 64, 8, aiter)"),
        ("_ZN2ck16tensor_operation6device37kernel_batched_gemm_xdlops_bwd_weightINS_13GridwiseGemm_ILi64", "batched gemm xdlops backward weight"),
        ("moe::dev::finalize::finalizeKernel<KernelParams>(KernelParams)", "moe finalize (trtllm)"),
    ],
)  # fmt: skip
def test_in_words(name: str, short: str) -> None:
    assert form(name).text == short


@pytest.mark.parametrize(
    "name",
    [
        "",
        "_",
        "__",
        "kernel",
        "Kernel",
        "void",
        "()",
        "<>",
        "f<",
        "::",
        "_Z",
        "a<b<c",
        "核心",
        "<script>",
        "void kernel()",
        "Memcpy",
        "nccl",
        "{}",
        "cat d",
    ],
)
def test_no_name_is_without_a_form(name: str) -> None:
    assert form(name).text.strip()


def test_a_long_name_is_cut_and_takes_no_longer_than_a_long_name_takes():
    """GIVEN a name of 10 kB and one of 5,000 brackets THEN both have a form of at most 80 characters"""
    for name in (
        "a_" * 5000,
        "void f<" + "g<" * 5000 + "int" + ">" * 5000 + ">(int)",
        "_ZN" + "1a" * 5000 + "E",
        "(" * 5000,
    ):
        assert 0 < len(form(name).text) <= 80


def test_the_kernels_of_public_libraries_all_have_a_form():
    names = [name for known in BY_NAME.values() for name in known]
    assert all(0 < len(form(name).text) <= 80 for name in names)
