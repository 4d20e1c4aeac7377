"""A window over JSON text that arrives in pieces, and searches for where values in it begin and end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MAX_UNREAD = 64 << 20
"""Largest size, in bytes, of one event or one top-level value; reading stops at a larger one."""

EVENT_KEYS = rb"ph|cat|name|pid|tid|ts|dur|args|bp|s|tts|cname"
"""The possible first keys of an event (not `id`: devices in `deviceProperties` start with it)."""

BOUNDARY = re.compile(rb'\}\s*+,?\s*+(?=\{\s*+"(?:' + EVENT_KEYS + rb')"\s*+:)')
"""The text from one event's closing brace to the next event; the comma may be missing."""
ARRAY_END = re.compile(rb"\}\s*+,?\s*+\]")
"""An event's closing brace and the end of the array, if it is at the right depth."""

CLOSING = re.compile(rb'\}\s*+,?\s*+\](?=\s*+(?:,\s*+"|\}\s*+\Z))')
"""The end of the array, recognised by what usually follows it."""
EVENTS_KEY = re.compile(rb'"traceEvents"\s{0,20}+:\s{0,20}+\[')
JUNK = re.compile(rb"[ \t\n\r,]*+")
"""What may stand between two events."""

_EVENT_START = re.compile(rb'\{\s*+"(?:' + EVENT_KEYS + rb')"\s*+:')
_BLANK = re.compile(rb"[ \t\n\r]*+")
_FLAT = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,:\[\]{}]*+")
_MAX_GAP = 64
_MAX_TRIES = 200
_OPEN = b"{["
_CLOSE = b"}]"


class Window:
    """Text that was read and not yet used. Positions index `data`; add `base` for the offset in the file."""

    __slots__ = ("_chunk", "_most_unread", "_pieces", "at", "base", "data", "ended")

    def __init__(self, pieces: Iterable[bytes], chunk: int, most_unread: int = MAX_UNREAD) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._chunk = chunk
        self._most_unread = most_unread
        self.data = b""
        self.at = 0
        self.base = 0
        self.ended = False

    @property
    def offset(self) -> int:
        """Bytes of the text before the cursor."""
        return self.base + self.at

    @property
    def is_low(self) -> bool:
        """Whether less than a chunk is left to read."""
        return len(self.data) - self.at < self._chunk

    def fill(self) -> bool:
        """Drop the text before the cursor and read more; return False if there is no more."""
        rest = self.data[self.at :]
        self.base += self.at
        self.at = 0
        self.data = rest
        if len(rest) > self._most_unread:
            return False
        parts, wanted = [rest], max(self._chunk, len(rest))
        for piece in self._pieces:
            parts.append(piece)
            wanted -= len(piece)
            if wanted <= 0:
                break
        else:
            self.ended = True
        self.data = b"".join(parts)
        return len(self.data) > len(rest)

    def skip_blank(self) -> int:
        """Skip white space; return the next byte without consuming it, or -1 at the end."""
        while True:
            self.at = _end(_BLANK, self.data, self.at)
            if self.at < len(self.data):
                return self.data[self.at]
            if not self.fill():
                return -1

    def at_event(self) -> bool:
        """Whether an event seems to start at the cursor, possibly after white space and commas."""
        if len(self.data) - self.at < _MAX_GAP:
            self.fill()
        match = JUNK.match(self.data, self.at)
        return match is not None and _EVENT_START.match(self.data, match.end()) is not None

    def take_value(self) -> bytes | None:
        """Return the JSON value at the cursor and move past it; None, without moving, where the value does not end."""
        while (end := value_end(self.data, self.at, self.ended)) < 0:
            had_ended = self.ended
            if not self.fill() and self.ended == had_ended:
                return None
        value = self.data[self.at : end]
        self.at = end
        return value

    def seek(self, pattern: re.Pattern[bytes], longest: int) -> bool:
        """Move past the next match of `pattern` (at most `longest` bytes long); return False at the end."""
        while not (match := pattern.search(self.data, self.at)):
            self.at = max(self.at, len(self.data) - longest)
            if not self.fill():
                return False
        self.at = match.end()
        return True


def value_end(data: bytes, at: int, ended: bool) -> int:
    """Return the end of the JSON value that starts at `at`, by its quotes and brackets; -1 if not in `data`."""
    first = data[at : at + 1]
    if first == b'"':
        match = _STRING.match(data, at)
        return match.end() if match else -1
    if first in (b"{", b"["):
        depth = 0
        while True:
            at = _end(_FLAT, data, at)
            if at == len(data) or data[at] == 0x22:
                return -1
            depth += 1 if data[at] in _OPEN else -1
            at += 1
            if not depth:
                return at
    end = _end(_SCALAR, data, at)
    return end if ended or end < len(data) else -1


def objects(data: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """Spans of the whole objects in the array that `data[at:]` continues, and the position of its `]` (or -1).

    This is exact on well-formed text but slow; it is used where guessing failed.
    """
    spans: list[tuple[int, int]] = []
    depth, start = 0, at
    while True:
        at = _end(_FLAT, data, at)
        if at == len(data) or data[at] == 0x22:
            return spans, -1
        if data[at] in _OPEN:
            if not depth:
                start = at
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                spans.append((start, at + 1))
        else:
            return spans, at if data[at] == 0x5D else -1
        at += 1


def last_boundary(data: bytes, at: int) -> int:
    """A position near the end of `data`, after an event, where another seems to follow; -1 if there is none.

    This is a guess: text inside a string may look the same. Decoding up to the position checks it, since JSON that
    ends too early or too late does not decode.
    """
    end = len(data)
    for _ in range(_MAX_TRIES):
        end = data.rfind(b"{", at, end)
        if end < 0:
            return -1
        before = data[max(at, end - _MAX_GAP) : end].rstrip()
        if before.endswith(b",") and _EVENT_START.match(data, end):
            before = before[:-1].rstrip()
            if before.endswith(b"}"):
                return max(at, end - _MAX_GAP) + len(before)
    return -1


def _end(pattern: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Return the end of the match of a pattern that matches everywhere, even if only the empty text."""
    match = pattern.match(data, at)
    assert match is not None
    return match.end()
