"""Mend malformed JSON that profilers write: raw control characters, backslashes, quotes, NaN, stray commas."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from perfkit.regex import Regex
from perfkit.trace.chrome.events import DECODE_ERRORS

T = TypeVar("T")

_UNICODE_ESCAPE = (
    rb"u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}"
    rb"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_ESCAPE = rb'\\(?:["\\/bfnrt]|' + _UNICODE_ESCAPE + rb")"
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?"
_SOUND = Regex(
    rb'(?:"(?:[^"\\\x00-\x1f]++|' + _ESCAPE + rb')*+"'
    rb"|[\s{}\[\]]++"
    rb"|[,:](?!\s*+[,}\]])"
    rb"|(?:true|false|null|" + _NUMBER + rb")(?=[\s,:}\]]|\Z))*+"
)
"""The longest text that consists of valid tokens."""
_STRING = Regex(rb'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_WORD = Regex(rb'[^\s,:{}\[\]"\x00-\x1f]+')
_STRING_FLAW = Regex(_ESCAPE + rb"|\\u[0-9a-fA-F]{4}|\\|[\x00-\x1f]", re.DOTALL)

_MAX_SCRAPED = 64 * 1024
"""Largest event, in bytes, that is scraped (long runs of quotes would take too long)."""
_KNOWN = rb"ph|cat|name|pid|tid|ts|dur|id|args|bp|s"
_MEMBER_END = rb'(?=\s*+(?:,\s*+"(?:' + _KNOWN + rb')"\s*+:|\}\s*+(?:\}|,|\]|\Z)))'
_SCRAPED_MEMBER = Regex(
    rb'"(ph|cat|name|pid|tid|ts|dur|id)"\s*+:\s*+(?:"(.{0,4000}?)"' + _MEMBER_END + rb"|(" + _NUMBER + rb"))",
    re.DOTALL,
)
_SCRAPED_ARG = Regex(
    rb'"(correlation|[Ee]xternal id|Sequence number|Fwd thread id|Ev Idx|device|stream|bytes|graph node id)"'
    rb"\s*+:\s*+(-?[0-9]{1,20}+)(?=\s*+[,}])"
)


def mend(text: bytes, repairs: Counter[str]) -> bytes:
    """Replace every invalid token in the text; the replacements are counted in `repairs`."""
    text = _mend_encoding(text, repairs)
    parts: list[bytes] = []
    at = 0
    while True:
        sound = _SOUND.match(text, at)
        assert sound is not None
        parts.append(sound.group())
        at = sound.end()
        if at >= len(text):
            return b"".join(parts)
        replacement, at = _mend_token(text, at, repairs)
        parts.append(replacement)


def _mend_encoding(text: bytes, repairs: Counter[str]) -> bytes:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        mended = text.decode("utf-8", "replace").encode()
        repairs["bytes that are not UTF-8"] += mended.count(b"\xef\xbf\xbd") - text.count(b"\xef\xbf\xbd")
        return mended
    return text


def _mend_token(text: bytes, at: int, repairs: Counter[str]) -> tuple[bytes, int]:
    """Return the replacement of the invalid token at `at`, and the position where the text continues."""
    character = text[at : at + 1]
    if character == b'"':
        string = _STRING.match(text, at)
        if string is None:  # the string never ends: nothing after it can be trusted
            return text[at:], len(text)
        return b'"' + _STRING_FLAW.sub(_flaw_mender(repairs), string[1]) + b'"', string.end()
    if character == b":":
        repairs["missing value read as null"] += 1
        return b":null", at + 1
    if character == b",":
        repairs["stray comma"] += 1
        return b"", at + 1
    word = _WORD.match(text, at)
    if word is None:
        repairs["control character between tokens"] += 1
        return b"", at + 1
    repairs["bare word (NaN, N/A, ...) read as null"] += 1
    return b"null", word.end()


def _flaw_mender(repairs: Counter[str]) -> Callable[[re.Match[bytes]], bytes]:
    def mended(match: re.Match[bytes]) -> bytes:
        flaw = match.group()
        if flaw == b"\\":
            repairs["unescaped backslash"] += 1
            return b"\\\\"
        if flaw[:1] == b"\\" and re.fullmatch(_ESCAPE, flaw):
            return flaw
        if flaw[:1] == b"\\":
            repairs["lone surrogate"] += 1
            return b"\\ufffd"
        repairs["raw control character in a string"] += 1
        return b"\\u%04x" % flaw[0]

    return mended


def mended_event(
    text: bytes, repairs: Counter[str], decode: Callable[[bytes], list[T]], *, scrape: bool
) -> list[T] | None:
    """Mend the event or events in a text that `decode` rejects; return None where that does not help.

    With `scrape`, the last resort for raw quotes in names, members are recognised by patterns.
    """
    done: Counter[str] = Counter()
    for attempt in (mend, _scraped) if scrape else (mend,):
        done.clear()
        try:
            events = decode(attempt(text, done))
        except DECODE_ERRORS:
            continue
        repairs.update(done)
        return events
    return None


def _scraped(text: bytes, repairs: Counter[str]) -> bytes:
    """Rebuild the event from the members that can be recognised; it does not decode if there are too few."""
    members: dict[bytes, bytes] = {}
    if len(text) > _MAX_SCRAPED:
        return b"?"
    for key, string, number in _SCRAPED_MEMBER.findall(text):
        members.setdefault(key, number or b'"' + _requoted(string) + b'"')
    if not members.keys() >= {b"ph", b"name", b"ts"}:
        return b"?"
    args = dict(_SCRAPED_ARG.findall(text))
    repairs["raw quotes in an event: its members were found by pattern"] += 1
    inner = b",".join(b'"%s":%s' % item for item in args.items())
    outer = b",".join(b'"%s":%s' % item for item in members.items())
    return mend(b"{" + outer + b',"args":{' + inner + b"}}", repairs)


def _requoted(string: bytes) -> bytes:
    return re.sub(rb'\\(.)|"', lambda m: m.group() if m.group(1) else rb"\"", string, flags=re.DOTALL)
