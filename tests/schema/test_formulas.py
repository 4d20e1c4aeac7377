"""Cells that a spreadsheet would run, and those that it would not."""

from __future__ import annotations

import pytest

from perfkit.schema.formulas import defused, restored


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@a", "\ta", "\ra", "\na", "'a", "\uff1da", "\uff0ba", "\uff0da",
                                  "\uff20a", "-", "+.", "-1.2.3", "+1e", "-1 2", "=1"])  # fmt: skip
def test_a_formula_gets_an_apostrophe_and_loses_it_again(text):
    assert defused(text) == "'" + text
    assert restored(defused(text)) == text


@pytest.mark.parametrize("text", ["", "a", "a=1", "1", "-1", "+1", "-1.", "-.5", "-1.25", "-1e9", "+1.5E-3", "a'b"])
def test_text_and_numbers_stay_as_they_are(text):
    assert defused(text) == restored(text) == text
