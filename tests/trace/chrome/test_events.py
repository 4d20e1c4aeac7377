"""Events as they are decoded, and their integers."""

from __future__ import annotations

import math

import pytest

from perfkit.trace.chrome.events import Args, Event, decode, decode_array, integers, thread_number, thread_numbers
from perfkit.trace.columns import MISSING


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


@pytest.mark.parametrize("text", ["-9223372036854775808", "9223372036854775807"])
def test_the_ends_of_int64_are_integers(text: str) -> None:
    assert integers([int(text)]).tolist() == integers([text]).tolist() == [int(text)]


@pytest.mark.parametrize(
    ("time", "read"), [("1.5", 1.5), ("-3", -3.0), ("4398046511103.999", 4398046511103.999), ("2e-1", 0.2)]
)
def test_times_are_floats_where_that_is_asked_for(time: str, read: float) -> None:
    """GIVEN times less than 50 days from zero THEN floats, and nan for none"""
    first, second = decode_array(f'[{{"ts":{time},"dur":2}},{{"ts":{time}}}]'.encode(), floats=True)
    assert (first.ts, first.dur, second.ts) == (read, 2.0, read)
    assert isinstance(second.dur, float)
    assert math.isnan(second.dur)


@pytest.mark.parametrize("time", ["4398046511104", "-4398046511104.5", '"1.5"', "null", "[1]", "1e999", "true"])
def test_times_that_no_float_tells_are_texts(time: str) -> None:
    """GIVEN a time that is far away, or no number THEN all times of the array are their texts"""
    for event in decode_array(f'[{{"ts":1,"dur":2.5}},{{"ts":{time},"dur":2.5}}]'.encode(), floats=True):
        assert bytes(event.dur) == b"2.5"
    assert bytes(event.ts) == time.encode()
