"""Ordered tables: the first pattern that matches decides."""

from __future__ import annotations

from perfkit.analysis.kernels.names import LOOKED_AT
from perfkit.analysis.kernels.patterns import first, table

TABLE = table(("one", "nobody", r"alpha"), ("two", "nobody", r"beta"))


def test_the_first_pattern_decides_for_a_text() -> None:
    assert first(TABLE, "beta_alpha") == "one"
    assert first(TABLE, "beta") == "two"
    assert first(TABLE, "delta") is None


def test_nothing_is_looked_at_far_out() -> None:
    assert first(TABLE, "x" * (LOOKED_AT - 4) + "beta") == "two"
    assert first(TABLE, "x" * (LOOKED_AT - 3) + "beta") is None
