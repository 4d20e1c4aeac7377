"""Ordered tables: the first pattern decides for a text, the first word for words."""

from __future__ import annotations

from perfkit.analysis.kernels.names import LOOKED_AT
from perfkit.analysis.kernels.patterns import first, first_of, table

TABLE = table(("one", "nobody", r"alpha|^gamma$"), ("two", "nobody", r"beta"))


def test_the_first_pattern_decides_for_a_text() -> None:
    assert first(TABLE, "beta_alpha") == "one"
    assert first(TABLE, "beta") == "two"
    assert first(TABLE, "delta") is None


def test_the_first_word_decides_for_words_and_the_first_pattern_for_a_word() -> None:
    assert first_of(TABLE, ("delta", "beta", "alpha")) == "two"
    assert first_of(TABLE, ("delta", "beta_alpha")) == "one"
    assert first_of(TABLE, ("delta",)) is None
    assert first_of(TABLE, ()) is None


def test_a_word_is_read_by_itself() -> None:
    assert first_of(TABLE, ("delta", "gamma", "beta")) == "one"
    assert first_of(TABLE, ("al", "pha")) is None


def test_nothing_is_looked_at_far_out() -> None:
    assert first(TABLE, "x" * (LOOKED_AT - 4) + "beta") == "two"
    assert first(TABLE, "x" * (LOOKED_AT - 3) + "beta") is None
