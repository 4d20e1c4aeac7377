"""Whatever a name holds, it is text."""

from __future__ import annotations

import pytest

from perfkit.render.html.text import clean, escaped, isolated


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("</script><b>", "&lt;/script&gt;&lt;b&gt;"),
        ("a\" onload='x'", "a&quot; onload=&#x27;x&#x27;"),
        ("one\ntwo\x1b[31m", "one\\ntwo\\x1b[31m"),
        ("\u202egnp", "\\u202egnp"),
        ("half \ud800", "half \\ud800"),
        ("line\u2028end", "line\\u2028end"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
    ],
)
def test_what_a_browser_would_act_on_is_spelled_out(name, shown):
    assert escaped(name) == shown


def test_long_names_keep_their_ends():
    """GIVEN 10,000 letters THEN 400 or fewer, with the first and the last"""
    shown = clean("<" + "k" * 9_998 + ">")
    assert len(shown) < 401
    assert (shown[0], shown[-1]) == ("<", ">")
    assert clean("k" * 400) == "k" * 400


def test_the_direction_of_writing_stays_inside():
    assert isolated("a") == "<bdi>a</bdi>"
