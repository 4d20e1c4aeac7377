"""Quantities as text, and read from it. A unit begins where the value in it is 1."""

from __future__ import annotations

import math

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


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.30803, "308.0 ms"), (-0.30803, "-308.0 ms"), (0, "0 ns"), (2.5e-9, "2.500 ns"), (999e-9, "999.0 ns"),
        (1e-6, "1.000 us"), (999e-6, "999.0 us"), (1e-3, "1.000 ms"), (0.999, "999.0 ms"), (1.0, "1.000 s"),
        (12345.6, "12346 s"), (math.nan, "-"), (math.inf, "-"), (-math.inf, "-"),
    ],
)  # fmt: skip
def test_a_duration_has_the_unit_that_fits(seconds, text):
    assert units.duration(seconds) == text


def test_nanoseconds_are_durations_too():
    assert units.duration_ns(307_197) == "307.2 us"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.30803, 4, "0.3080"), (-0.30803, 4, "-0.3080"), (1.0, 4, "1.000"),
        (999.96, 4, "1000.0"),
        (12345.6, 4, "12346"), (0.0123, 2, "0.012"), (1e-9, 4, "0.000000001000"), (0.0, 4, "0"), (math.nan, 4, "-"),
        (math.inf, 4, "-"),
    ],
)  # fmt: skip
def test_digits_are_significant_and_there_is_no_exponent(value, digits, text):
    assert units.significant(value, digits) == text


def test_four_digits_are_significant_unless_told():
    assert units.significant(3.14159265) == "3.142"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (-1024, "-1.0 KiB"), (1024**2 - 1, "1024.0 KiB"),
        (29_420_000_000, "27.4 GiB"), (2**40, "1.0 TiB"), (5 * 2**50, "5120.0 TiB"), (math.nan, "-"),
    ],
)  # fmt: skip
def test_a_size_has_the_binary_unit_that_fits_and_none_beyond_tebibytes(count, text):
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.2, "8 s"), (89, "89 s"), (90, "2 min"), (240, "4 min"), (89 * 60, "89 min"), (90 * 60, "1 h 30 min"),
     (130 * 60, "2 h 10 min"), (180 * 60 + 20, "3 h 00 min")],
)  # fmt: skip
def test_a_time_to_plan_by_is_rough(seconds, text):
    assert units.rough_duration(seconds) == text


@pytest.mark.parametrize(("text", "ratio"), [("1%", 0.01), (" 2.5 % ", 0.025), (".5%", 0.005), ("100%", 1.0)])
def test_percentages_are_read(text, ratio):
    assert units.parse_percentage(text) == ratio


@pytest.mark.parametrize("text", ["", "1", "%", "-1%", "1%%", "one%", "1e2%"])
def test_what_is_no_percentage_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="write it as 1%"):
        units.parse_percentage(text)


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.0579, "5.79%"), (0.0999, "9.99%"), (0.1, "10.0%"), (0.105, "10.5%"), (-0.25, "-25.0%"), (0, "0.00%"),
     (math.nan, "-")],
)  # fmt: skip
def test_a_percentage_has_two_decimals_below_ten_and_one_above(ratio, text):
    assert units.percent(ratio) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(16_736, "16.7K"), (999_900, "999.9K"), (10**6, "1.0M"), (128_625_408, "128.6M"), (999_900_000, "999.9M"),
     (10**9, "1.000B"), (3_406_809_600, "3.407B")],
)  # fmt: skip
def test_parameters_are_counted_in_thousands_millions_and_billions(count, text):
    assert units.parameters(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1_234_567, "1,234,567"), (1234.0, "1,234"), (1234.56, "1,234.6"), (math.nan, "-")]
)
def test_a_count_has_a_decimal_only_where_it_is_a_mean(value, text):
    assert units.count(value) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (989.4e12, "989.4 T"),
        (3.35e12, "3.350 T"),
        (52.8e9, "52.80 G"),
        (9.99e5, "999.0 k"),
        (1.55e15, "1.550 P"),
        (0, "0 "),
    ],
)
def test_a_rate_is_followed_by_its_unit(per_second: float, text: str) -> None:
    assert units.rate(per_second) == text
