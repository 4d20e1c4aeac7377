"""What a terminal obeys is spelled out, what a spreadsheet would run is marked, and nothing else changes."""

from __future__ import annotations

import pytest

from perfkit.schema.printable import defused, printable, restored


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", ""), ("a b-ü\\", "a b-ü\\"), ("a\nb", r"a\nb"), ("\x1b[31mred", r"\x1b[31mred"), ("ü\t", r"ü\t"),
        ("a\u202eb", r"a\u202eb"), ("\ud800", r"\ud800"), ("\U000e0001", r"\U000e0001"),
    ],
)  # fmt: skip
def test_only_what_cannot_be_printed_is_spelled_out(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "\ta", "\ra", "\na", "'a", "\uff1da", "\uff0ba", "\uff0da",
                                  "\uff20a", "-", "+.", "-1.2.3", "+1e", "-1 2", "=1"])  # fmt: skip
def test_a_formula_gets_an_apostrophe_and_loses_it_again(text):
    assert defused(text) == "'" + text
    assert restored(defused(text)) == text


@pytest.mark.parametrize("text", ["", "a", "a=1", "1", "-1", "+1", "-1.", "-.5", "-1.25", "-1e9", "+1.5E-3", "a'b"])
def test_text_and_numbers_stay_as_they_are(text):
    assert defused(text) == restored(text) == text
