"""Number texts to exact integers."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.trace.chrome.events import Args, Event, decode, integers, thread_number, thread_numbers
from perfkit.trace.chrome.times import nanoseconds
from perfkit.trace.columns import MAX_NS, MISSING


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


@pytest.mark.parametrize(
    ("value", "integer"),
    [(5, 5), (-7, -7), ("12", 12), ("0x1f", 31), ("0X1F", 31), ("x", MISSING), ("", MISSING), (None, MISSING),
     (2**63 - 1, 2**63 - 1), (2**63, MISSING), (-(2**63) - 1, MISSING), ("9" * 30, MISSING), ("9" * 9999, MISSING)],
)  # fmt: skip
def test_integers(value: int | str | None, integer: int) -> None:
    assert integers([value]).tolist() == [integer]
    assert integers([1, value, 2]).tolist() == [1, integer, 2]


def test_thread_numbers_are_stable_and_apart_from_real_ones() -> None:
    assert thread_number("Spans") == thread_number("Spans") < MISSING
    assert thread_number("Spans") != thread_number("Traces")
    assert thread_numbers([7, "7", "Spans", None]).tolist() == [7, 7, thread_number("Spans"), MISSING]
    assert thread_number("0_71") < MISSING  # int("0_71") is 71
    assert thread_numbers(["0_71", "71"]).tolist() == [thread_number("0_71"), 71]


def _one(**members: str) -> Event:
    [event] = decode(b"{" + b",".join(f'"{key}":{text}'.encode() for key, text in members.items()) + b"}")
    return event


@pytest.mark.parametrize(
    ("text", "number"),
    [("5", 5), ('"5"', "5"), ("3.0", 3), ("3.5", None), ("true", None), ("null", None), ("[1]", None), ("{}", None),
     ("1e999", None), ("-7", -7)],
)  # fmt: skip
def test_members_of_an_unexpected_type_are_read_as_best_they_can_be(text: str, number: int | str | None) -> None:
    event = _one(ph='"X"', name="12", pid=text, tid=text, id=text, args=f'{{"device":{text},"other":[{{}}]}}')
    assert (event.ph, event.name, event.cat) == ("X", "12", "")
    assert event.pid == event.tid == event.id == number
    assert event.args is not None
    assert event.args.device == number


@pytest.mark.parametrize(
    ("text", "name"),
    [('"a"', "a"), ("5", "5"), ("null", ""), ("true", "true"), ("[1, 2]", "[1, 2]"), ('{"a":1}', '{"a":1}')],
)
def test_a_name_that_is_no_text_is_as_it_was_written(text: str, name: str) -> None:
    event = _one(name=text, cat="1", ts="1.5", dur="2", pid="false")
    assert (event.name, event.cat, event.pid) == (name, "1", None)
    assert (bytes(event.ts), bytes(event.dur)) == (b"1.5", b"2")


@pytest.mark.parametrize("args", ["null", "5", '"x"', "[1]"])
def test_args_that_are_no_object_hold_nothing(args: str) -> None:
    event = _one(name='"a"', args=args)
    assert event.args is None or event.args == Args()
    assert _one(name="5", args=args).args in (None, Args())


def test_no_absent_member_is_made_up() -> None:
    assert _one(name="5") == Event(name="5", args=Args())


@pytest.mark.parametrize(("length", "ns"), [(100, 1000), (101, None)])
def test_a_time_has_a_hundred_characters_at_most(length: int, ns: int | None) -> None:
    assert converted("1." + "0" * (length - 2)) == [ns]


@pytest.mark.parametrize("text", ["-9223372036854775808", "9223372036854775807"])
def test_the_ends_of_int64_are_integers(text: str) -> None:
    assert integers([int(text)]).tolist() == integers([text]).tolist() == [int(text)]
