"""Inductor's kernels by what they fuse; each expected category follows from the operators in the name."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.fused import of_fused


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("triton_poi_fused_add_0", kinds.ELEMENTWISE),
        ("triton_fused_add_relu_1", kinds.ELEMENTWISE),  # PyTorch 2.0 had no kinds
        ("triton_fused_sum_1", kinds.REDUCTION),
        ("triton_poi_fused_add_sum_1", kinds.ELEMENTWISE),  # pointwise, whatever is in its name
        ("triton_red_fused_add_1", kinds.REDUCTION),
        ("triton_spl_fused_cumsum_1", kinds.REDUCTION),
        ("triton_for_fused_add_1", kinds.ELEMENTWISE),
        ("triton_red_fused_add_div_1_0d1d2de3de", kinds.REDUCTION),
        ("triton_poi_fused_clone_transpose_view_3", kinds.CAST),
        ("triton_poi_fused__to_copy_t_0", kinds.CAST),
        ("triton_poi_fused_add_clone_3", kinds.ELEMENTWISE),
        ("triton_poi_fused_new_zeros_1", kinds.MEMSET),
        ("triton_poi_fused_zeros_view_1", kinds.MEMSET),
        ("triton_poi_fused_mm_0", kinds.ELEMENTWISE),
        ("triton_tem_fused_0", kinds.MATMUL),
        ("triton_tem_fused_bmm_0", kinds.MATMUL),
        ("triton_red_fused_native_layer_norm_0", kinds.NORMALISATION),
        ("triton_red_fused_mean_pow_rsqrt_0", kinds.NORMALISATION),
        ("triton_red_fused_mean_0", kinds.REDUCTION),
        ("triton_per_fused_amax_exp_sub_sum_0", kinds.SOFTMAX),
        ("triton_per_fused_amax_exp_sub_0", kinds.REDUCTION),
        ("triton_poi_fused_cos_mul_sin_0", kinds.ROPE),
        ("triton_poi_fused_cos_sin_0", kinds.ELEMENTWISE),
        ("triton_poi_fused_index_0", kinds.EMBEDDING),
        ("triton_poi_fused_avg_pool2d_0", kinds.POOLING),
        ("triton_poi_fused_bernoulli_0", kinds.RANDOM),
        ("triton_poi_fused_0", kinds.ELEMENTWISE),
        ("cpp_fused_add_0", kinds.ELEMENTWISE),
        ("cpp_fused_max_0", kinds.REDUCTION),
        ("graph_12_cpp_fused_cat_0", kinds.CAST),
        ("triton_", kinds.ELEMENTWISE),
        ("triton__0d1d2", kinds.ELEMENTWISE),
        ("triton_2", kinds.ELEMENTWISE),
        ("triton_rope", None),
        ("my_triton_poi_fused_add_0", None),
        ("", None),
    ],
)
def test_generated_kernels(name: str, category: str | None) -> None:
    assert of_fused(name) == category
