"""The precision of operators, by types and by names of kernels."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.analysis.costs.flops import precision
from perfkit.trace.detail_columns import Operands


def of_types(*types: str) -> str | None:
    nothing = np.full(1, -1, np.int32)
    operands = Operands(nothing, np.zeros(1, np.int32), nothing, nothing, (), (types,), (), ())
    found = int(precision.of_arguments(operands)[0])
    return None if found == -1 else precision.ALL[found]


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (("float", "float"), "fp32"),
        (("double",), "fp64"),
        (("c10::Half", "float"), "fp16"),
        (("c10::BFloat16",), "bf16"),
        (("c10::Float8_e4m3fn", "c10::Float8_e4m3fn", "float"), "fp8"),
        (("signed char",), "int8"),
        (("long int", "float"), "fp32"),  # indices first
        (("bool", "Scalar", "c10::BFloat16"), "bf16"),
        (("long int",), None),
        (("c10::complex<float>",), None),
        ((), None),
    ],
)
def test_the_first_tensor_of_numbers_decides(types: tuple[str, ...], expected: str | None):
    assert of_types(*types) == expected


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("volta_fp16_s884gemm_fp16_128x128_ldg8_f2f_nn", "fp16"),
        ("ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x3_tn", "bf16"),
        ("ampere_sgemm_32x128_tn", "fp32"),
        ("volta_scudnn_128x64_relu_interior_nn_v1", "fp32"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x32", "tf32"),
        ("cutlass_80_tensorop_s1688gemm_128x256_16x3_nn_align4", "tf32"),
        ("cutlass_80_tensorop_s1688gemm_bf16_128x64_nn", "bf16"),
        ("cutlass_80_tensorop_d884gemm_64x64_16x4_nn_align1 dgemm", "fp64"),
        ("vectorized_gather", None),
    ],
)
def test_names_of_kernels(kernel: str, expected: str | None):
    found = precision.of_kernel(kernel)
    assert (None if found == -1 else precision.ALL[found]) == expected
    assert precision.is_tf32(kernel) == (expected == "tf32")
