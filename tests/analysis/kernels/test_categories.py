"""Categories of real kernel names, by library and age."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels import categories


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", categories.MATMUL),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute", categories.MATMUL),
        (
            "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2>(Params)",
            categories.MATMUL,
        ),
        ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_tn", categories.MATMUL),
        ("volta_sgemm_64x64_nt", categories.MATMUL),
        ("Cijk_Ailk_Bljk_HHS_BH_MT128x128x16_SE", categories.MATMUL),
        ("void gemv2T_kernel_val<int, int, float>(float)", categories.MATMUL),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64>>(Flash_fwd_params)", categories.ATTENTION),
        ("fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::Params)", categories.ATTENTION),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x64x128", categories.ATTENTION),
        ("void (anonymous namespace)::softmax_warp_forward<float, float, float, 9, false, false>", categories.SOFTMAX),
        (
            "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<float, float>",
            categories.NORMALISATION,
        ),
        ("void cudnn::bn_bw_1C11_kernel_new<float, float, float2, 512, true, 1>", categories.NORMALISATION),
        ("void at::native::elementwise_kernel<128, 4, at::native::BinaryFunctor<float> >", categories.ELEMENTWISE),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float> >", categories.MEMSET),
        ("triton_poi_fused_add_mul_0", categories.ELEMENTWISE),
        ("triton_red_fused_sum_3", categories.REDUCTION),
        ("triton_per_fused__softmax_2", categories.SOFTMAX),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float> >", categories.REDUCTION),
        ("void at::native::(anonymous namespace)::indexSelectLargeIndex<float>", categories.EMBEDDING),
        ("void at::native::(anonymous namespace)::CatArrayBatchedCopy<float>", categories.COPY),
        ("ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)", categories.COMMUNICATION),
        ("ncclDevKernel_Generic(ncclDevKernelArgsStorage<4096ul>)", categories.COMMUNICATION),
        ("void vllm::cross_device_reduce_1stage<float, 2>", categories.COMMUNICATION),
        ("rcclGenericKernel", categories.COMMUNICATION),
        ("two_shot_all_reduce_kernel", categories.COMMUNICATION),
        ("void cudnn::ops::nchwToNhwcKernel<float, float, float, false, true>", categories.COPY),
        ("void cask_cudnn::computeOffsetsKernel<false, false>(Params)", categories.CONVOLUTION),
        ("void cudnn::winograd_nonfused::winogradForwardFilter4x4", categories.CONVOLUTION),
        ("igemm_fwd_gtcx3_nhwc_fp16", categories.CONVOLUTION),
        ("MIOpenBatchNormFwdTrainSpatial", categories.NORMALISATION),
        ("void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernel<float>", categories.NORMALISATION),
        ("void transformer_engine::normalization::ln_fwd_kernel<Traits>", categories.NORMALISATION),
        ("void ck::kernel_gemm_xdl_cshuffle_v3<GridwiseGemm>", categories.MATMUL),
        ("void ck_tile::kentry<256, 1, ck_tile::FmhaFwdKernel>", categories.ATTENTION),
        ("attn_fwd.kd", categories.ATTENTION),
        ("void at::native::krn_partials_per_segment<long>", categories.EMBEDDING),
        ("void at::native::(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d<float>", categories.LOSS),
        ("multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata<4>, FusedAdamMathFunctor>", categories.OPTIMIZER),
        ("void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel", categories.RANDOM),
    ],
)
def test_kernels_by_name(name, category):
    assert categories.of_kernel(name) == category


@pytest.mark.parametrize(
    ("operator", "category"),
    [
        ("aten::mm", categories.MATMUL),
        ("aten::addmm", categories.MATMUL),
        ("aten::_flash_attention_backward", categories.ATTENTION),
        ("aten::_scaled_dot_product_efficient_attention", categories.ATTENTION),
        ("aten::_softmax_backward_data", categories.SOFTMAX),
        ("aten::nll_loss_backward", categories.LOSS),
        ("aten::native_layer_norm_backward", categories.NORMALISATION),
        ("aten::embedding_dense_backward", categories.EMBEDDING),
        ("aten::convolution_backward", categories.CONVOLUTION),
        ("aten::_to_copy", categories.COPY),
        ("aten::add_", categories.ELEMENTWISE),
        ("aten::silu_backward", categories.ELEMENTWISE),
        ("aten::mean", categories.REDUCTION),
        ("aten::_fused_adamw_", categories.OPTIMIZER),
        ("graph_0_cpp_fused_mean_mul_pow_rsqrt_3", categories.REDUCTION),
        ("graph_0_cpp_fused_add_silu_2", categories.ELEMENTWISE),
        ("triton_per_fused__softmax_1", categories.SOFTMAX),
        ("aten::view", None),
        ("autograd::engine::evaluate_function: MmBackward0", None),
    ],
)
def test_operators_by_name(operator, category):
    assert categories.of_operator(operator) == category


def test_every_pattern_has_a_source_and_a_category():
    for pattern in (*categories.OPERATORS, *categories.KERNELS):
        assert pattern.source
        assert pattern.category in categories.ALL


def test_the_operator_decides_before_the_name():
    """GIVEN a matmul kernel launched by a convolution WHEN categorised THEN it is a convolution"""
    assert categories.category("volta_sgemm_64x64_nt", "aten::cudnn_convolution", in_optimizer=False) == "convolution"
    assert categories.category("volta_sgemm_64x64_nt", None, in_optimizer=False) == "matmul"
    assert categories.category("elementwise_kernel", "aten::add_", in_optimizer=True) == "optimizer"
    assert categories.category("direct_copy_kernel", "aten::mm", in_optimizer=False) == "copy/cast"
    assert categories.category("mystery", "my::op", in_optimizer=False) == "other"
    assert not categories.is_known("mystery", "my::op")


@pytest.mark.parametrize(
    ("kernel", "operator", "category"),
    [
        ("ncclDevKernel_AllReduce", "aten::mm", "communication"),  # a collective is one, whoever asked for it
        ("direct_copy_kernel", "aten::convolution", "copy/cast"),
        ("FillFunctor", "aten::mm", "memset"),
        ("reduce_kernel", "aten::mm", "reduction"),
        ("elementwise_kernel", "aten::mm", "matmul"),
        ("direct_copy_kernel", "aten::add", "elementwise"),  # only matmuls and convolutions convert
        ("volta_sgemm_64x64_nt", "my::op", "matmul"),
        ("mystery", "aten::add", "elementwise"),
        ("mystery", None, "other"),
        ("max_pool_forward", None, "other"),
    ],
)
def test_operator_and_name_together(kernel, operator, category):
    assert categories.category(kernel, operator, in_optimizer=False) == category


@pytest.mark.parametrize(
    ("kernel", "operator", "known"),
    [
        ("volta_sgemm_64x64_nt", None, True), ("max_pool_forward", None, True), ("mystery", "aten::add", True),
        ("mystery", None, False), ("mystery", "my::op", False), ("volta_sgemm_64x64_nt", "my::op", True),
    ],
)  # fmt: skip
def test_known_is_what_either_table_places(kernel, operator, known):
    assert categories.is_known(kernel, operator) is known


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("ncclDevKernel_AllReduce", True), ("two_shot_all_reduce_kernel", True), ("NVSHMEM_barrier", True),
        ("my_nccl_like_kernel", False), ("reduce_kernel", False), ("volta_sgemm_64x64_nt", False),
    ],
)  # fmt: skip
def test_collectives(name, is_one):
    assert categories.is_communication(name) is is_one


@pytest.mark.parametrize("name", ["", "aten::", "_", "autograd::engine::evaluate_function: AddmmBackward0"])
def test_names_that_say_nothing(name):
    assert categories.of_operator(name) is None


@pytest.mark.parametrize(("length", "found"), [(8188, categories.MATMUL), (8189, None)])
def test_how_far_names_are_looked_at(length, found):
    """GIVEN a word that ends at the 8,192nd character, or one behind it"""
    assert categories.of_kernel("x" * length + "gemm") == found
    assert categories.is_communication("x" * (length - 3) + "nvshmem") is (found is not None)
