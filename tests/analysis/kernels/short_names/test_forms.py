"""C++ names taken apart, types of elements, and words."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.short_names.forms import Name, canonical, dtype, taken_apart, words


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a::b::f<4,c::g<float,2>>", Name(("a", "b"), "f", ("4", "c::g<float,2>"))),
        ("f", Name((), "f", ())),
        ("std::enable_if<true>::type a::f<1>", Name(("a",), "f", ("1",))),  # a return type
        ("h::{lambda()#1}::operator{}::{lambda(float,bool)#2}", Name(("h", "{lambda()#1}", "operator{}"), "{lambda(float,bool)#2}", ())),
        ("S<1>::f<2>", Name(("S<1>",), "f", ("2",))),
        ("f<", Name((), "f", ())),
        (">>", Name((), ">>", ())),
        ("", Name((), "", ())),
    ],
)  # fmt: skip
def test_taken_apart(text: str, name: Name) -> None:
    assert taken_apart(text) == name


def test_a_lambda_is_known_by_the_function_that_it_stands_in():
    assert taken_apart("at::exp_kernel_cuda::{lambda()#1}::operator{}::{lambda(float)#1}").function == "exp_kernel_cuda"
    assert taken_apart("at::pow<float,float>::{lambda(float)#2}").function == "pow"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("c10::BFloat16*", "bf16"), ("__nv_bfloat16", "bf16"), ("cutlass::half_t", "half"), ("long", "int64"), ("unsigned int", "uint32"),
        ("at::native::OpaqueType<4>", "4-byte"), ("c10::complex<float>", "complex64"), ("Traits<64>", ""), ("4", ""), ("const float", "float"),
    ],
)  # fmt: skip
def test_dtype(text: str, short: str) -> None:
    assert dtype(text) == short


@pytest.mark.parametrize(
    ("identifier", "said"),
    [
        ("fusedAddRMSNormKernel", "fused add rms norm"), ("_attn_fwd_inner", "attention forward inner"), ("cunn_SoftMaxForward", "cunn softmax forward"),
        ("permute_2D_data_kernel", "permute 2d data"), ("kernel", ""), ("attn_fwd.kd", "attention forward"),
    ],
)  # fmt: skip
def test_words(identifier: str, said: str) -> None:
    assert words(identifier) == said


def test_a_name_is_canonical_in_whichever_spelling_it_came():
    gnu = "void at::f<4, std::array<char*, 2ul> >(int, std::array<char*, 2ul>)"
    nvidia = "void at::f<(int)4, std::array<char *, (unsigned long)2>>(int, T2)"
    assert (
        canonical(gnu)
        == canonical(nvidia)
        == canonical("_ZN2at1fILi4ESt5arrayIPcLm2EEEEvi")
        == "at::f<4,std::array<char*,2>>"
    )
