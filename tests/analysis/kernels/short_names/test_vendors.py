"""C++ kernels of cuBLAS, cuDNN, CUTLASS, CUB, rocPRIM and Composable Kernel."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.general import form

CUTE_TILE = "cute::tuple<cute::C<128>, cute::C<256>, cute::C<64> >"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, __nv_bfloat16, __nv_bfloat16, __nv_bfloat16, float, false>(P)", "gemvx bf16 (cublas)"),
        ("void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false>(P)", "gemv t float (cublas)"),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, __nv_bfloat16, true>(P)", "split-k reduce bf16 (cublas)"),
        ("void dot_kernel<float, 128, 0, cublasDotParams<cublasGemvTensor<float const>, cublasGemvTensorStridedBatched<float> > >(P)", "dot float (cublas)"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x128_32x5_tn_align8>(Params)", "gemm 128x128x32 bf16 tn (cutlass)"),
        (f"void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int, int, int, int>, cutlass::gemm::collective::CollectiveMma<cutlass::gemm::MainloopSm90TmaGmmaWarpSpecialized<4, cute::tuple<cute::C<2>, cute::C<1>, cute::C<1> >, cutlass::gemm::KernelTmaWarpSpecializedPingpong>, {CUTE_TILE}, cutlass::bfloat16_t, cute::tuple<long>, cutlass::bfloat16_t, cute::tuple<long> >, E> >(P)", "gemm 128x256x64 bf16 (cutlass)"),
        ("void cutlass_cudnn_train::Kernel<cutlass_tensorop_s1688wgrad_optimized_tf32_256x64_16x4_nhwc_align4>(P)", "conv backward weight 256x64x16 tf32 nhwc (cudnn)"),
        ("void cudnn::bn_fw_tr_1C11_kernel_NCHW<__half, float, 512, true, 1, true>(P)", "batch norm forward, training (half, 512, cudnn)"),
        ("void cudnn::cnn::wgrad2d_grouped_direct_kernel<float, float, float, int, float, 128, 1>(P)", "conv backward weight 2d float (cudnn)"),
        ("void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16, __nv_bfloat16, float, false, true, (cudnnKernelDataType_t)0>(P)", "nchw to nhwc bf16 (cudnn)"),
        ("void cub::CUB_200700_NS::DeviceSegmentedReduceKernel<cub::DeviceReducePolicy<float>::Policy600, float*, float*, int*, int*, int, cub::Max, float, float>(P)", "segmented reduce (float, max, cub)"),
        ("void at_cuda_detail::cub::DeviceRadixSortOnesweepKernel<at_cuda_detail::cub::DeviceRadixSortPolicy<float, long, int>::Policy900, false, float, long, int, int>(P)", "radix sort onesweep (float, int64, cub)"),
        ("void rocprim::detail::trampoline_kernel<rocprim::detail::wrapped_radix_sort_onesweep_config<rocprim::default_config, float, long>, (rocprim::detail::target_arch)942>(P)", "radix sort onesweep (float, int64, rocprim)"),
        ("void thrust::cuda_cub::core::_kernel_agent<thrust::cuda_cub::__parallel_for::ParallelForAgent<F, long>, F, long>(F, long)", "parallel for (thrust)"),
        ("void ck::kernel_gemm_xdl_cshuffle_v3<ck::Gridwise<ck::tensor_layout::gemm::RowMajor, ck::bhalf_t, ck::bhalf_t, float, 256, 128, 128, 64, 8, 8>, true>(P)", "gemm 128x128x64 bf16 (ck)"),
        ("void ck_tile::kentry<256, 1, ck_tile::FmhaFwdKernel<ck_tile::Pipe<unsigned short, float> > >(P)", "flash attention forward bf16 (ck tile)"),
        ("void ck::kernel_moe_gemm<ck::GridwiseMoeGemm<ck::tensor_layout::gemm::RowMajor, ck::tensor_layout::gemm::ColumnMajor, unsigned short, unsigned short, float, ck::tensor_operation::element_wise::PassThrough, (ck::tensor_operation::device::GemmSpecialization)0, 256, 64, 128, 64, 8, 8, 16, 16> >(P)", "moe gemm 64x128x64 bf16 (ck)"),
        ("void ck_tile::kentry<256, 1, ck_tile::FmhaFwdKernel<ck_tile::BlockFmhaPipelineQRKSVSAsync<_Float16> >, K>(K)", "flash attention forward half (ck tile)"),
    ],
)  # fmt: skip
def test_vendors(name: str, short: str) -> None:
    assert form(name).text == short
