"""The opcodes of a pickle, checked before the unpickler sees them: only those that plain data is made of.

Numbers, texts, lists, dictionaries and tuples are all that a snapshot holds. What is not there cannot be abused: no
classes, no calls, no persistent ids, no sets, no bytes of a claimed length, no memo entries far beyond the others.
Tuples, but pairs of numbers, become lists as they are made: no list has a hash, which of tuples in tuples may take for
ever, so none is a key. See Lib/pickletools.py of CPython for each opcode.
"""

from __future__ import annotations

import pickletools
import re
import resource
import sys
from collections.abc import Callable, Iterator

LONGEST_TEXT = 1 << 24
"""Bytes of the longest text that is read; a stack's function has at most some thousands."""
MEMORY, MEMORY_EACH = 1 << 29, 24
"""Bytes of memory that may be taken, and more for each byte of the pickle. Events in lists of stacks of their own take
2, the worst of PyTorch's layouts (events without stacks) 9; empty lists alone would take 80."""
MOST_TUPLES = 1 << 20
"""Tuples but pairs of numbers that a pickle may have: each is looked at by itself. No snapshot has one an event."""
AHEAD = 16
"""Bytes that must follow a token before it is taken, unless the stream ends."""
HAND_OVER = b"2Q0"
"""DUP, BINPERSID, POP: calls `persistent_load` with what is on top of the stack, and leaves the stack as it was."""
AS_LIST = b"Q"
"""BINPERSID, after a tuple: `persistent_load` gets it, and what it returns takes its place."""

_INT = rb"(?:K.|M..|J.{4})"
_SHORT = b"|".join(b"\\x%02x.{%d}" % (length, length) for length in range(17))
_LONG = b"|".join(b"\\x%02x.{%d}" % (length, length) for length in range(9))
_RUN = re.compile(
    rb"(?:j.{4}j.{4}j.{4}j.{4}|h.h.h.|j.{4}|h."  # BINGET, LONG_BINGET
    rb"|" + _INT + rb"(?=.{11})(?:" + _INT + rb"\x86)?+"  # BININT, BININT1, BININT2; two of them and TUPLE2
    rb"|\x8a(?:\x06.{6}|\x07.{7}|" + _LONG + rb"|\x09.{8}\0)"  # LONG1 up to 64 bits
    rb"|[\x94}(\]]++|u(?=[^e])|e"  # MEMOIZE, EMPTY_DICT, MARK, EMPTY_LIST, SETITEMS, APPENDS
    rb"|\x8c(?:" + _SHORT + rb")"  # SHORT_BINUNICODE
    rb"|q.|[Nas\x88\x89]|G.{8})*+",  # BINPUT, NONE, APPEND, SETITEM, NEWTRUE, NEWFALSE, BINFLOAT
    re.DOTALL,
)
"""As many tokens as there are, up to one that `_token` must look at."""
_TEXTS = {b"\x8c": 1, b"X": 4, b"\x8d": 8}
"""SHORT_BINUNICODE, BINUNICODE, BINUNICODE8: bytes that hold the length."""
_TUPLES = (b")", b"t", b"\x85", b"\x86", b"\x87")
"""EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3."""
_SPAN = {b"\x80": 2, b".": 1} | dict.fromkeys(_TUPLES, 1)
_FRAME, _FRAME_SPAN, _BATCH, _PUT, _LONG1 = b"\x95", 9, b"ue", b"r", b"\x8a"
_NAMES = {code.code.encode("latin-1"): code.name for code in pickletools.opcodes}


def peak_bytes() -> int:
    """The most memory that this process had at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class NotPlainError(ValueError):
    """The pickle is damaged, or holds what no snapshot does. The message follows the file's name."""


class PlainPickle:
    """A file object for an unpickler of the pickle in `pieces`: checked, without frames, and handing lists over.

    After each batch that is appended to a list of dictionaries, HAND_OVER gives the list to `persistent_load`. So what
    a large list has collected can be taken out of it while the rest is not read yet.
    """

    def __init__(self, pieces: Iterator[bytes], peak: Callable[[], int] = peak_bytes) -> None:
        """`peak` returns the most memory that this process had at once."""
        self._pieces, self._peak = pieces, peak
        self._raw = b""
        """Read, not yet checked."""
        self._passed = 0
        self._ready, self._at = b"", 0
        self._stopped = False
        self._tuples = 0
        self._before = peak()

    def peek(self, _count: int) -> bytes:
        """Bytes that come next; at least one unless the pickle is over."""
        if self._at == len(self._ready):
            self._ready, self._at = self._checked(), 0
        return self._ready[self._at :]

    def read(self, count: int) -> bytes:
        """Exactly so many bytes. Raises NotPlainError where there are fewer."""
        found = self._ready[self._at : self._at + count]
        self._at += len(found)
        while len(found) < count:
            if not (more := self.peek(0)[: count - len(found)]):
                raise NotPlainError("it ends early")
            self._at += len(more)
            found += more
        return found

    def readline(self) -> bytes:
        """No opcode that is let through reads lines."""
        raise NotPlainError("it has opcodes of protocol 0")

    def _checked(self) -> bytes:
        """The next opcodes; none after STOP."""
        while not self._stopped:
            piece = next(self._pieces, b"")
            if self._peak() - self._before > MEMORY + MEMORY_EACH * self._passed:
                raise NotPlainError("it takes far more memory than a snapshot of its size")
            if opcodes := self._tokens(self._raw + piece + (b"" if piece else b"." * AHEAD), is_last=not piece):
                return opcodes
        return b""

    def _tokens(self, raw: bytes, *, is_last: bool) -> bytes:
        parts, begin, at = [], 0, 0
        end = len(raw) - AHEAD * is_last
        while not self._stopped:
            at = _RUN.match(raw, at).end()  # type: ignore[union-attr]  # an empty match is a match
            if at >= end or (not is_last and at + AHEAD > end):
                break
            span = self._token(raw, at)
            if at + span > end:
                break
            if raw[at : at + 1] == _FRAME:
                parts.append(raw[begin:at])
                begin = at + span
            elif raw[at : at + 2] == _BATCH:
                parts += (raw[begin : at + span], HAND_OVER)
                begin = at + span
            elif raw[at : at + 1] in _TUPLES:
                self._tuples += 1
                if self._tuples > MOST_TUPLES:
                    raise NotPlainError("it has more tuples than a snapshot")
                parts += (raw[begin : at + span], AS_LIST)
                begin = at + span
            at += span
        if is_last and not self._stopped:
            raise NotPlainError("it ends early")
        parts.append(raw[begin:at])
        self._raw = raw[at:]
        self._passed += at
        return b"".join(parts)

    def _token(self, raw: bytes, at: int) -> int:
        """The length of the token at a place where the pattern stopped. Raises NotPlainError for what is no data."""
        code = raw[at : at + 1]
        if code in _TEXTS:
            start = at + 1 + _TEXTS[code]
            length = int.from_bytes(raw[at + 1 : start], "little")
            if length > LONGEST_TEXT:
                raise NotPlainError(f"it has a text of {length:,} bytes")
            return start - at + length
        if code == _PUT:
            if int.from_bytes(raw[at + 1 : at + 5], "little") > self._passed + at:
                raise NotPlainError("it has a memo that is larger than the file")
            return 5
        if code == _FRAME:
            return _FRAME_SPAN
        if raw[at : at + 2] == _BATCH:
            return 2
        if code not in _SPAN:
            if self._passed + at == 0:
                raise NotPlainError("it is no pickle")
            if code == _LONG1:
                raise NotPlainError("it has a number of more than 64 bits")
            name = _NAMES.get(code)
            raise NotPlainError(
                f"it has the opcode {name}, which no snapshot has" if name else "its bytes are no opcodes"
            )
        self._stopped = code == b"."
        return _SPAN[code]
