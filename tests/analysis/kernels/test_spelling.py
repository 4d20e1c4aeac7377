"""Names of kernels as GNU's demangler (Kineto) and NVIDIA's (nsys) spell them."""

from __future__ import annotations

import ctypes
import ctypes.util
import sqlite3

import pytest

from perfkit.analysis.kernels.spelling import spelling
from tests.corpus import corpus_file

_PAIRS = [
    (
        "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >"
        "(int, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul>)",
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<float>,"
        " std::array<char *, (unsigned long)3>>(int, T2, T3)",
        "at::native::vectorized_elementwise_kernel<4,at::native::CUDAFunctor_add<float>,std::array<char*,3>>",
    ),
    (
        "void (anonymous namespace)::f<int, at::g(c10::Scalar const&)::{lambda()#1}::operator()() const::"
        "{lambda(long)#2}>(int, unsigned int*)",
        "void <unnamed>::f<int, at::g(const c10::Scalar &)::[lambda() (instance 1)]::operator ()() const::"
        "[lambda(long) (instance 2)]>(T1, unsigned int *)",
        "{anonymous}::f<int,at::g::{lambda()#1}::operator{}::{lambda(long)#2}>",
    ),
    (
        "void flash<Traits<64, -2, c10::Half>, true, false, (Mode)3>(Params)",
        "void flash<Traits<(int)64, (int)-2, c10::Half>, (bool)1, (bool)0, (Mode)3>(T1::Params)",
        "flash<Traits<64,-2,c10::Half>,true,false,3>",
    ),
    ("sm80_xmma_gemm_f32f32_tn_n__5x_cublas", "sm80_xmma_gemm_f32f32_tn_n__5x_cublas", None),
    ("triton_poi_fused_add_0", "triton_poi_fused_add_0", None),
]


@pytest.mark.parametrize(("gnu", "nvidia", "both"), _PAIRS)
def test_both_spellings_become_one(gnu: str, nvidia: str, both: str | None) -> None:
    assert spelling(gnu) == spelling(nvidia) == (both or gnu)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("void f<4>(int)", "void f<2>(int)"),
        ("void f<g(int)::{lambda(long)#1}>(int)", "void f<g(int)::{lambda(float)#1}>(int)"),
        ("void f<g(int)::{lambda(long)#1}>(int)", "void f<g(int)::{lambda(long)#2}>(int)"),
        ("void f<unsigned int>()", "void f<int>()"),
    ],
)
def test_different_kernels_stay_different(one: str, other: str) -> None:
    assert spelling(one) != spelling(other)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("f(int)(long)<4>", "f<4>"),
        ("f((anonymous namespace)::T, g(int))<4>", "f<4>"),
        ("f)<4>", "f)<4>"),  # a bracket that was never opened
        ("f(int", "f"),
        ("f<g(int)::{lambda(long, h(int))#1}>(T)", "f<g::{lambda(long,h)#1}>"),
        ("f(g::{lambda(long)#1})", "f"),  # a lambda among parameters goes with them
        ("a::{lambda(int)#1}", "a::{lambda(int)#1}"),
        ("{lambda(int)#1}", "{lambda(int)#1}"),
        ("unsigned int f", "unsigned int f"),
    ],
)
def test_parameter_lists_go_and_what_tells_lambdas_apart_stays(name: str, spelled: str) -> None:
    assert spelling(name) == spelled


@pytest.mark.parametrize("text", ["", "(", ")", "f(", "f<(", "Memset (Device", "f::[lambda("])
def test_names_that_are_cut_off(text: str) -> None:
    assert isinstance(spelling(text), str)


@pytest.mark.corpus
def test_every_kernel_of_a_real_export_as_both_spell_it() -> None:
    """GIVEN mangled names beside nsys's own WHEN GNU's demangler reads them THEN both are spelled alike"""
    path = corpus_file("nsys/h100_2gpu_1s.sqlite")
    with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True) as database:
        rows = database.execute(
            "SELECT DISTINCT d.value, m.value FROM CUPTI_ACTIVITY_KIND_KERNEL"
            " JOIN StringIds d ON d.id = demangledName JOIN StringIds m ON m.id = mangledName"
        ).fetchall()
    database.close()
    pairs = [(nvidia, _by_gnu(mangled)) for nvidia, mangled in rows]
    assert sum(nvidia != gnu for nvidia, gnu in pairs) == 34
    assert [(nvidia, gnu) for nvidia, gnu in pairs if spelling(nvidia) != spelling(gnu)] == []
    assert len({spelling(gnu) for _, gnu in pairs}) == len(rows) == 41


def _by_gnu(mangled: str) -> str:
    library = ctypes.util.find_library("stdc++")
    if library is None:
        pytest.skip("no libstdc++ here")
    demangle = ctypes.CDLL(library).__cxa_demangle
    demangle.restype = ctypes.c_void_p
    demangle.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    found = demangle(mangled.encode(), None, None, None)
    return ctypes.string_at(found).decode() if found else mangled  # a few bytes each are never freed
