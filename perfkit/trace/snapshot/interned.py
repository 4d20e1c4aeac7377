"""Distinct frames, stacks and texts of a snapshot, each with a number."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from perfkit.trace.columns import MISSING
from perfkit.trace.snapshot.columns import Frame, Stacks
from perfkit.trace.snapshot.values import Cleaned, ImplausibleError, integer, items, members, text


class Seen:
    """Stands in a list of frames for all of them, once its stack has a number."""

    __slots__ = ("stack",)

    def __init__(self, stack: int) -> None:
        self.stack = stack


class StackNumbers:
    """Numbers of stacks. Lists of frames are told apart by which frames they hold, not by what those say.

    A snapshot has one dictionary for each frame, which all lists share, so that a list of 30 frames costs 30 addresses
    to compare. Dictionaries that were seen stay alive: no other can get their address.
    """

    def __init__(self) -> None:
        self._stack_of: dict[tuple[int, ...], int] = {}
        self._seen: list[Seen] = []
        self._by_frames: dict[tuple[int, ...], int] = {}
        self._frames: dict[Frame, int] = {}
        self._cleaned = Cleaned()
        self._known: dict[int, tuple[Any, int]] = {}
        """By its id: a dictionary, and the number of its frame."""

    def of(self, frames: Any) -> int:
        """The number of a stack; MISSING for an empty one. The list then holds that number alone.

        So its memory is free again, and a list that many events share is looked at once.
        Raises ImplausibleError where this is no list of frames.
        """
        if type(frames) is not list:
            if frames is None:
                return MISSING
            items(frames, "a stack")
        if not frames:
            return MISSING
        if type(frames[0]) is Seen:
            return frames[0].stack
        key = tuple(map(id, frames))
        stack = self._stack_of.get(key)
        if stack is None:
            stack = self._stack_of[key] = self._new(frames)
        frames[:] = (self._seen[stack],)
        return stack

    def table(self) -> tuple[tuple[Frame, ...], Stacks]:
        """All frames and all stacks."""
        lengths = [len(key) for key in self._by_frames]
        start = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        frame = np.fromiter(chain.from_iterable(self._by_frames), np.int32, int(start[-1]))
        return tuple(self._frames), Stacks(start, frame)

    def _new(self, frames: list[Any]) -> int:
        stack = self._by_frames.setdefault(tuple(map(self._frame, frames)), len(self._by_frames))
        if stack == len(self._seen):
            self._seen.append(Seen(stack))
        return stack

    def _frame(self, frame: Any) -> int:
        if id(frame) not in self._known:
            number = self._frames.setdefault(_frame(frame, self._cleaned), len(self._frames))
            self._known[id(frame)] = (frame, number)
        return self._known[id(frame)][1]


class Texts:
    """Numbers of texts; MISSING for none, for an empty one, and for what torch writes where there is none."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._cleaned = Cleaned()
        self._raw: dict[Any, int] = {"": MISSING, "N/A": MISSING, None: MISSING}

    def of(self, values: list[Any], what: str) -> list[int]:
        """Their numbers. Raises ImplausibleError where one is no text."""
        raw = self._raw
        try:
            return [raw[value] for value in values]
        except KeyError:
            for value in values:
                if value not in raw:
                    raw[value] = self._numbers.setdefault(text(value, what, self._cleaned), len(self._numbers))
            return [raw[value] for value in values]
        except TypeError as error:
            raise ImplausibleError(f"{what} is no text") from error

    def all(self) -> tuple[str, ...]:
        """The texts by their numbers."""
        return tuple(self._numbers)


def _frame(frame: Any, cleaned: Cleaned) -> Frame:
    found = members(frame, "a frame")
    line = integer(found.get("line", 0), "a frame's line", least=-(2**63))
    name = text(found.get("name", ""), "a frame's name", cleaned)
    return Frame(name, text(found.get("filename", ""), "a frame's file", cleaned), line)
