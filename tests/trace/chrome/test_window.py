"""Finding ends in JSON text: exact where it must be, refutable where it guesses."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.trace.chrome.window import MAX_UNREAD, Window, last_boundary, objects, value_end

_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["}", "]", '"', "\\"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(_VALUES, st.sampled_from([None, 1]))
def test_a_value_ends_where_json_says(value: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent).encode()
    for rest in (b",", b"}", b"]", b' , "x": 1}'):
        assert value_end(text + rest, 0, ended=False) == len(text)
    assert value_end(b"  " + text + b",", 2, ended=False) == 2 + len(text)
    assert value_end(text, 0, ended=True) == len(text)
    if text[:1] in (b'"', b"{", b"["):
        for cut in range(1, len(text)):
            assert value_end(text[:cut], 0, ended=True) == -1


@given(st.lists(st.dictionaries(st.text(max_size=3), _VALUES, max_size=3), max_size=5), st.sampled_from([None, 2]))
def test_objects_finds_every_object_and_the_bracket(listed: list[dict[str, Any]], indent: int | None) -> None:
    text = json.dumps(listed, indent=indent).encode()
    spans, close = objects(text + b', "more": [{}]}', 1)
    assert [json.loads(text[start:end]) for start, end in spans] == listed
    assert close == len(text) - 1
    spans, close = objects(text[:-1], 1)
    assert len(spans) == len(listed)
    assert close == -1


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (b'{"ph":1},{"ph":2},{"ph":3', b'{"ph":1},{"ph":2}'),
        (b'{"ph":1} \n,\n {"name" : 2', b'{"ph":1}'),
        (b'{"ph":1,"args":{"a":[{"x":1},{"x":2}]}}', None),
        (b'{"ph":1},{"id":2},{"ph":', b'{"ph":1},{"id":2}'),
        (b'{"ph":1},{"id":2},{"other":', None),
        (b'{"ph":1} {"ph":2}', None),
        (b'{"ph":1,"args":{}} {"ph":2}', None),
        (b"", None),
    ],
)
def test_the_last_boundary(text: bytes, cut: bytes | None) -> None:
    assert last_boundary(text, 0) == (-1 if cut is None else len(cut))


def windowed(text: bytes, chunk: int, piece: int, most_unread: int = MAX_UNREAD) -> Window:
    return Window((text[at : at + piece] for at in range(0, len(text), piece)), chunk, most_unread)


@pytest.mark.parametrize("chunk", [1, 5, 100])
@pytest.mark.parametrize("piece", [1, 3, 100])
def test_a_window_walks_over_its_text(chunk: int, piece: int) -> None:
    window = windowed(b'  {"a": [1, 2]}  "b" 17', chunk, piece)
    assert window.skip_blank() == ord("{")
    assert window.offset == 2
    assert window.take_value() == b'{"a": [1, 2]}'
    assert window.skip_blank() == ord('"')
    assert window.take_value() == b'"b"'
    assert window.skip_blank() == ord("1")
    assert window.offset == 21
    assert window.take_value() == b"17"
    assert window.skip_blank() == -1
    assert window.offset == 23


def test_a_value_that_does_not_end_is_none_and_stays() -> None:
    window = windowed(b'{"a": "b}', 3, 2)
    assert window.take_value() is None
    assert window.offset == 0
    assert window.data == b'{"a": "b}'


@pytest.mark.parametrize("piece", [1, 3, 50])
def test_seek(piece: int) -> None:
    pattern = re.compile(rb"needle\s{0,3}!")
    window = windowed(b"x" * 40 + b"needle ?" + b"needle  ! rest", 1, piece)
    assert window.seek(pattern, 10)
    assert window.take_value() == b""
    assert window.skip_blank() == ord("r")
    assert not windowed(b"needle", 1, piece).seek(pattern, 10)


def test_an_endless_event_is_not_read_to_its_end() -> None:
    window = Window(iter(lambda: b"x" * 100, None), 100, most_unread=1000)
    while window.fill():
        pass
    assert 1000 < len(window.data) <= 2200


@pytest.mark.parametrize(
    ("blanks", "found"),
    [(0, True), (62, True), (63, False)],  # `}`, `,` and 62 blanks are 64 bytes
)
def test_a_boundary_is_looked_for_64_bytes_before_an_event(blanks: int, found: bool) -> None:
    text = b'{"ph":1},' + b" " * blanks + b'{"ph":2}'
    assert last_boundary(text, 0) == (len(b'{"ph":1}') if found else -1)


@pytest.mark.parametrize(("braces", "found"), [(199, True), (200, False)])
def test_a_boundary_is_looked_for_before_200_braces(braces: int, found: bool) -> None:
    text = b'{"ph":1},{"ph":2,"x":[' + b"{}," * braces
    assert last_boundary(text, 0) == (len(b'{"ph":1}') if found else -1)


@pytest.mark.parametrize(("at", "cut"), [(0, 10), (2, 10), (10, -1), (11, -1), (12, -1)])
def test_a_boundary_lies_behind_the_cursor(at: int, cut: int) -> None:
    assert last_boundary(b'xx{"ph":1},{"ph":2}', at) == cut


@pytest.mark.parametrize(("end", "close"), [(b"]", 9), (b"}", -1), (b'"', -1), (b"", -1)])
def test_only_a_bracket_closes_an_array(end: bytes, close: int) -> None:
    assert objects(b'{"ph":1} ' + end, 0) == ([(0, 8)], close)


@pytest.mark.parametrize(
    ("text", "seems"),
    [
        (b'{"ph":1}', True), (b' , \n,{ "name" :1', True), (b'{"id":1}', False), (b"{}", False), (b"]", False),
        (b"", False), (b" " * 100 + b'{"ts":1', True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("piece", [1, 1000])
def test_an_event_is_seen_at_the_cursor_whatever_was_read_of_it(text: bytes, seems: bool, piece: int) -> None:
    window = windowed(b"xy" + text, 200, piece)
    window.fill()
    window.at = 2
    assert window.at_event() is seems
    assert window.offset == 2


def test_a_window_holds_a_chunk_and_drops_what_lies_behind_it() -> None:
    # GIVEN pieces of 4 bytes, and chunks of 10
    window = windowed(b"abcdefghijklmnopqrstuvwxyz", 10, 4)
    assert window.is_low

    # WHEN three pieces are the first to hold a chunk
    assert window.fill()
    assert (window.data, window.base, window.ended) == (b"abcdefghijkl", 0, False)

    # THEN a chunk is enough, and less is low
    window.at = 2
    assert not window.is_low
    window.at = 3
    assert window.is_low
    assert window.fill()
    assert (window.data, window.base, window.at, window.offset) == (b"defghijklmnopqrstuvwx", 3, 0, 3)
    window.at = 20
    assert window.fill()
    assert (window.data, window.ended) == (b"xyz", True)
    assert not window.fill()


def test_what_has_not_ended_is_read_on_by_as_much_as_there_is() -> None:
    """GIVEN an event of many chunks WHEN reading on THEN by its own length, lest it be searched for ever"""
    window = windowed(b"x" * 100, 2, 1)
    lengths = []
    while window.fill():
        lengths.append(len(window.data))
    assert lengths == [2, 4, 8, 16, 32, 64, 100]


@pytest.mark.parametrize(("unread", "more"), [(1000, True), (1001, False)])
def test_more_than_the_limit_is_not_read_on(unread: int, more: bool) -> None:
    window = windowed(b"x" * 3000, unread, 1, most_unread=1000)
    assert window.fill()
    assert len(window.data) == unread
    assert window.fill() is more


def test_the_limit_is_64_mib() -> None:
    assert MAX_UNREAD == 64 * 2**20


def test_a_scalar_ends_with_the_file() -> None:
    assert value_end(b"17", 0, ended=False) == -1
    assert value_end(b"17", 0, ended=True) == 2
    assert windowed(b"17", 1, 1).take_value() == b"17"


def test_what_is_looked_for_may_begin_before_what_was_read() -> None:
    window = windowed(b"x" * 9 + b"needle", 1, 1)
    assert window.seek(re.compile(b"needle"), 6)
    assert window.offset == 15
