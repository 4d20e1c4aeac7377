"""No two names share a short form: what differs is kept, then there are numbers."""

from __future__ import annotations

import random

from perfkit.analysis.kernels.short_names.unique import short_names
from tests.analysis.kernels.known_names import BY_NAME

GEMM = "cutlass_80_tensorop_s1688gemm_128x128_{}_nn_align{}"


def test_a_name_alone_has_its_own_form():
    assert short_names([GEMM.format("16x4", 4)]) == {GEMM.format("16x4", 4): "gemm 128x128x16 tf32 nn (cutlass)"}


def test_what_a_rule_knows_besides_comes_first():
    """GIVEN gemms that differ in stages and alignment THEN each says its own, and nothing that they share"""
    short = short_names([GEMM.format("16x4", 4), GEMM.format("16x5", 4), GEMM.format("16x5", 1)])
    assert list(short.values()) == [
        "gemm 128x128x16 tf32 nn (cutlass) · 4 stages, align 4",
        "gemm 128x128x16 tf32 nn (cutlass) · 5 stages, align 1",
        "gemm 128x128x16 tf32 nn (cutlass) · 5 stages, align 4",
    ]


def test_then_what_differs_in_the_names_themselves():
    """GIVEN flags that no rule knows THEN the argument is named by its place; settings of Tensile by themselves"""
    flags = short_names([f"void lab::f<float, {flag}, 8>(int)" for flag in ("true", "false")])
    assert sorted(flags.values()) == ["f (float, 8, lab) · arg 2 false", "f (float, 8, lab) · arg 2 true"]
    tensile = short_names([f"Cijk_Alik_Bljk_BBS_BH_MT64x64x64_SN_PGR2_ULSGRO{n}_WGM8" for n in (0, 1)])
    assert sorted(text.partition(" · ")[2] for text in tensile.values()) == ["ULSGRO0", "ULSGRO1"]


def test_names_of_different_lengths():
    short = short_names(["void lab::f<float, A<1, 2>, int>(int)", "void lab::f<float, B, int>(int)"])
    assert sorted(short.values()) == ["f (float, int32, lab) · A", "f (float, int32, lab) · B"]


def test_last_a_number():
    """GIVEN names that differ only in what is no part of a form THEN they are numbered in the order of the names"""
    assert short_names(["void f(int)", "void f(long)"]) == {"void f(int)": "f #1", "void f(long)": "f #2"}
    assert short_names(["f #1", "void f(int)", "void f(long)"])["void f(long)"] != "f #1"


def test_many_alike_are_numbered():
    names = [f"void f({'int, ' * n}int)" for n in range(500)]
    assert len(set(short_names(names).values())) == 500


def test_the_order_does_not_matter_and_a_name_given_twice_is_one():
    names = [name for known in BY_NAME.values() for name in known]
    short = short_names(names)
    assert len(set(short.values())) == len(set(names))
    random.Random(3).shuffle(names)
    assert short_names([*names, *names]) == short


def test_a_long_name_is_short_and_a_number_says_what_it_is():
    """GIVEN names of one word of 10,000 letters, and one whose other words every kernel has THEN they are readable"""
    long = ["k" * 10_000, "k" * 9_999 + "x"]
    found = short_names([*long, "kernel_7"])
    assert found["kernel_7"] == "kernel 7"
    assert max(map(len, found.values())) <= 160
    assert len(set(found.values())) == 3
