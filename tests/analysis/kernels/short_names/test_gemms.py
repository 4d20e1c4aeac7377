"""Matrix multiplications and convolutions by tile, type and layout."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.general import form


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_tn", "gemm 128x128x32 bf16 tn (cublas)"),  # the issue's
        ("ampere_fp16_s16816gemm_fp16_64x64_sliced1x2_ldg8_f2f_stages_64x5_nn", "gemm 64x64x64 half nn (cublas)"),
        ("volta_fp16_s884gemm_fp16_128x128_ldg8_f2f_tn", "gemm 128x128 half tn (cublas)"),
        ("turing_int8_i8816gemm_int8_128x128_ldg16_mix_tn", "gemm 128x128 int8 tn (cublas)"),
        ("ampere_sgemm_64x32_sliced1x4_tn", "gemm 64x32 float tn (cublas)"),
        ("volta_dgemm_64x64_nt", "gemm 64x64 double nt (cublas)"),
        ("sm80_xmma_gemm_bf16bf16_bf16f32_f32_nt_n_tilesize64x64x64_stage4_warpsize2x2x1_tensor16x8x16_kernel", "gemm 64x64x64 bf16 nt (cublas)"),
        ("sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32_warpgroupsize1x1x1_execute_segment_k_on_kernel__5x_cublas", "gemm 128x128x32 float tn (cublas)"),
        ("sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize96x64x32_stage5_warpsize2x2x1_tensor16x8x16_execute_split_k_kernel__51_cublas", "gemm 96x64x32 half tn split-k (cublas)"),
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT", "gemm 128x256x64 half tnt (cublas)"),
        ("nvjet_sm100_qqtst_256x128_128x6_2x1_2cta_h_bz_TNT", "gemm 256x128x128 e4m3 tnt (cublas)"),
        ("nvjet_tst_64x8_64x16_4x1_v_bz_splitK_TNT", "gemm 64x8x64 bf16 tnt split-k (cublas)"),
        ("cutlass_80_tensorop_s1688gemm_128x256_16x3_nt_align4", "gemm 128x256x16 tf32 nt (cutlass)"),
        ("cutlass_80_tensorop_d884gemm_64x64_16x4_nn_align1", "gemm 64x64x16 double nn (cutlass)"),
        ("cutlass3x_sm90_tensorop_s64x128x16gemm_bf16_bf16_f32_bf16_bf16_128x128x64_2x1x1_0_tnn_align8_warpspecialized_cooperative", "gemm 128x128x64 bf16 tnn (cutlass)"),
        ("Cijk_Ailk_Bljk_HHS_BH_MT128x64x32_MI16x16x16x1_SN_1LDSB0", "gemm 128x64x32 half nn (tensile)"),
        ("Cijk_Alik_Bjlk_SB_MT64x64x16_MI32x32x2_SN", "gemm 64x64x16 float tt (tensile)"),
        ("Cijk_Alik_Bljk_F8BS_BH_Bias_HA_S_SAV_UserArgs_MT256x256x128_MI16x16x1", "gemm 256x256x128 e4m3 tn (tensile)"),
        ("Custom_Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_shortname0_gfx942_MT256x256x64", "gemm 256x256x64 bf16 tn (tensile)"),
        ("bmm_E4m3_E4m3E4m3_Fp32_t128x16x128u2_s5_et128x16_m256x16x32_cga2x1x1_transOut_swiGlu_dynBatch", "bmm 128x16x128 e4m3 swiglu (trtllm)"),
        ("bmm_Bfloat16_MxE2m1MxE4m3_Fp32_t128x16x256u2_s3", "bmm 128x16x256 mxfp4 x mxfp8 (trtllm)"),
    ],
)  # fmt: skip
def test_gemms(name: str, short: str) -> None:
    assert form(name).text == short


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("sm80_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x32_stage4_warpsize2x2x1_g1_tensor16x8x16_execute_kernel__5x_cudnn", "conv forward 128x128x32 bf16 nhwc (cudnn)"),
        ("sm80_xmma_wgrad_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x64x32_stage3_execute_split_k_kernel__5x_cudnn", "conv backward weight 128x64x32 tf32 nhwc split-k (cudnn)"),
        ("turing_fp16_s1688cudnn_fp16_128x128_ldg8_relu_f2f_exp_small_nhwc_tn_v1", "conv forward 128x128 half tn (cudnn)"),
        ("volta_scudnn_128x64_stridedB_interior_nn_v1", "conv backward data 128x64 float nn (cudnn)"),
        ("volta_scudnn_winograd_128x128_ldg1_ldg4_relu_tile148t_nt_v1", "conv winograd 128x128 float nt (cudnn)"),
        ("igemm_wrw_gtcx3_nhwc_fp16_bx0_ex1_bt128x128x32_wt32x32x8_ws1x1_wr2x2", "conv backward weight 128x128x32 half nhwc (miopen)"),
    ],
)  # fmt: skip
def test_convolutions(name: str, short: str) -> None:
    assert form(name).text == short


def test_stages_and_alignment_are_details():
    """GIVEN a CUTLASS name THEN its stages come first of what tells it from its neighbours, then its alignment"""
    assert form("cutlass_80_tensorop_s1688gemm_128x128_16x4_nn_align1").details[:2] == ("4 stages", "align 1")
