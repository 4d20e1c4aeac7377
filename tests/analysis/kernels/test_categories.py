"""Categories of kernels by library and age, alone and with the operator that launched them."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels import categories, kinds
from perfkit.analysis.kernels.kernel_table import GENERAL, KERNELS, QUALIFIED
from perfkit.analysis.kernels.operator_table import OPERATORS
from tests.analysis.kernels.known_names import BY_NAME


@pytest.mark.parametrize(("category", "name"), [(kind, name) for kind, names in BY_NAME.items() for name in names])
def test_kernels_by_name(category, name):
    assert categories.of_kernel(name) == category


@pytest.mark.parametrize(("category", "name"), [(kind, name) for kind, names in BY_NAME.items() for name in names])
def test_collectives_are_the_kernels_of_communication(category, name):
    assert categories.is_communication(name) is (category == kinds.COMMUNICATION)


@pytest.mark.parametrize(
    "name", ["mystery", "void flashinfer::mystery<cutlass::half_t>(int)", "_ZN5aiter7mysteryI14__hip_bfloat16EEvPT_",
             "void fbgemm_gpu::mystery(int)", "my::combine", "dispatch", "void moe::mystery<flash::X>(int)"],
)  # fmt: skip
def test_a_namespace_says_nothing(name):
    """GIVEN a function nobody knows in a library's namespace WHEN categorised THEN it has no category"""
    assert categories.of_kernel(name) is None


@pytest.mark.parametrize(
    ("operator", "category"),
    [
        ("aten::mm", kinds.MATMUL),
        ("aten::addmm", kinds.MATMUL),
        ("aten::_flash_attention_backward", kinds.ATTENTION),
        ("aten::_scaled_dot_product_efficient_attention", kinds.ATTENTION),
        ("aten::_softmax_backward_data", kinds.SOFTMAX),
        ("aten::nll_loss_backward", kinds.LOSS),
        ("aten::native_layer_norm_backward", kinds.NORMALISATION),
        ("aten::embedding_dense_backward", kinds.EMBEDDING),
        ("aten::convolution_backward", kinds.CONVOLUTION),
        ("aten::max_pool2d_with_indices_backward", kinds.POOLING),
        ("aten::_to_copy", kinds.CAST),
        ("aten::add_", kinds.ELEMENTWISE),
        ("aten::silu_backward", kinds.ELEMENTWISE),
        ("aten::mean", kinds.REDUCTION),
        ("aten::_fused_adamw_", kinds.OPTIMIZER),
        ("graph_0_cpp_fused_mean_mul_pow_rsqrt_3", kinds.NORMALISATION),
        ("graph_0_cpp_fused_add_silu_2", kinds.ELEMENTWISE),
        ("triton_per_fused__softmax_1", kinds.SOFTMAX),
        ("c10d::_allgather_base_", kinds.COMMUNICATION),
        ("_c10d_functional::wait_tensor", kinds.COMMUNICATION),
        ("record_param_comms", kinds.COMMUNICATION),
        ("nccl:all_reduce", kinds.COMMUNICATION),
        ("All2All_Pooled_Wait", kinds.COMMUNICATION),
        ("fbgemm::permute_2D_sparse_data", kinds.EMBEDDING),
        ("fbgemm::permute_sparse_features", kinds.EMBEDDING),
        ("fbgemm::FloatToFP8RowwiseQuantized", kinds.QUANTISATION),
        ("_C::rotary_embedding", kinds.ROPE),
        ("_C_cache_ops::reshape_and_cache_flash", kinds.CACHE),
        ("_moe_C::topk_softmax", kinds.ROUTING),
        ("vllm::unified_attention_with_output", kinds.ATTENTION),
        ("aten::view", None),
        ("aten::transpose", None),  # a view: the kernels' table, which knows transposes, is not asked
        ("autograd::engine::evaluate_function: MmBackward0", None),
        ("my::op", None),
    ],
)
def test_operators_by_name(operator, category):
    assert categories.of_operator(operator) == category


def test_every_pattern_has_a_source_and_a_category():
    for pattern in (*OPERATORS, *QUALIFIED, *KERNELS, *GENERAL):
        assert pattern.source
        assert pattern.category in kinds.ALL


@pytest.mark.parametrize(
    ("kernel", "operator", "category"),
    [
        ("volta_sgemm_64x64_nt", "aten::cudnn_convolution", "convolution"),  # PyTorch's operators decide first
        ("volta_sgemm_64x64_nt", None, "matmul"),
        ("ncclDevKernel_AllReduce", "aten::mm", "communication"),  # a collective is one, whoever asked for it
        ("direct_copy_kernel", "aten::convolution", "cast/layout"),
        ("direct_copy_kernel", "aten::mm", "cast/layout"),
        ("FillFunctor", "aten::mm", "memset"),
        ("reduce_kernel", "aten::mm", "reduction"),
        ("elementwise_kernel", "aten::mm", "matmul"),
        ("direct_copy_kernel", "aten::add", "elementwise"),  # only matmuls and convolutions convert
        ("volta_sgemm_64x64_nt", "my::op", "matmul"),
        ("reshape_and_cache_kernel", "vllm::unified_attention", "attention cache"),  # others' operators decide second
        ("mystery", "vllm::unified_attention", "attention"),
        ("CatArrayBatchedCopy", "c10d::_allgather_base_", "cast/layout"),  # what a collective's operator prepares
        ("triton_poi_fused_mul_0", "triton_poi_fused_mul_0", "elementwise"),
        ("mystery", "aten::add", "elementwise"),
        ("mystery", None, "other"),
        ("mystery", "my::op", "other"),
        ("aten::permute", "aten::permute", "other"),  # on the host, where the operator is all there is
    ],
)
def test_operator_and_name_together(kernel, operator, category):
    assert categories.category(kernel, operator, in_optimizer=False) == category


def test_in_the_optimizer_everything_is_the_optimizers():
    assert categories.category("elementwise_kernel", "aten::add_", in_optimizer=True) == "optimizer"


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
        ("small_gather_kernel", False),
    ],
)  # fmt: skip
def test_collectives(name, is_one):
    assert categories.is_communication(name) is is_one


@pytest.mark.parametrize("name", ["", "aten::", "_", "autograd::engine::evaluate_function: AddmmBackward0"])
def test_names_that_say_nothing(name):
    assert categories.of_operator(name) is None


@pytest.mark.parametrize(("length", "found"), [(8187, kinds.MATMUL), (8188, None)])
def test_how_far_names_are_looked_at(length, found):
    """GIVEN a word that ends at the 8,192nd character, or one behind it"""
    assert categories.of_kernel("x" * length + "_gemm") == found
    assert categories.is_communication("x" * (length - 3) + "_nvshmem") is (found is not None)
