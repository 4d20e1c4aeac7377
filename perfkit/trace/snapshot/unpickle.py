"""Load a pickle that makes nothing but plain values, whatever it says, and let go of its events as they come.

A snapshot holds dictionaries, lists, texts and numbers. The unpickler refuses every name, so that no code can be
called; what else a pickle can do is take memory, time or the stack: see `child`.
"""

from __future__ import annotations

import gc
import io
import pickle
from collections.abc import Callable
from typing import IO, Any, NoReturn

from perfkit.errors import UsageError

ERRORS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError,
    MemoryError, RecursionError,
)  # fmt: skip
"""What the unpickler raises on texts that are no pickle, or a damaged or malicious one."""

_DRAIN_EVERY = 16 << 20
"""Bytes of the pickle between two looks at what came."""


class RefusedError(UsageError):
    """The pickle asks for something that a snapshot never needs."""


class _Refusing(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> NoReturn:
        raise RefusedError(f"asks for {module}.{name}"[:100])

    def persistent_load(self, pid: object, /) -> NoReturn:  # noqa: ARG002 - the interface
        raise RefusedError("asks for objects outside itself")


class _Watched(io.RawIOBase):
    """A file that tells how much of it was read, from time to time."""

    def __init__(self, file: IO[bytes], every: int, tell: Callable[[int], None]) -> None:
        self._file, self._every, self._tell = file, every, tell
        self._read = 0
        self._next = every

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._read += len(data)
        if self._read >= self._next:
            self._next = self._read + self._every
            self._tell(self._read)
        return len(data)


def load(
    file: IO[bytes],
    take: Callable[[list[dict[Any, Any]]], None] | None = None,
    tell: Callable[[int], None] = lambda _: None,
    *,
    every: int = _DRAIN_EVERY,
) -> object:
    """Return the pickle's value. Raises one of ERRORS, or RefusedError.

    With `take`, events (dictionaries with an `action`) are handed over in the order of the pickle while it is loaded,
    and emptied; those that came since the last time are still in the value. Their lists of frames stay the same
    objects, and `take` may put something else into them. Only a process in which nothing else runs may ask for it:
    events are found among all objects that were made since.
    """

    def drain(read: int) -> None:
        tell(read)
        if take is not None:
            events = [made for made in gc.get_objects(generation=0) if type(made) is dict and "action" in made]
            take(events)
            for event in events:
                event.clear()
            gc.freeze()

    collects = gc.isenabled()
    gc.disable()  # a collection looks at all objects, of which none can be garbage
    if take is not None:
        gc.freeze()
    try:
        return _Refusing(io.BufferedReader(_Watched(file, every, drain), 1 << 18)).load()
    finally:
        if collects:
            gc.enable()
