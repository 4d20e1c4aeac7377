"""Which precision an operator works in: by the types of its arguments, and by the names of its kernels."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import get_args

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.regex import Regex
from perfkit.schema.ceilings import Precision
from perfkit.trace.columns import MISSING
from perfkit.trace.detail_columns import Operands

ALL: tuple[Precision, ...] = get_args(Precision)

_OF_TYPES: dict[str, Precision] = {
    "double": "fp64", "float": "fp32", "c10::half": "fp16", "half": "fp16", "c10::bfloat16": "bf16",
    "signed char": "int8", "unsigned char": "int8", "char": "int8", "byte": "int8",
}  # fmt: skip
"""By the C++ name of an argument's type in lower case (caffe2::TypeMeta). Complex and wide integers have no peak."""
_SMALL: dict[str, Precision] = {"c10::float8": "fp8", "c10::float4": "fp4", "c10::qint8": "int8"}

_TF32 = Regex(r"tf32|tensorop_s1688gemm(?!_[bf]+16)|_xf32", re.IGNORECASE)
"""Kernels that take fp32 to tensor cores: cuBLAS, CUTLASS (tensorop_s1688gemm, without another type), Tensile."""
_BY_NAME: tuple[tuple[Precision, Regex[str]], ...] = (
    ("tf32", _TF32),
    ("fp8", Regex(r"e4m3|e5m2|fp8|float8", re.IGNORECASE)),
    ("bf16", Regex(r"bf16|bfloat16|_BB[HS]_|nvjet_t", re.IGNORECASE)),
    ("fp16", Regex(r"f16|fp16|half|hgemm|[hs]884|_HH?[HS]_|nvjet_h", re.IGNORECASE)),
    ("int8", Regex(r"imma|_i8|int8", re.IGNORECASE)),
    ("fp64", Regex(r"dgemm|f64f64|[^a-z]double", re.IGNORECASE)),
    ("fp32", Regex(r"sgemm|scudnn|f32f32|[^a-z]float", re.IGNORECASE)),
)
"""Words in kernels' names, for files that do not say types; the first that fits. f32f32 is also in names of TF32."""


_MOST_NAMES = 1 << 17
"""Kernels' names whose precision is kept: several tables ask for it."""


def is_tf32(kernel: str) -> bool:
    """Whether a kernel's name says that it multiplies fp32 on tensor cores."""
    return _TF32.search(kernel) is not None


@lru_cache(_MOST_NAMES)
def of_kernel(name: str) -> int:
    """The precision of a matmul or convolution by its kernel's name, as an index into ALL; NONE where it says none."""
    return next((ALL.index(precision) for precision, words in _BY_NAME if words.search(name)), NONE)


def of_arguments(operands: Operands) -> Ints:
    """The precision of each row's first tensor of numbers that have one, as an index into ALL; NONE for none."""
    codes = [_of_types(types) for types in operands.all_dtypes]
    assert MISSING == NONE == -1, "rows without types take the last code"
    return np.array([*codes, NONE], dtype=np.int64)[operands.dtypes]


def _of_types(types: tuple[str, ...]) -> int:
    for name in map(str.lower, types):
        precision = _OF_TYPES.get(name) or next((it for word, it in _SMALL.items() if name.startswith(word)), None)
        if precision is not None:
            return ALL.index(precision)
    return NONE
