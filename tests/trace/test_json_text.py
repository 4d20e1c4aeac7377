"""Finding ends in JSON text: exact where it must be, refutable where it guesses."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.trace import json_text
from perfkit.trace.json_text import Window, last_boundary, objects, value_end

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


def windowed(text: bytes, chunk: int, piece: int) -> Window:
    return Window((text[at : at + piece] for at in range(0, len(text), piece)), chunk)


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


def test_an_endless_event_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "MAX_UNREAD", 1000)
    window = Window(iter(lambda: b"x" * 100, None), 100)
    while window.fill():
        pass
    assert 1000 < len(window.data) <= 2200
