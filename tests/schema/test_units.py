"""Sizes read from text; what is written is in the renderers' tests."""

from __future__ import annotations

import pytest

from perfkit.errors import UsageError
from perfkit.schema import units


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16GB", 16 * 2**30), ("15.6GiB", round(15.6 * 2**30)), ("16 gib", 2**34), ("24G", 24 * 2**30),
        ("512MiB", 2**29), ("1.5TB", round(1.5 * 2**40)), ("2048 KiB", 2**21), ("100B", 100),
    ],
)  # fmt: skip
def test_sizes_are_read(text, size):
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "16", "GB", "-1GB", "0GB", "16 XB", "1e3GB", "16GB!", "nan GB", "1.GB"])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="write it as 16GB"):
        units.parse_size(text)


def test_what_is_written_is_read_again():
    for size in (2**30, 5 * 2**20, 7 * 2**40, 17):
        assert units.parse_size(units.size(size)) == size
