"""Attention kernels by library, direction, width of a head and type."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.general import form

TRAITS = "pytorch_flash::Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, cutlass::bfloat16_t, B<64> >"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (f"void pytorch_flash::flash_fwd_kernel<{TRAITS}, false, false, false, false, false, true, false>(P)", "flash attention forward d=64 bf16"),
        (f"void pytorch_flash::flash_fwd_kernel<{TRAITS}, false, true, false, false, true, true, false, false>(P)", "flash attention forward d=64 bf16 causal"),
        (f"void flash::flash_fwd_splitkv_kernel<{TRAITS}, true, false, false, false, true, false, true, false>(P)", "flash attention forward split-kv d=64 bf16 causal"),
        (f"void flash::flash_fwd_splitkv_combine_kernel<{TRAITS}, 8, 4, true>(P)", "flash attention forward combine d=64 bf16"),
        ("void flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<128, 64, 128, 8, cutlass::half_t>, false, true>(P)", "flash attention backward d=128 half causal"),
        ("void flash::flash_bwd_dot_do_o_kernel<true, Flash_bwd_kernel_traits<64, 128, 128, 8, cutlass::half_t> >(P)", "flash attention backward dot do o d=64 half"),
        ("void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90<2, cute::tuple<cute::C<1>, cute::C<1>, cute::C<1> >, cute::tuple<cute::C<128>, cute::C<176>, cute::C<128> >, 128, cutlass::bfloat16_t, float, true>, E, S> > >(P)", "flash attention 3 forward d=128 bf16"),
        ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::bfloat16_t>::Params)", "mem-efficient attention forward 64x128 bf16"),
        ("fmha_cutlassB_f16_aligned_64x64_k64_dropout_sm80(P)", "mem-efficient attention backward 64x64 half"),
        ("void attention_kernel_batched_impl<AttentionKernel<cutlass::half_t, cutlass::arch::Sm80, true, 64, 64, 64, true, true> >(P)", "mem-efficient attention forward 64x64 half"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_7_64x64x128_4x1x1_kernel0_0", "flash attention backward 64x64x128 (cudnn)"),
        ("fmhaSm100fKernel_QkvE4m3OBfloat16HQk576HV512HVPerCta256PagedKvDenseP64MultiCtasKvVarSeqQ8Kv128StaticSwapsAbForGen", "flash attention forward d=576/512 e4m3 paged generation (trtllm)"),
        ("fmha_v2_flash_attention_bf16_64_128_S_q_paged_kv_128_causal_sm90_kernel_tma_nl", "flash attention forward d=128 bf16 paged causal 64x128 (trtllm)"),
        ("fmha_v2_flash_attention_fp16_128_64_S_qkv_80_sm80_kernel_nl", "flash attention forward d=80 half 128x64 (trtllm)"),
        ("void vllm::paged_attention_v1_kernel<unsigned short, unsigned short, 128, 16, 128, (vllm::Fp8KVCacheDataType)0, false>(P)", "paged attention v1 d=128 uint16"),
        ("_fwd_kernel", "attention forward"),
        ("_bwd_kernel_dk_dv", "attention backward dk dv"),
    ],
)  # fmt: skip
def test_attention(name: str, short: str) -> None:
    assert form(name).text == short
