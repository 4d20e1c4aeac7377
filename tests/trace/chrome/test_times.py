"""Microseconds of JSON to exact nanoseconds."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.trace.chrome.times import FARTHEST_US, RoundedError, nanoseconds
from perfkit.trace.columns import MAX_NS


def converted(*texts: str) -> list[int | None]:
    values, valid = nanoseconds([msgspec.Raw(text.encode()) for text in texts])
    assert values.dtype == np.int64
    return [value if good else None for value, good in zip(values.tolist(), valid.tolist(), strict=True)]


def exact(text: str) -> int | None:
    ns = int((Decimal(text) * 1000).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    return ns if abs(ns) <= MAX_NS else None


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("5", 5000),
        ("5.1", 5100),
        ("5.12", 5120),
        ("5.123", 5123),
        ("0.001", 1),
        ("1712195495519689.047", 1712195495519689047),
        ("1712195495519689", 1712195495519689000),
        ("2305843009213693.952", MAX_NS),
        ("2305843009213693.953", None),
        ("9999999999999999.999", None),
        ("99999999999999999999", None),
        ("9" * 60, None),
        ("-0.5", -500),
        ("-2305843009213693.952", -MAX_NS),
        ("-2305843009213693.953", None),
        ('"2305843009213693.952"', MAX_NS),
        ('"2305843009213693.953"', None),
        ("1.5e3", 1_500_000),
        ("1E-3", 1),
        ("1e400", None),
        ("1e-999999", 0),
        ("0e40", 0),
        ('"12.5"', 12500),
        ('" 12 "', 12000),
        ('"NaN"', None),
        ('"Infinity"', None),
        ('""', None),
        ('"x"', None),
        ("null", None),
        ("true", None),
        ("[1]", None),
        ('{"a": 1}', None),
        ("0.0004", 0),
        ("0.0005", 0),
        ("0.0015", 2),
        ("1234567890.1235", 1234567890124),
        ("1.2345678901234567890123456789", 1235),
    ],
)
def test_one_time(text: str, ns: int | None) -> None:
    assert converted(text) == [ns]
    # the neighbours of an odd text are not touched, whichever way they are converted
    assert converted("7", text, "8.25") == [7000, ns, 8250]
    assert converted("1712195495519689.047", text) == [1712195495519689047, ns]


@pytest.mark.parametrize(
    "texts",
    ["7.5 1.250", "1.250 7.5", "0.123 7.5 1", "1.2345 5", "5 1.2345 1.500", "7.5 1 1.125 1.2"],
)
def test_times_of_three_decimals_beside_others(texts: str) -> None:
    """GIVEN as many points as times, or points where three decimals would have them THEN each is read by itself"""
    assert converted(*texts.split()) == [exact(text) for text in texts.split()]


def test_no_times() -> None:
    assert converted() == []


def test_an_absent_time_is_none() -> None:
    values, valid = nanoseconds([msgspec.Raw(b""), msgspec.Raw(b"1"), msgspec.Raw(b"")])
    assert valid.tolist() == [False, True, False]
    assert values[1] == 1000


_NS = st.one_of(st.integers(0, 10**6), st.integers(0, MAX_NS + 5), st.integers(10**18, 2 * 10**18))
_TEXTS = st.one_of(
    _NS.map(lambda ns: f"{Decimal(ns) / 1000:.3f}"),
    _NS.map(lambda ns: f"{Decimal(ns) / 1000:f}"),
    _NS.map(lambda ns: str(ns // 1000)),
    st.decimals(-(10**16), 10**16, allow_nan=False, places=5).map(lambda value: f"{value:f}"),
)


@given(st.lists(_TEXTS, min_size=1, max_size=12))
def test_any_times_equal_decimal_arithmetic(texts: list[str]) -> None:
    assert converted(*texts) == [exact(text) for text in texts]


@pytest.mark.parametrize(("length", "ns"), [(100, 1000), (101, None)])
def test_a_time_has_a_hundred_characters_at_most(length: int, ns: int | None) -> None:
    assert converted("1." + "0" * (length - 2)) == [ns]


def of_floats(*texts: str) -> list[int | None]:
    values, valid = nanoseconds(msgspec.json.decode(f"[{','.join(texts)}]".encode(), type=list[float]))
    assert values.dtype == np.int64
    return [value if good else None for value, good in zip(values.tolist(), valid.tolist(), strict=True)]


_NEAR_NS = int(FARTHEST_US) * 1000 - 1
_NEAR = st.one_of(st.integers(-_NEAR_NS, _NEAR_NS), st.integers(_NEAR_NS - 10**4, _NEAR_NS), st.integers(-5000, 5000))


@given(st.lists(_NEAR, min_size=1, max_size=50))
def test_floats_of_three_decimals_are_exact(times: list[int]) -> None:
    """GIVEN whole nanoseconds nearer than 50 days THEN their floats tell them"""
    assert of_floats(*(f"{Decimal(ns) / 1000:.3f}" for ns in times)) == times


def test_the_last_float_before_the_limit_is_exact_and_its_neighbours_are_told_apart() -> None:
    """GIVEN each nanosecond of the last 20 us, where floats are half a nanosecond apart THEN all are right"""
    times = list(range(_NEAR_NS - 20_000, _NEAR_NS + 1))
    assert of_floats(*(f"{Decimal(ns) / 1000:.3f}" for ns in times)) == times


_FINER = st.one_of(
    st.tuples(_NEAR, st.integers(1, 9999)).map(lambda parts: f"{Decimal(parts[0]) / 1000:.3f}{parts[1]:04d}"),
    st.tuples(_NEAR, st.sampled_from(["5", "49", "51", "4999999", "5000001", "0000001"])).map(
        lambda parts: f"{Decimal(parts[0]) / 1000:.3f}{parts[1]}"
    ),
    _NEAR.map(lambda ns: f"{ns}e-{4 + ns % 3}"),
    st.floats(-(2.0**41), 2.0**41, allow_nan=False).map(json.dumps),
)


@given(_FINER)
def test_a_float_of_more_decimals_is_exact_or_refused(text: str) -> None:
    """GIVEN any decimals THEN the nanosecond that the text is nearest to, or RoundedError: never another one"""
    try:
        (found,) = of_floats(text)
    except RoundedError:
        assert exact(text) is not None
        return
    assert found == exact(text)


def test_a_float_between_two_nanoseconds_is_refused() -> None:
    for text in ("0.0005", "12.3455", "3100000000002.7315", "1e-5"):
        with pytest.raises(RoundedError):
            of_floats("1.5", text)


def test_texts_and_floats_in_one_list() -> None:
    """GIVEN times of a piece that was mended beside others THEN each is read as what it is; nan is none"""
    values, valid = nanoseconds([1.25, msgspec.Raw(b"1712195495519689.047"), float("nan"), msgspec.Raw(b'"x"')])
    assert values.tolist() == [1250, 1712195495519689047, 0, 0]
    assert valid.tolist() == [True, True, False, False]
    assert nanoseconds([msgspec.Raw(b"2"), 0.001])[0].tolist() == [2000, 1]
    with pytest.raises(RoundedError):
        nanoseconds([msgspec.Raw(b"2"), 0.0001])
