"""Named ranges that can be opened and closed again and again: in NVTX (domain `perfkit`) and in torch.profiler traces.

Each thread has its own stack of open ranges. Closing one also closes any inner one that an exception left open.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import nvtx
import torch

from perfkit.schema import range_names
from perfkit.schema.range_names import RangeName

_fast_record_function: Any = torch._C._profiler._RecordFunctionFast
"""It costs 0.3 us per range, torch.profiler.record_function 6 us; in a trace it is a cpu_op of the given name."""


class _OpenRanges(threading.local):
    """The ranges open on this thread, innermost last: the hook that opened it, its profiler range, the one shown, and
    what goes beside it (see `mirrored`)."""

    def __init__(self) -> None:
        self.stack: list[tuple[Range, Any, Range, AbstractContextManager[object] | None]] = []


_open = _OpenRanges()


class Range:
    """A named range; its two methods serve as hooks."""

    __slots__ = ("nvtx_range", "text")

    def __init__(self, name: RangeName) -> None:
        self.text = name.trace_text
        # It has no state after construction: each enter pushes the same registered string, each exit pops.
        self.nvtx_range = nvtx.annotate(message=name.nvtx_text, domain=range_names.NVTX_DOMAIN)

    def open(self, *_: Any) -> None:
        """Open it on this thread."""
        self.open_as(self)

    def open_as(self, shown: Range) -> None:
        """Open it on this thread under the name of another."""
        recorded = _fast_record_function(shown.text)
        recorded.__enter__()
        shown.nvtx_range.__enter__()
        beside = _mirror.make(_stamp(shown)) if _mirror.make is not None else None
        if beside is not None:
            beside.__enter__()
        _open.stack.append((self, recorded, shown, beside))

    def close(self, *_: Any) -> None:
        """Close it, after any inner one that an exception left open; nothing where it is not open on this thread."""
        if self.is_open():
            while _open.stack[-1][0] is not self:
                _close_last()
            _close_last()

    def is_open(self) -> bool:
        """Whether it is open on this thread."""
        return any(opened[0] is self for opened in _open.stack)


def _close_last() -> None:
    owner, recorded, _, beside = _open.stack.pop()
    if beside is not None:
        beside.__exit__(None, None, None)
    owner.nvtx_range.__exit__(None, None, None)
    try:  # noqa: SIM105 - it is called thousands of times a step, and this costs nothing
        recorded.__exit__(None, None, None)
    except RuntimeError:  # a profiler began inside it, which knows nothing of it
        pass


class _Mirror:
    make: Callable[[str], AbstractContextManager[object]] | None = None


_mirror = _Mirror()


@contextmanager
def mirrored(make: Callable[[str], AbstractContextManager[object]]) -> Iterator[None]:
    """In the body, every range that opens on any thread also opens what `make` gives for its stamp, inside itself.

    The stamp says where the range is: its step, its phase and itself (`range_names.stamp`).
    """
    _mirror.make = make
    try:
        yield
    finally:
        _mirror.make = None


def _stamp(opening: Range) -> str:
    return range_names.stamp([*(shown.text for _, _, shown, _ in _open.stack), opening.text])


def innermost(test: Callable[[Range], bool]) -> Range | None:
    """The innermost range open on this thread that passes a test."""
    return next((owner for owner, *_ in reversed(_open.stack) if test(owner)), None)


def close_all(test: Callable[[Range], bool]) -> None:
    """Close the ranges on this thread that pass a test, and any in them."""
    while innermost(test) is not None:
        _close_last()


@contextmanager
def annotated(name: RangeName) -> Iterator[None]:
    """Put the body inside a range: for phases and steps, where a context manager's cost does not matter."""
    opened = Range(name)
    opened.open()
    try:
        yield
    finally:
        opened.close()
