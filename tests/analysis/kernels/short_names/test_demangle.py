"""Mangled names, against GNU's demangler where there is one, and by hand where it knows no better."""

from __future__ import annotations

import ctypes
import ctypes.util
import sqlite3

import pytest

from perfkit.analysis.kernels.short_names.demangle import demangled
from perfkit.analysis.kernels.spelling import spelling
from tests.corpus import corpus_file


@pytest.mark.parametrize(
    ("mangled", "name"),
    [
        ("_Z1fi", "f"),
        ("_Z1fILi4EfEvT0_", "f<4, float>"),
        ("_ZN2at6native12_GLOBAL__N_11fIN3c108BFloat16ELb1EEEvPT_", "at::native::(anonymous namespace)::f<c10::BFloat16, true>"),
        ("_ZN1a1fIJiiEEEvv", "a::f<int, int>"),  # a pack of arguments
        ("_ZN1a1fIJEEEvv", "a::f<>"),
        ("_ZN1a1fINS_1bENS0_1cEEEvv", "a::f<a::b, a::f::c>"),  # S_ is a, S0_ is a::f: fronts of the function's own name
        ("_Z1fILj2ELm3ELln1EEvv", "f<2u, 3ul, -1l>"),
        ("_Z1fIL1E3EEvv", "f<(E)3>"),
        ("_Z1fILN1a1EE3EEvv", "f<(a::E)3>"),
        ("_Z1fISt5arrayIPcLm3EEEvv", "f<std::array<char*, 3ul>>"),
        ("_Z1fIZN1a1gEiEUlfbE0_EvT_", "f<a::g::{lambda(float, bool)#2}>"),
        ("_ZN5aiter1fIDF16bDF16_EEvv", "aiter::f<std::bfloat16_t, _Float16>"),
        ("_ZN1a1fI1bTnPFT_RKS2_EXadL_Z4siluIS1_ES2_S4_EEEEvv", "a::f<b, &silu<b>>"),  # C++20, which libstdc++ does not read
        ("_Z1fIKPKfEvv", "f<float const* const>"),
        ("_Z1fILb0EE", "f<false>"),
        ("f", None), ("_Z", None), ("_Z9cutoff", None), ("_ZN1a", None), ("_Z1fI", None), ("_ZS9_", None), ("_Z1fIX", None),
    ],
)  # fmt: skip
def test_by_hand(mangled: str, name: str | None) -> None:
    assert demangled(mangled) == name


def test_a_short_name_cannot_stand_for_an_endless_one():
    """GIVEN types that each hold the one before twice, and types nested 2,000 deep THEN neither is read"""
    doubled = "".join(f"1bIS{number}_S{number}_E" for number in "02468ACEGIKMOQSUWY")
    assert demangled(f"_Z1fI1a{doubled[:20]}Evv") == "f<a, b<a, a>, b<b<a, a>, b<a, a>>>"
    assert demangled(f"_Z1fI1a{doubled}Evv") is None
    assert demangled("_Z1fI" + "1aI" * 2000 + "i" + "E" * 2001 + "vv") is None


@pytest.mark.parametrize(
    "name",
    [
        "_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_15CUDAFunctor_addIfEESt5arrayIPcLm3EEEEviT0_T1_",
        "_ZN2at6native13reduce_kernelILi512ELi1ENS0_8ReduceOpIfNS0_7MeanOpsIffffEEjfLi4ELi4EEEEEvT1_",
        "_ZN13pytorch_flash16flash_fwd_kernelINS_23Flash_fwd_kernel_traitsILi64ELi128ELi128ELi4ELb0ELb0EN7cutlass10bfloat16_tENS_19Flash_kernel_traitsILi64ELi128ELi128ELi4ES3_EEEELb0ELb1EEEvNS_16Flash_fwd_paramsE",
        "_ZN2at6native18elementwise_kernelILi128ELi4EZNS0_22gpu_kernel_impl_nocastIZZZNS0_23direct_copy_kernel_cudaERNS_18TensorIteratorBaseEENKUlvE1_clEvENKUlvE8_clEvEUlN3c104HalfEE_EEvS4_RKT_EUliE_EEviT1_",
    ],
)
def test_as_gnu_reads_it(name: str) -> None:
    found = demangled(name)
    assert found is not None
    assert spelling(found) == spelling(_by_gnu(name))


@pytest.mark.corpus
def test_every_mangled_kernel_of_a_real_export() -> None:
    """GIVEN mangled names of a real file THEN all are read, as GNU's demangler reads them"""
    path = corpus_file("nsys/h100_2gpu_1s.sqlite")
    with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True) as database:
        rows = database.execute(
            "SELECT DISTINCT value FROM StringIds JOIN CUPTI_ACTIVITY_KIND_KERNEL ON id = mangledName WHERE value LIKE '\\_Z%' ESCAPE '\\'"
        ).fetchall()
    database.close()
    assert len(rows) == 34
    assert [name for (name,) in rows if spelling(demangled(name) or "") != spelling(_by_gnu(name))] == []


def _by_gnu(mangled: str) -> str:
    library = ctypes.util.find_library("stdc++")
    if library is None:
        pytest.skip("no libstdc++ here")
    demangle = ctypes.CDLL(library).__cxa_demangle
    demangle.restype = ctypes.c_void_p
    demangle.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    found = demangle(mangled.encode(), None, None, None)
    return ctypes.string_at(found).decode() if found else mangled  # a few bytes each are never freed
