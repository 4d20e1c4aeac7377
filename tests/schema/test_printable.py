"""What a terminal obeys is spelled out, and nothing else changes."""

from __future__ import annotations

import pytest

from perfkit.schema.printable import printable


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("", ""), ("a b-ü\\", "a b-ü\\"), ("a\nb", r"a\nb"), ("\x1b[31mred", r"\x1b[31mred"), ("ü\t", r"ü\t"),
        ("a\u202eb", r"a\u202eb"), ("\ud800", r"\ud800"), ("\U000e0001", r"\U000e0001"),
    ],
)  # fmt: skip
def test_only_what_cannot_be_printed_is_spelled_out(name, shown):
    assert printable(name) == shown
