"""Mending text by itself: token for token, and each repair counted once. test_mending.py has whole documents."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.trace.chrome.events import decode
from perfkit.trace.chrome.mend import mend, mended_event

CONTROL = "raw control character in a string"
WORD = "bare word (NaN, N/A, ...) read as null"


@pytest.mark.parametrize(
    ("text", "mended", "repairs"),
    [
        (rb'{"a": "x\y"}', rb'{"a": "x\\y"}', {"unescaped backslash": 1}),
        (rb'["\u00e9", "\u12", "\n", "\/"]', rb'["\u00e9", "\\u12", "\n", "\/"]', {"unescaped backslash": 1}),
        (rb'["\ud83d", "\ude00", "\ud83d\ude00"]', rb'["\ufffd", "\ufffd", "\ud83d\ude00"]', {"lone surrogate": 2}),
        (b'["a\nb\x00\x1f"]', rb'["a\u000ab\u0000\u001f"]', {CONTROL: 3}),
        (b'["caf\xe9", "\xff\xfe"]', '["caf\ufffd", "\ufffd\ufffd"]'.encode(), {"bytes that are not UTF-8": 3}),
        ('["\ufffd", "\xe9"]'.encode(), '["\ufffd", "\xe9"]'.encode(), {}),
        ('["\ufffd"]'.encode() + b"\xe9", '["\ufffd"]null'.encode(), {"bytes that are not UTF-8": 1, WORD: 1}),
        (b"[NaN, -inf, N/A, 007, 1., 0x1f]", b"[null, null, null, null, null, null]", {WORD: 6}),
        (b"[-0.5e-3, 12, 0]", b"[-0.5e-3, 12, 0]", {}),
        (b"[1,]", b"[1]", {"stray comma": 1}),
        (b"[1,,2 , ]", b"[1,2  ]", {"stray comma": 2}),
        (b'{"a":,"b": }', b'{"a":null,"b":null }', {"missing value read as null": 2}),
        (b'{"a"\x01:\x00 1}', b'{"a": 1}', {"control character between tokens": 2}),
        (b'[true, false, null, {"a": [1, {}]}]', b'[true, false, null, {"a": [1, {}]}]', {}),
        (b'[1, "never ends', b'[1, "never ends', {}),
        (b"", b"", {}),
        (b"truely", b"null", {WORD: 1}),
    ],
)  # fmt: skip
def test_a_token_is_mended_and_counted(text: bytes, mended: bytes, repairs: dict[str, int]) -> None:
    done: Counter[str] = Counter()
    assert mend(text, done) == mended
    assert done == repairs


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_is_sound_stays_as_it_is(value: object) -> None:
    done: Counter[str] = Counter()
    for text in (json.dumps(value).encode("utf-8", "surrogatepass"), json.dumps(value, indent=1).encode()):
        assert mend(text, done) == text
    assert not done


def event(name: bytes, more: bytes = b"") -> bytes:
    return b'{"ph":"X","cat":"cpu_op","name":"%s","pid":1,"tid":2,"ts":3.5,"dur":4%s}' % (name, more)


QUOTES = "raw quotes in an event: its members were found by pattern"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b'say "hello"', 'say "hello"'), (b'f("a", "b")', 'f("a", "b")'),
        (rb'mixed "a" and \"b\"', 'mixed "a" and "b"'),
        (b'a "b', 'a "b'),
    ],
)  # fmt: skip
def test_raw_quotes_in_a_name_are_found_by_the_looks_of_its_neighbours(name: bytes, expected: str) -> None:
    # GIVEN
    done: Counter[str] = Counter()
    text = event(name, b',"args":{"correlation": 7,"External id":-8 ,"stream":9, "x":"y"}')

    # WHEN
    found = mended_event(text, done, decode, scrape=True)

    # THEN
    assert found is not None
    [one] = found
    assert (one.name, one.ph, one.cat, one.pid, one.tid) == (expected, "X", "cpu_op", 1, 2)
    assert (bytes(one.ts), bytes(one.dur)) == (b"3.5", b"4")
    assert one.args is not None
    assert (one.args.correlation, one.args.external_id, one.args.stream) == (7, -8, 9)
    assert done == {QUOTES: 1}


def test_looks_count_only_where_they_are_asked_for() -> None:
    done: Counter[str] = Counter()
    assert mended_event(event(b'say "hello"'), done, decode, scrape=False) is None
    assert done == {}


def test_what_an_attempt_that_failed_has_mended_is_not_counted() -> None:
    """GIVEN an event with a NaN and raw quotes WHEN the mending fails THEN the last resort's repairs are all"""
    done: Counter[str] = Counter({"before": 1})
    assert mended_event(event(b'say "hello"', b',"x":NaN'), done, decode, scrape=True) is not None
    assert done == {"before": 1, QUOTES: 1}


@pytest.mark.parametrize("lost", [b'"ph":"X",', b'"name":"', b'"ts":3.5,'])
def test_an_event_without_its_phase_name_or_time_cannot_be_made_out(lost: bytes) -> None:
    text = event(b'a "b" c').replace(lost, b'"' if lost.endswith(b'"') else b"")
    assert mended_event(text, Counter(), decode, scrape=True) is None


@pytest.mark.parametrize(("length", "there"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_an_event_of_more_than_64_kib_is_not_worth_the_trouble(length: int, there: bool) -> None:
    text = event(b'a "b" c')
    text = text[:-1] + b" " * (length - len(text)) + b"}"
    assert len(text) == length
    assert (mended_event(text, Counter(), decode, scrape=True) is not None) is there


def test_the_first_of_two_members_counts() -> None:
    found = mended_event(event(b'a "b" c', b',"ts":9'), Counter(), decode, scrape=True)
    assert found is not None
    assert bytes(found[0].ts) == b"3.5"
