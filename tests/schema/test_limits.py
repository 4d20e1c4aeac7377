"""Numbers that nothing measures: the last that is taken, the first that is not, wherever it stands."""

from __future__ import annotations

import math

import pytest

from perfkit.errors import UsageError
from perfkit.schema import limits


@pytest.mark.parametrize("number", [0, 1, -1, 10**18, -(10**18), 1e18, True, None, "1e99"])
def test_what_can_have_been_measured_is_taken(number):
    limits.check({"a": [number]})


@pytest.mark.parametrize("number", [10**18 + 1, -(10**18) - 1, 1.1e18, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    ("put", "where"),
    [
        (lambda number: {"a": number}, "a"),
        (lambda number: {"a": {"b": number}}, "a.b"),
        (lambda number: {"a": [0, {"b": number}]}, r"a\[1\].b"),
        (lambda number: {1: [number]}, r"1\[0\]"),
    ],
)
def test_what_cannot_is_refused_with_its_place(number, put, where):
    with pytest.raises(
        UsageError, match=rf"^{where} is beyond 1e\+18, which cannot have been measured: the file is damaged"
    ):
        limits.check(put(number))


@pytest.mark.parametrize("text", ["1000000000000000001", "-1000000000000000001", "9223372036854775808", "1e19", "1E19",
                                  "1e+19", "0.01E21"])  # fmt: skip
def test_a_number_beyond_the_limit_is_seen_in_json_however_it_is_written(text):
    with pytest.raises(UsageError, match=r"^steps\[0\] is beyond"):
        limits.check_json(f'{{"steps": [{text}]}}'.encode())
    limits.check_json(f'{{"config": {{"seed": {text}}}}}'.encode())  # which has checks of its own


@pytest.mark.parametrize("text", ["1000000000000000000", "999999999999999999", "0.1234567890123456789012", "1e18",
                                  "1e-30", "1e9"])  # fmt: skip
def test_long_and_small_numbers_in_json_are_taken(text):
    limits.check_json(f'{{"steps": [{text}]}}'.encode())
