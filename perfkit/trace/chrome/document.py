"""Walk through a Chrome trace: the events, piece by piece, and the other members; skip damaged parts."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice, pairwise
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from perfkit.errors import UsageError
from perfkit.trace import foreign
from perfkit.trace.byte_stream import printable
from perfkit.trace.chrome.events import DECODE_ERRORS
from perfkit.trace.chrome.mend import mend, mended_event
from perfkit.trace.chrome.window import ARRAY_END, BOUNDARY, CLOSING, EVENTS_KEY, JUNK, Window, last_boundary, objects

CHUNK = 512 * 1024
"""Bytes of text decoded at a time: as many as take least time here; half takes a tenth more."""
MAX_MEMBER = 4 << 20
"""Largest size, in bytes, of a top-level value that is kept."""

T = TypeVar("T")


class Sink(Protocol[T]):
    """Consumer of the events."""

    def decode(self, text: bytes | memoryview) -> list[T]:
        """Decode the events in a text. Raises one of DECODE_ERRORS if the text is not a sequence of whole events."""

    def add(self, events: list[T], /) -> None:
        """Take some events, in the order of the file."""


class Document(Generic[T]):
    """Walks through one document. The events go to `sink`, the other top-level members to `members`."""

    def __init__(self, window: Window, source: str, sink: Sink[T]) -> None:
        self._window = window
        self._source = source
        self._sink = sink
        self._taken: list[list[T]] = []
        self._good_until = 0
        self.members: dict[str, Any] = {}
        """The top-level members other than the events."""
        self.repairs: Counter[str] = Counter()
        """The repairs that were made, and how often."""
        self.has_events = False
        """Whether there is a list of events, even an empty one."""
        self.truncated_at: int | None = None
        """Byte offset after which nothing could be read; None for a whole document."""

    def read(self) -> None:
        """Read the whole document. Raises UsageError where it cannot be a trace."""
        window = self._window
        first = window.skip_blank()
        foreign.refuse(window.data, self._source)
        if window.data.startswith(b"\xef\xbb\xbf", window.at):
            window.at += 3
            first = window.skip_blank()
        if first == ord("["):
            window.at += 1
            self._read_array()
        elif first == ord("{"):
            window.at += 1
            self._read_object()
        else:
            # The message does not quote the file's beginning: the user may not want its content shown.
            flaw = "is binary data of no known kind" if foreign.is_binary(window.data) else "does not begin with { or ["
            flaw = flaw if len(window.data) > window.at else "contains only white space"
            raise UsageError(f"{self._source} is not a trace: it {flaw}; pass a torch.profiler trace (.json, .gz)")

    def _read_object(self) -> None:
        """Read the members of the top-level object, in any order."""
        window = self._window
        while self.truncated_at is None:
            byte = window.skip_blank()
            if byte == ord(","):
                window.at += 1
            elif byte == ord("}"):
                window.at += 1
                if not self._resume_behind_end():
                    return
            elif not self._read_member() and not self._skip_damage():
                return

    def _read_member(self) -> bool:
        """Read one `"key": value`; return False where the text is damaged or ends."""
        window = self._window
        if window.skip_blank() != ord('"') or (quoted := window.take_value()) is None:
            return False
        if window.skip_blank() != ord(":"):
            return False
        window.at += 1
        first = window.skip_blank()
        if quoted == b'"traceEvents"' and first == ord("["):
            window.at += 1
            self._read_array()
            return True
        value = window.take_value()
        if not value:
            return False
        self._keep_member(quoted, value)
        return True

    def _resume_behind_end(self) -> bool:
        """Continue after a false end of the document; note any other text after the end."""
        if self._window.skip_blank() in (-1, 0):
            return False
        if self._resume():
            return True
        self.repairs["text after the end of the JSON left out"] += 1
        return False

    def _resume(self) -> bool:
        """Continue with the events if there is another event after their apparent end."""
        if not self.has_events or not self._window.at_event():
            return False
        self.repairs["stray bracket among the events"] += 1
        self._read_array()
        return True

    def _skip_damage(self) -> bool:
        """Continue at the next events; return False where no more can be read."""
        if self._resume():
            return True
        if not self.has_events:
            if self._window.seek(EVENTS_KEY, 64):
                self.repairs["damaged text before the events left out"] += 1
                self._read_array()
                return True
            self._good_until = self._window.offset
        self.truncated_at = self._good_until
        return False

    def _keep_member(self, quoted: bytes, value: bytes) -> None:
        done: Counter[str] = Counter()
        try:
            key = msgspec.json.decode(quoted, type=str)
            if len(value) > MAX_MEMBER:
                done[f"overlong top-level member {printable(key)} left out"] += 1
            else:
                self.members[key] = msgspec.json.decode(mend(value, done))
        except DECODE_ERRORS:
            self.repairs["unreadable top-level member left out"] += 1
            return
        self._good_until = self._window.offset
        self.repairs.update(done)

    # The events

    def _read_array(self) -> None:
        """Read from after the events' opening bracket to after the closing one, or to the end of the text."""
        self.has_events = True
        window = self._window
        self._good_until = window.offset
        stuck = False
        while True:
            final = (stuck or window.is_low) and not window.fill()
            before = window.offset
            if self._step(final=final):
                break
            stuck = window.offset == before
            if final and stuck:
                if window.at < len(window.data):  # otherwise only the bracket is missing, which some writers omit
                    self.truncated_at = self._good_until
                break
            self._hand_over()
        self._hand_over()

    def _step(self, *, final: bool) -> bool:
        """Take as many events as the window holds; return True once the array's end was passed.

        First guess where the last event ends (decoding confirms or refutes the guess). If that fails, scan exactly, and
        if the scanned text does not decode either, mend it.
        """
        window = self._window
        data = window.data
        junk = JUNK.match(data, window.at)
        assert junk is not None
        at = window.at = junk.end()
        if at < len(data) and data[at] == ord("]"):
            return self._advance(at + 1, closed=True)
        cut = last_boundary(data, at)
        if cut > 0 and self._take(memoryview(data)[at:cut]):
            return self._advance(cut, closed=False)
        for bracket in islice(ARRAY_END.finditer(data, at), 4):
            if self._take(memoryview(data)[at : bracket.start() + 1]):
                return self._advance(bracket.end(), closed=True)
        spans, close = objects(data, at)
        end = close if close >= 0 else spans[-1][1] if spans else -1
        if end > at and self._take(data[at:end]):
            return self._advance(close + 1 if close >= 0 else end, closed=close >= 0)
        if close >= 0 and not spans:
            self.repairs["text between events left out"] += 1
            return self._advance(close + 1, closed=True)
        if final or cut > 0:
            return self._recover(data[at:cut] if cut > 0 else data[at:], at, final=cut <= 0)
        return False

    def _advance(self, to: int, *, closed: bool) -> bool:
        self._window.at = to
        self._good_until = self._window.offset
        return closed

    def _take(self, text: bytes | memoryview) -> bool:
        """Decode events; return False and take nothing where the text does not decode."""
        try:
            self._taken.append(self._sink.decode(text))
        except DECODE_ERRORS:
            return False
        return True

    def _hand_over(self) -> None:
        """Pass on the decoded events all at once: passing single events would cost more than mending them."""
        if self._taken:
            self._sink.add(self._taken[0] if len(self._taken) == 1 else list(chain.from_iterable(self._taken)))
            self._taken.clear()

    def _recover(self, text: bytes, at: int, *, final: bool) -> bool:
        """Read a piece that does not decode: mend it as a whole, else find the bad events and mend those."""
        done: Counter[str] = Counter()
        if not final and self._take(mend(text, done)):
            self.repairs.update(done)
            return self._advance(at + len(text), closed=False)
        gaps = [(0, 0), *((gap.start() + 1, gap.end()) for gap in BOUNDARY.finditer(text)), (len(text), 0)]
        spans = [(before[1], after[0]) for before, after in pairwise(gaps)]
        return self._salvage(text, spans, at, final=final)

    def _salvage(self, text: bytes, spans: list[tuple[int, int]], at: int, *, final: bool) -> bool:
        """Decode by halves until the pieces that do not decode are single events; True if the array ended."""
        pending = [(0, len(spans))]
        while pending:
            low, high = pending.pop()
            start, end = spans[low][0], spans[high - 1][1]
            if self._take(text[start:end]):
                self._advance(at + end, closed=False)
            elif high - low > 1:
                middle = (low + high) // 2
                pending += [(middle, high), (low, middle)]
            elif self._fragment(text[start:end], at + start, last=final and high == len(spans)):
                return True
        return False

    def _fragment(self, text: bytes, at: int, *, last: bool) -> bool:
        """A text that should be one event but does not decode as such; True if the array ended with it."""
        spans, close = objects(text, 0)
        end = close if close >= 0 else spans[-1][1] if spans else 0
        whole = close >= 0 or not text[end:].strip()
        if spans and whole and self._take(b",".join(text[a:b] for a, b in spans)):
            if len(spans) > 1 or text[: spans[0][0]].strip() or text[spans[-1][1] : end].strip():
                self.repairs["text between events left out"] += 1
            return self._advance(at + (close + 1 if close >= 0 else end), closed=close >= 0)
        for bracket in islice(ARRAY_END.finditer(text), 4):
            if self._mend(text[: bracket.start() + 1], scrape=False):
                return self._advance(at + bracket.end(), closed=True)
        closing = CLOSING.search(text) if last else None
        if closing is None and last and not spans:  # it was cut off
            return False
        end = closing.start() + 1 if closing else len(text)
        if not self._mend(text[:end], scrape=True):
            self.repairs["unreadable event left out"] += 1
        return self._advance(at + (closing.end() if closing else end), closed=closing is not None)

    def _mend(self, text: bytes, *, scrape: bool) -> bool:
        events = mended_event(text, self.repairs, self._sink.decode, scrape=scrape)
        if events is None:
            return False
        self._taken.append(events)
        return True
