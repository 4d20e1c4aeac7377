"""Allocator events, dictionaries in a snapshot, to columns; their stacks, each once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from perfkit.errors import UsageError
from perfkit.trace.columns import LONGEST_NAME, MISSING, Int32s, Int64s
from perfkit.trace.snapshot.columns import ACTIONS, Action, AllocatorEvents, Frame, Stacks

_NO_TEXT = ("", "N/A", None)
"""What torch writes where there is no compile context or metadata."""
_DEEPEST = 65_536
"""Frames of a stack that are kept."""
MAX_TIME_US = (1 << 61) // 1000


class NotASnapshotError(UsageError):
    """A value is not what torch writes there."""


class _Seen:
    """Stands in a list of frames for its contents."""

    __slots__ = ("stack",)

    def __init__(self, stack: int) -> None:
        self.stack = stack


class StackTable:
    """Stacks and frames, each once, in order of first appearance."""

    def __init__(self) -> None:
        self._by_ids: dict[tuple[int, ...], int] = {}
        """By the ids of frames, which are kept, so that no other object gets them."""
        self._kept: dict[int, Any] = {}
        self._codes: dict[int, int] = {}
        """Of a kept object: the frame that it is."""
        self._stacks: dict[tuple[int, ...], int] = {}
        self._frames: dict[Frame, int] = {}

    def number(self, frames: Any, *, mark: bool) -> int:
        """The number of a list of frames, innermost first; MISSING for an empty one.

        With `mark`, what is in the list gives way to that number.
        """
        if not frames:
            return MISSING
        if type(frames) is not list and type(frames) is not tuple:
            raise NotASnapshotError("has frames that are no list")
        if type(frames[0]) is _Seen:
            return frames[0].stack
        ids = tuple(map(id, frames))
        stack = self._by_ids.get(ids)
        if stack is None:
            codes = tuple(self._frame(frame) for frame in frames[:_DEEPEST])
            stack = self._by_ids[ids] = self._stacks.setdefault(codes, len(self._stacks))
        if mark and type(frames) is list:
            frames[:] = (_Seen(stack),)
        return stack

    def _frame(self, frame: Any) -> int:
        """The number of a frame."""
        code = self._codes.get(id(frame))
        if code is None:
            if type(frame) is not dict:
                raise NotASnapshotError("has frames that are not what torch writes")
            line = frame.get("line", 0)
            found = Frame(_text(frame.get("name")), _text(frame.get("filename")), line if type(line) is int else 0)
            code = self._codes[id(frame)] = self._frames.setdefault(found, len(self._frames))
            self._kept[id(frame)] = frame
        return code

    def stacks(self) -> Stacks:
        """All stacks."""
        lengths = np.fromiter(map(len, self._stacks), np.int64, len(self._stacks))
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        codes = (code for stack in self._stacks for code in stack)
        return Stacks(start, np.fromiter(codes, np.int32, int(start[-1])))

    def frames(self) -> tuple[Frame, ...]:
        """All frames."""
        return tuple(self._frames)


class TextTable(dict[Any, int]):
    """Texts and their numbers, in order of first appearance; what is none, or empty, is MISSING."""

    def __missing__(self, text: Any) -> int:
        self[text] = number = len(self)
        return number

    def number(self, text: Any) -> int:
        """The number of a text."""
        return MISSING if type(text) is not str or text in _NO_TEXT else self[text[:LONGEST_NAME]]


class EventBuilder:
    """Takes events in their order; `columns` then has them all."""

    def __init__(self, stacks: StackTable, texts: TextTable) -> None:
        self._stacks, self._texts = stacks, texts
        self._pieces: list[list[npt.NDArray[Any]]] = []
        self.count = 0
        """Events taken so far."""
        self.has_times = False

    def take(self, events: Sequence[dict[Any, Any]], *, mark: bool = False) -> None:
        """Append events; with `mark`, their lists of frames are emptied. Raises NotASnapshotError."""
        if not events:
            return
        stack, text = self._stacks.number, self._texts.number
        times = [event.get("time_us", 0) for event in events]
        self.has_times = self.has_times or any(times)
        try:
            piece = [
                _integers([ACTIONS.get(event["action"], Action.OTHER) for event in events]),
                _integers(times),
                _integers([event["addr"] if "addr" in event else event.get("device_free", 0) for event in events]),
                _integers([event.get("size", 0) for event in events]),
                _integers([event.get("stream", 0) for event in events]),
                _integers([stack(event.get("frames"), mark=mark) for event in events]),
                _integers([text(event.get("user_metadata")) for event in events]),
                _integers([text(event.get("compile_context")) for event in events]),
            ]
        except (TypeError, struct.error) as error:  # an unhashable action; a number that is none, or too large
            raise NotASnapshotError("has events that are not what torch writes") from error
        self._check(piece)
        types = (np.uint8, *(np.int64,) * 4, *(np.int32,) * 3)
        self._pieces.append([column.astype(kind) for column, kind in zip(piece, types, strict=True)])
        self.count += len(events)

    def _check(self, piece: list[Int64s]) -> None:
        _, time, address, size, *_ = piece
        if min(time.min(), address.min(), size.min()) < 0 or time.max() > MAX_TIME_US:
            raise NotASnapshotError("has times, addresses or sizes that cannot be")

    def columns(self, lengths: Sequence[int]) -> AllocatorEvents:
        """All events; `lengths` has how many each device has."""
        device = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
        if not self._pieces:
            wide, code = np.zeros(0, np.int64), np.zeros(0, np.int32)
            return AllocatorEvents(np.zeros(0, np.uint8), code, wide, wide, wide, wide, code, code, code)
        columns = (np.concatenate(parts) for parts in zip(*self._pieces, strict=True))
        action, time, address, size, stream, stack, metadata, compiled = columns
        time *= 1000
        return AllocatorEvents(action, device, time, address, size, stream, stack, metadata, compiled)


def _integers(values: Sequence[Any]) -> Int64s:
    """Return a column; raises struct.error where a value is no integer, or too large."""
    column = bytearray(8 * len(values))
    struct.pack_into(f"={len(values)}q", column, 0, *values)
    return np.frombuffer(column, np.int64)


def integers(values: Sequence[Any]) -> Int64s:
    """Return a column. Raises NotASnapshotError where a value is no integer, or too large."""
    try:
        return _integers(values)
    except struct.error as error:
        raise NotASnapshotError("has numbers that are not what torch writes") from error


def codes(values: Sequence[int]) -> Int32s:
    """Return a column of numbers of stacks."""
    return np.array(values, np.int32)


def _text(value: Any) -> str:
    return value[:LONGEST_NAME] if type(value) is str else ""
