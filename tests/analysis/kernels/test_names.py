"""Kernels' names taken apart, by both demanglers, mangled, and plain."""

from __future__ import annotations

import pytest

from perfkit.analysis.kernels.names import LOOKED_AT, parse


@pytest.mark.parametrize(
    ("name", "qualified", "arguments"),
    [
        ("gemm", "gemm", ()),
        ("void ns::f<3>(int, ns::g<int>)", "ns::f", ()),
        ("void a::(anonymous namespace)::myKernel<b::First, c::Second<d::third> >(e::Fourth)",
            "a::(anonymous namespace)::my_kernel", ("first", "second", "third")),
        ("void <unnamed>::f<(int)4, void ns::g(at::Base &)::[lambda() (instance 1)], (unsigned long)3>(int, T2)",
            "<unnamed>::f", ("g", "base", "instance")),
        ("void f<at::g(at::Base&)::{lambda(long)#1}::operator()(long) const, x::Y>(int)", "f", ("g", "base", "y")),
        ("std::enable_if<!(false), void>::type internal::gemvx::kernel<int, Params<float> >(int)",
            "internal::gemvx::kernel", ("params",)),
        ("unsigned long long f(int)", "f", ()),
        ("ns::f(int)::{lambda(int)#1}::operator()(int) const", "ns::f", ()),
        ("ns::functor::operator()(int) const", "ns::functor::operator()", ()),
        ("void f<int>(int) [clone .kd]", "f", ()),
        ("attn_fwd.kd", "attn_fwd", ()),
        ("f<LoadWithCast<1>, TrivialOffsetCalculator<2, unsigned int>, float, g>", "f", ("g",)),
        ("f<g, g, a::g>", "f", ("g",)),
        ("void f<a::B<c", "f", ("b", "c")),  # cut off
        ("_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi64ELb1EEEvPT0_PT_", "aiter::add_rmsnorm_quant_kernel", ()),
        ("_Z8mykernelIN2ns5classELi3EEvT_", "mykernel", ("class",)),
        ("_ZN2ck12_GLOBAL__N_17kernelAILi2EEEvPT_", "ck::_global__n_1::kernel_a", ()),
        ("_ZN2ck6kernelINS_4ConvELNS_4EnumE10EEEvT_S2_", "ck::kernel", ("conv", "enum")),
        ("_Z", "_z", ()),
        ("", "", ()),
        ("kernel_cutlass_kernel_quackrmsnormRMSNorm_object_at__tensorptrf32_0", "quackrmsnorm_rms_norm", ()),
    ],
)  # fmt: skip
def test_parts(name: str, qualified: str, arguments: tuple[str, ...]) -> None:
    parts = parse(name)
    assert (parts.qualified, parts.identifier) == (qualified, qualified.rpartition("::")[2])
    assert parts.arguments == arguments


@pytest.mark.parametrize(
    ("word", "snake"),
    [
        ("FusedAddRMSNormKernel", "fused_add_rms_norm_kernel"), ("topkGatingSoftmax", "topk_gating_softmax"),
        ("BatchPrefillWithPagedKVCacheKernel", "batch_prefill_with_paged_kv_cache_kernel"), ("im2col", "im2col"),
        ("nchwToNhwc", "nchw_to_nhwc"), ("ALL_CAPS", "all_caps"), ("L2NormFunctor", "l2_norm_functor"),
    ],
)  # fmt: skip
def test_camel_case_is_parted(word: str, snake: str) -> None:
    assert parse(word).identifier == snake


def test_nothing_behind_what_is_looked_at_counts() -> None:
    assert parse("f<" + "x," * LOOKED_AT + "gemm>").arguments == ("x",)
    assert parse("a::" * LOOKED_AT + "gemm").identifier == "a"


def test_so_many_arguments_are_enough() -> None:
    """GIVEN a template of 300 arguments WHEN taken apart THEN the first 200 are there"""
    names = [f"a{number}" for number in range(300)]
    assert parse(f"f<{', '.join(names)}>").arguments == tuple(names[:200])


def test_a_length_that_no_name_has_is_no_name() -> None:
    """GIVEN mangled names whose lengths lead nowhere WHEN taken apart THEN no error, and what is there counts"""
    assert parse("_Z" + "9" * 5000).identifier == "_z" + "9" * 5000
    assert parse("_ZN99999999ab3gemmEv").identifier == "ab3gemm_ev"
    assert parse("_ZN3-+*4gemmEv").identifier == "gemm"
