"""PyTorch's kernels: what is done, to elements of which type, how. Names as GNU's demangler writes them."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.general import form

NATIVE = "void at::native::"


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (  # the issue's
            f"{NATIVE}vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>, std::array<char*, 3ul> >(int)",
            "add · bf16 · vectorized x4",
        ),
        (
            f"{NATIVE}vectorized_elementwise_kernel<4, at::native::(anonymous namespace)::where_kernel_impl(at::TensorIterator&)"
            "::{lambda()#1}::operator()() const::{lambda()#7}::operator()() const::{lambda(bool, float, float)#1}, A<4> >(int)",
            "where · float · vectorized x4",
        ),
        (
            f"{NATIVE}vectorized_elementwise_kernel<8, at::native::sigmoid_backward_kernel_cuda(at::TensorIteratorBase&)"
            "::{lambda()#2}::operator()() const::{lambda(c10::BFloat16, c10::BFloat16)#1}, std::array<char*, 3ul> >(int)",
            "sigmoid backward · bf16 · vectorized x8",
        ),
        (
            f"{NATIVE}vectorized_elementwise_kernel<4, at::native::BUnaryFunctor<float, float, bool,"
            " at::native::(anonymous namespace)::CompareEqFunctor<float> >, std::array<char*, 2ul> >(int)",
            "equal scalar · float · vectorized x4",
        ),
        (
            f"{NATIVE}unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)"
            "::{lambda()#3}::operator()() const::{lambda(c10::BFloat16)#1}, std::array<char*, 2ul>, 4, O<1>, O<1>,"
            " at::native::memory::LoadWithCast<1>, at::native::memory::StoreWithCast<1> >(int)",
            "copy to bf16 · unrolled cast",
        ),
        (
            f"{NATIVE}elementwise_kernel<128, 4, at::native::gpu_kernel_impl_nocast<at::native::BinaryFunctor<c10::Half,"
            " c10::Half, c10::Half, at::native::binary_internal::MulFunctor<float> > >(T&)::{lambda(int)#1}>(int)",
            "mul · half · strided x4",
        ),
        (
            f"{NATIVE}elementwise_kernel<128, 2, at::native::gpu_kernel_impl_nocast<at::native::<unnamed>::masked_fill_kernel("
            "at::TensorIterator &)::[lambda() (instance 1)]::operator ()() const::[lambda(float, bool) (instance 1)]>>(int, T3)",
            "masked fill · float · strided x2",
        ),
        (
            f"{NATIVE}vectorized_elementwise_kernel<4, at::native::float16_copy_kernel_cuda(at::TensorIteratorBase&)"
            "::{lambda(float)#1}, std::array<char*, 2ul> >(int)",
            "copy to half from float · vectorized x4",
        ),
    ],
)
def test_elementwise(name: str, short: str) -> None:
    assert form(name).text == short


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (f"{NATIVE}reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float, float, float, float>, unsigned int, float, 4, 4> >(R)", "reduce mean · float"),
        (f"{NATIVE}reduce_kernel<512, 1, at::native::ReduceOp<c10::BFloat16, at::native::func_wrapper_t<c10::BFloat16, at::native::sum_functor<c10::BFloat16, float, c10::BFloat16>::operator()(at::TensorIterator&)::{{lambda(float, float)#1}}>, unsigned int, c10::BFloat16, 4> >(R)", "reduce sum · bf16"),
        (f"{NATIVE}reduce_kernel<128, 4, at::native::ReduceOp<float, at::native::WelfordOps<float, float, int, thrust::pair<float, float> >, unsigned int, float, 2> >(R)", "reduce variance · float"),
        (f"{NATIVE}reduce_kernel<512, 1, at::native::ReduceOp<bool, at::native::func_wrapper_t<bool, at::native::or_kernel_cuda(at::TensorIterator&)::{{lambda()#1}}::operator()() const::{{lambda(bool, bool)#1}}>, unsigned int, bool, 4> >(R)", "reduce any · bool"),
        ("void (anonymous namespace)::softmax_warp_forward<float, float, float, 10, false, false>(float*, float const*, int)", "softmax forward (float, 1024)"),
        ("void (anonymous namespace)::softmax_warp_backward<float, c10::BFloat16, float, 7, false, true>(float*)", "masked softmax backward (float, bf16, 128)"),
        (f"{NATIVE}(anonymous namespace)::cunn_SoftMaxForward<8, c10::BFloat16, float, c10::BFloat16, at::native::(anonymous namespace)::SoftMaxForwardEpilogue>(c10::BFloat16*)", "softmax forward (bf16)"),
        (f"{NATIVE}(anonymous namespace)::cunn_SoftMaxForwardSmem<4, float, float, float, at::native::(anonymous namespace)::LogSoftMaxForwardEpilogue, long>(float*)", "log softmax forward (float, smem)"),
        ("void scaled_masked_softmax_warp_backward<__half, __half, float, 11>(__half*)", "scaled masked softmax backward (half, 2048)"),
        (f"{NATIVE}(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>(int)", "layer norm forward (bf16)"),
        (f"{NATIVE}(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<float, float, 32u, 1u>(long)", "layer norm backward gamma, beta (float)"),
        (f"{NATIVE}batch_norm_collect_statistics_kernel<at::native::InvStd, float, float, float, int>(int)", "batch norm statistics (float)"),
        (f"{NATIVE}(anonymous namespace)::nll_loss_backward_reduce_cuda_kernel_2d<float, long>(float*)", "nll loss backward (2d, float)"),
    ],
)  # fmt: skip
def test_reductions_softmax_and_norms(name: str, short: str) -> None:
    assert form(name).text == short


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (f"{NATIVE}(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::TensorListMetadata<2>, at::native::(anonymous namespace)::BinaryOpListAlphaFunctor<float, 2, 2, 0>, std::plus<float>, float>(T)", "foreach add · float"),
        (f"{NATIVE}(anonymous namespace)::multi_tensor_apply_kernel<T::TensorListMetadata<4>, at::native::(anonymous namespace)::PointwiseOpScalarFunctor<float, 4, 3, 3>, std::divides<float>, float>(T)", "foreach addcdiv · float"),
        (f"{NATIVE}(anonymous namespace)::multi_tensor_apply_kernel<T::TensorListMetadata<1>, at::native::(anonymous namespace)::UnaryOpFunctor<float, 1, 1, 0>, at::native::Sqrt<float> >(T)", "foreach sqrt · float"),
        (f"{NATIVE}(anonymous namespace)::multi_tensor_apply_kernel<T::TensorListMetadata<1>, at::native::LpNormFunctor<float, (at::native::NormType)1, float, 1, 1, 0>, float*>(T)", "foreach lp norm · float"),
        (f"{NATIVE}(anonymous namespace)::multi_tensor_apply_kernel<T::FusedOptimizerTensorListMetadata<4>, at::native::(anonymous namespace)::FusedAdamMathFunctor<float, 4, (at::native::(anonymous namespace)::ADAM_MODE)1, false>, float const*>(T)", "fused adam · float"),
        ("void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float, float, int>, float>(long)", "adam · float"),
        ("void multi_tensor_apply_kernel<TensorListMetadata<2>, ScaleFunctor<float, c10::Half>, float>(int)", "foreach scale · float"),
        (f"{NATIVE}(anonymous namespace)::CatArrayBatchedCopy_aligned16_contig<at::native::(anonymous namespace)::OpaqueType<2u>, unsigned int, 3, 128, 1>(T)", "cat 3d · 2-byte · aligned16 contig"),
        (f"{NATIVE}index_elementwise_kernel<128, 4, at::native::gpu_index_kernel<at::native::index_put_kernel_impl<at::native::OpaqueType<4> >(at::TensorIterator&)::{{lambda(char*, char*, long)#1}}>(T&)::{{lambda(int)#1}}>(long)", "index put · 4-byte"),
        (f"{NATIVE}_scatter_gather_elementwise_kernel<128, 4, at::native::_cuda_scatter_gather_internal_kernel<true, float>::operator()<at::native::ReduceAdd>(T&)::{{lambda(int)#1}}>(int)", "scatter add · float"),
        (f"{NATIVE}_scatter_gather_elementwise_kernel<128, 4, at::native::_cuda_scatter_gather_internal_kernel<false, at::native::OpaqueType<2> >::operator()<at::native::TensorAssign>(T&)::{{lambda(int)#1}}>(int)", "gather · 2-byte"),
        (f"{NATIVE}(anonymous namespace)::indexSelectSmallIndex<c10::BFloat16, long, unsigned int, 2, 2, -2>(T)", "index select, small · bf16"),
        (f"{NATIVE}(anonymous namespace)::distribution_elementwise_grid_stride_kernel<float, 4, at::native::templates::cuda::normal_and_transform<float, float, 4, at::CUDAGeneratorImpl*, at::native::templates::cuda::normal_kernel<at::CUDAGeneratorImpl*>(T)::{{lambda()#1}}> >(T)", "random normal · float"),
        (f"{NATIVE}(anonymous namespace)::fused_dropout_kernel_vec<c10::BFloat16, float, unsigned int, 1, 8, bool>(T)", "dropout forward · bf16 · vectorized"),
        ("void vllm::act_and_mul_kernel<c10::BFloat16, (&(c10::BFloat16 vllm::silu_kernel<c10::BFloat16>(c10::BFloat16 const&))), true>(P)", "silu and mul (bf16)"),
        ("void vllm::act_and_mul_kernel<c10::Half, (c10::Half (*)(c10::Half const&))(&vllm::silu_kernel<c10::Half>), true>(P)", "silu and mul (half)"),
        ("void vllm::act_and_mul_kernel<c10::BFloat16, __nv_bfloat162, vllm::gelu_kernel<c10::BFloat16>, vllm::packed_gelu_kernel<__nv_bfloat162>, true>(int)", "gelu and mul (bf16)"),
        ("void vllm::act_and_mul_kernel<c10::BFloat16, &(c10::BFloat16 vllm::silu_kernel<c10::BFloat16>(c10::BFloat16 const&)), true>(c10::BFloat16*)", "silu and mul (bf16)"),
    ],
)  # fmt: skip
def test_foreach_indexing_random_and_layout(name: str, short: str) -> None:
    assert form(name).text == short
