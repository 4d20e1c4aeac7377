"""Formulas: operations and bytes of single calls, each counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from perfkit.analysis.costs.flops.call import Call
from perfkit.analysis.costs.flops.operators import counted, formula_of, is_in_place

N = "Scalar"


def count(
    name: str, shapes: Any, dtypes: str | list[str] = "float", values: Any = (), strides: Any = (), of_lists: str = ""
) -> tuple[int, int | None] | None:
    formula = formula_of(name)
    assert formula is not None, name
    types = [dtypes if shape else "" for shape in shapes] if isinstance(dtypes, str) else dtypes
    found = counted(formula, Call(tuple(shapes), tuple(types), strides, values, is_in_place(name), of_lists))
    return None if found is None else (found.flops, found.bytes)


BF16 = "c10::BFloat16"
# (operator, shapes, types, values, operations, bytes)
CALLS: list[tuple[str, list[Any], Any, tuple[str, ...], int, int | None]] = [
    # 2 m k n; both matrices and the result, 4 bytes each
    ("aten::mm", [(2, 3), (3, 5)], "float", (), 2 * 2 * 3 * 5, 4 * (6 + 15 + 10)),
    ("aten::mm", [(2, 3), (3, 5)], BF16, (), 60, 2 * 31),
    ("aten::addmm", [(5,), (2, 3), (3, 5), (), ()], "float", (), 60, 4 * (5 + 31)),
    ("aten::bmm", [(7, 2, 3), (7, 3, 5)], "float", (), 7 * 60, 7 * 4 * 31),
    ("aten::baddbmm_", [(7, 2, 5), (7, 2, 3), (7, 3, 5)], "float", (), 7 * 60, 7 * 4 * (31 + 10)),
    ("aten::linear", [(4, 2, 3), (5, 3), (5,)], "float", (), 4 * 60, 4 * (24 + 15 + 40 + 5)),
    ("aten::matmul", [(4, 2, 3), (3, 5)], "float", (), 4 * 60, 4 * (24 + 15 + 40)),
    ("aten::matmul", [(3,), (3, 5)], "float", (), 30, 4 * (3 + 15 + 5)),
    ("aten::mv", [(2, 3), (3,)], "float", (), 12, 4 * (6 + 3 + 2)),
    ("aten::dot", [(3,), (3,)], "float", (), 6, 4 * 7),
    ("aten::addmv", [(2,), (2, 3), (3,)], "float", (), 12, 4 * (2 + 6 + 3 + 2)),
    # rows of 3 groups; groups in k: a matrix for each of 3; a batch
    ("aten::_grouped_mm", [(8, 3), (3, 3, 5), (3,)], BF16, (), 2 * 8 * 3 * 5, 2 * (24 + 45 + 40)),
    ("aten::_grouped_mm", [(2, 9), (9, 5), (3,)], BF16, (), 2 * 2 * 9 * 5, 2 * (18 + 45 + 3 * 10)),
    ("aten::_grouped_mm", [(7, 2, 3), (7, 3, 5)], BF16, (), 7 * 60, 7 * 2 * 31),
    ("aten::_weight_int8pack_mm", [(2, 3), (5, 3), (5,)], [BF16, "signed char", BF16], (), 60, 12 + 15 + 10 + 20),
    # 2 sequences, 3 heads, 4 queries, 5 keys, width 8: 2 x 2 x 3 x 4 x 5 x 8 a matmul
    ("aten::_scaled_dot_product_flash_attention", [(2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 8)], BF16, (),
     2 * 1920, 2 * (192 + 240 + 240 + 192)),
    ("aten::_flash_attention_forward", [(2, 4, 3, 8), (2, 5, 3, 8), (2, 5, 3, 8)], BF16, (), 2 * 1920, 2 * 864),
    # queries of 6 heads and keys of 3; values 16 wide
    ("aten::scaled_dot_product_attention", [(2, 6, 4, 8), (2, 3, 5, 8), (2, 3, 5, 16)], BF16, (),
     2 * 1920 + 2 * 3840, 2 * (384 + 240 + 480 + 768)),
    ("aten::_scaled_dot_product_efficient_attention_backward", [(2, 3, 4, 8)] * 2 + [(2, 3, 5, 8)] * 2, BF16, (),
     5 * 1920, 2 * (3 * 192 + 4 * 240 + 192)),
    # 2 images, 4 channels to 6, 5 x 5 by a kernel of 3 x 3: 25 places, each with 4 x 9 inputs
    ("aten::convolution", [(2, 4, 5, 5), (6, 4, 3, 3), (), (), (), (), (), (), ()], "float",
     ("", "", "", "[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1"),
     2 * 2 * 6 * 25 * 36, 4 * (200 + 216 + 300)),
    # stride 2, two groups: 3 x 3 places, 2 channels in each group
    ("aten::_convolution", [(2, 4, 5, 5), (6, 2, 3, 3), (6,), (), (), (), (), (), ()], "float",
     ("", "", "", "[2]", "[1]", "[1]", "False", "[0]", "2"), 2 * 2 * 6 * 9 * 18, 4 * (200 + 108 + 6 + 108)),
    # transposed: each of 2 x 4 x 5 inputs is multiplied by 6 x 3 weights; (5 - 1) 2 - 2 + 2 + 1 + 1 = 10 places
    ("aten::convolution", [(2, 4, 5), (4, 6, 3), (), (), (), (), (), (), ()], "float",
     ("", "", "", "[2]", "[1]", "[1]", "True", "[1]", "1"), 2 * 40 * 18, 4 * (40 + 72 + 120)),
    ("aten::convolution_backward", [(2, 6, 5, 5), (2, 4, 5, 5), (6, 4, 3, 3), *[()] * 8], "float",
     ("", "", "", "[6]", "[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1", "[True, True, False]"),
     2 * 2 * 300 * 36, 4 * (300 + 200 + 216 + 200 + 216)),
    ("aten::convolution_backward", [(2, 6, 5, 5), (2, 4, 5, 5), (6, 4, 3, 3), *[()] * 8], "float",
     ("", "", "", "[6]", "[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1", "[False, True, False]"),
     2 * 300 * 36, 4 * (300 + 200 + 216 + 216)),
    # PyTorch 1.8: gradients of the weight and of the input are operators of their own, without values
    ("aten::cudnn_convolution_backward", [(2, 4, 5, 5), (2, 6, 5, 5), (6, 4, 3, 3)], "float", (), 2 * 300 * 36,
     4 * (300 + 200 + 216)),
    ("aten::cudnn_convolution_backward_input", [(), (2, 6, 5, 5), (6, 4, 3, 3)], "float", (), 2 * 300 * 36,
     4 * (300 + 216 + 300)),
    ("aten::add", [(2, 3), (2, 3), ()], "float", (), 6, 4 * 18),
    ("aten::add_", [(2, 3), (3,), ()], "float", (), 6, 4 * (6 + 3 + 6)),
    ("aten::mul", [(2, 3), (2, 3)], ["float", "bool"], (), 6, 24 + 6 + 24),
    ("aten::eq", [(2, 3), ()], "float", (), 6, 24 + 6),
    ("aten::gelu", [(2, 3), ()], BF16, (), 6, 24),
    ("aten::addcmul_", [(6,), (6,), (6,), ()], "float", (), 18, 4 * 24),
    ("aten::where", [(6,), (6,), ()], ["bool", "float", "float"], (), 0, 6 + 24 + 4 + 24),
    ("aten::sum", [(2, 3), (), ()], "float", ("", "[1]", "False"), 6, 4 * (6 + 2)),
    ("aten::sum", [(2, 3)], "float", ("",), 6, 4 * (6 + 1)),
    ("aten::_softmax", [(2, 3), (), ()], "float", ("", "-1", "False"), 30, 48),
    ("aten::_softmax", [(2, 3), (), ()], "c10::Half", ("", "-1", "True"), 30, 12 + 24),
    ("aten::_softmax_backward_data", [(2, 3), (2, 3), (), ()], "float", (), 24, 72),
    ("aten::native_layer_norm", [(2, 3), (), (3,), (3,), ()], "float", (), 48, 4 * (6 + 6 + 6)),
    ("aten::native_batch_norm_backward", [(2, 3, 4), (2, 3, 4), (3,)], "float", (), 13 * 24, 4 * (51 + 24 + 6)),
    ("aten::embedding", [(10, 3), (2, 4), (), (), ()], ["float", "long int", N, N, N], (), 0, 64 + 2 * 96),
    ("aten::index_select", [(10, 3), (), (4,)], ["float", N, "long int"], ("", "0", ""), 0, 32 + 2 * 48),
    ("aten::embedding_dense_backward", [(2, 4, 3), (2, 4), (), (), ()], ["float", "long int", N, N, N],
     ("", "", "10", "-1", "False"), 24, 96 + 64 + 120),
    ("aten::copy_", [(2, 3), (2, 3), ()], ["c10::Half", "float", N], (), 0, 12 + 24),
    ("aten::fill_", [(2, 3), ()], "long", (), 0, 48),
    ("aten::native_dropout", [(2, 3), (), ()], "float", (), 12, 24 + 24 + 6),
]  # fmt: skip


@pytest.mark.parametrize(("name", "shapes", "dtypes", "values", "flops", "moved"), CALLS)
def test_a_call_by_hand(name, shapes, dtypes, values, flops, moved):
    assert count(name, shapes, dtypes, values) == (flops, moved)


def test_lists_of_tensors_have_the_type_of_gradients():
    """GIVEN an Adam step of 6 and 2 parameters: 14 operations each; parameter, gradient and two moments are read,
    all but the gradient written"""
    lists = [((2, 3), (2,))] * 4
    types = ["TensorList"] * 4
    assert count("aten::_fused_adamw_", [*lists, (), ((), ())], types, of_lists="float") == (14 * 8, 4 * 8 * 7)
    assert count("aten::_fused_adamw_", lists, types) == (14 * 8, None)
    assert count("aten::_foreach_mul_", [lists[0], ()], types, of_lists="float") == (8, 4 * 16)
    assert count("aten::_foreach_add_", lists[:2], types, of_lists="float") == (8, 4 * 24)
    assert count("aten::_foreach_add_", [(), ()], types) is None  # until PyTorch 2.2 lists have no shapes


def test_types_that_are_not_told_leave_operations():
    """GIVEN a file of PyTorch 1.9, which has shapes alone"""
    assert count("aten::mm", [(2, 3), (3, 5)], []) == (60, None)


def test_an_expanded_tensor_is_read_once():
    """GIVEN a row that stands for four: stride 0"""
    assert count("aten::mul", [(4, 3), (4, 3)], strides=((0, 1), (3, 1))) == (12, 4 * (3 + 12 + 12))


@pytest.mark.parametrize(
    ("name", "shapes", "values"),
    [
        ("aten::mm", [(2, 3)], ()),
        ("aten::mm", [(2, 3), (4, 5)], ()),
        ("aten::mm", [(2, 3), ((3, 5),)], ()),
        ("aten::mm", [(1 << 30, 1 << 30), (1 << 30, 1 << 30)], ()),
        ("aten::add", [(2, 3), (4, 3)], ()),
        ("aten::convolution", [(2, 4, 5, 5), (6, 4, 3, 3)], ()),  # strides are values
        ("aten::convolution_backward", [(2, 6, 5, 5), (2, 4, 5, 5), (6, 4, 3, 3)], ()),
        ("aten::_flash_attention_forward", [(9, 3, 8), (9, 3, 8), (9, 3, 8), (4,), (4,)], ()),  # of several lengths
        ("aten::embedding_dense_backward", [(2, 4, 3), (2, 4)], ()),
    ],
)
def test_what_the_arguments_do_not_tell_is_not_counted(name, shapes, values):
    assert count(name, shapes, "float", values) is None


@pytest.mark.parametrize(
    ("queries", "keys", "seen"), [(4, 4, 10), (1, 5, 1), (2, 5, 3), (5, 2, 9)]
)  # 1 + 2 + 3 + 4; the only query sees the first key; 1 + 2; 1 + 2 + 2 + 2 + 2
def test_a_causal_mask_hides_and_counts_in_full(queries, keys, seen):
    """GIVEN SDPA, whose mask begins at the first query and key: of v = 1 with q of 2 and k of 5 torch gives so"""
    formula = formula_of("aten::_scaled_dot_product_flash_attention")
    shapes = ((1, 1, queries, 8), (1, 1, keys, 8), (1, 1, keys, 8), (), (), ())
    found = counted(formula, Call(shapes, ("float",) * 3 + (N,) * 3, (), ("", "", "", "0.", "True", "False")))
    assert (found.flops, found.masked) == (4 * 8 * queries * keys, 4 * 8 * (queries * keys - seen))


@pytest.mark.parametrize(
    ("queries", "keys", "seen"), [(4, 4, 10), (1, 5, 5), (2, 5, 9), (5, 2, 3)]
)  # 4 + 3 + 2 + 1; the only query sees all; 5 + 4; keys 2 and 1 by the last two
@pytest.mark.parametrize(
    ("name", "place", "kind"),
    [
        ("flash_attn::_flash_attn_forward", 5, "True"),
        ("aten::_flash_attention_forward", 8, "True"),
        ("aten::_efficient_attention_forward", 9, "2"),
    ],
)
def test_a_causal_mask_that_ends_at_the_last_query_and_key(name, place, kind, queries, keys, seen):
    """GIVEN flash-attn, or efficient attention with a mask from the bottom right THEN the last query sees all keys"""
    shapes = ((1, queries, 1, 8), (1, keys, 1, 8), (1, keys, 1, 8), *[()] * (place - 2))
    values = ("",) * place + (kind,)
    found = counted(formula_of(name), Call(shapes, ("float",) * 3 + (N,) * (place - 2), (), values))
    assert (found.flops, found.masked) == (4 * 8 * queries * keys, 4 * 8 * (queries * keys - seen))


def test_operators_in_place_are_counted_as_the_others():
    assert formula_of("aten::add_") is formula_of("aten::add")
    assert formula_of("mylib::mm") is None
    assert (is_in_place("aten::add_"), is_in_place("aten::__and__")) == (True, False)
