"""Kernels that Inductor generated, by the operators that they fuse."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.general import form
from perfkit.analysis.kernels.short_names.unique import short_names


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("triton_poi_fused_add_mul_0", "add + mul · triton pointwise"),
        ("triton_poi_fused__to_copy_silu_mul_12", "to_copy + silu + mul · triton pointwise"),
        ("triton_red_fused__unsafe_view_add_mean_mul_pow_rsqrt_1", "add + mean + mul + pow + rsqrt · triton reduction"),
        (
            "triton_per_fused_native_layer_norm_native_layer_norm_backward_3",
            "native_layer_norm + native_layer_norm_backward · triton persistent reduction",
        ),
        ("triton_poi_fused_view_5", "view · triton pointwise"),  # a view alone is all there is
        (
            "triton_poi_fused_add_cat_cos_mul_neg_sin_sub_tanh_2",
            "add + cat + cos + mul + neg + sin + 2 more · triton pointwise",
        ),
        ("triton_tem_fused_mm_7", "mm · triton template"),
        ("triton_tem_fused_flex_attention_0", "flex_attention · triton template"),
        ("triton_mm", "mm · triton template"),
        ("triton_for_fused_2", "triton foreach kernel"),
        ("triton_poi_fused_log2_3", "log2 · triton pointwise"),
        ("triton_", "triton kernel"),
        ("cpp_fused_add_silu_2", "add + silu · cpp"),
        ("_layer_norm_bwd_dx_fused", "layer norm backward dx fused"),  # a person's own
        ("fused_moe_kernel", "fused moe"),
        ("matmul_kernel.kd", "matmul"),
    ],
)
def test_what_is_fused(name: str, short: str) -> None:
    assert form(name).text == short


def test_kernels_that_fuse_the_same_have_their_numbers():
    names = ["triton_poi_fused_add_mul_0", "triton_poi_fused_add_mul_7", "triton_poi_fused_add_mul_view_12"]
    assert sorted(short_names(names).values()) == [
        f"add + mul · triton pointwise · no. {number}" for number in (0, 12, 7)
    ]
