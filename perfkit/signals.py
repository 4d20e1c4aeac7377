"""SIGINT, SIGTERM and SIGHUP, all handled alike: perfkit saves what it has measured, and ends.

Ctrl-C sends SIGINT, a batch system sends SIGTERM at its time limit, and a terminal that closes sends SIGHUP. One
handler takes all three, and what it does depends on what perfkit is doing:

- `at_once` (the default), while modules load: it prints one line on stderr and ends the process. There is nothing to
  save, and an exception in the middle of a module's C code may come out as another one, or as none.
- `raised`, while perfkit works: it raises Interrupted, a KeyboardInterrupt that knows its signal.
- `held`, while perfkit saves or does what must not be cut short: it waits until that is done. The code that cleans up
  after Interrupted is held too: a second signal interrupts only its slow parts, marked by `raised` or `patient`.
- `of_the_system`, while C code waits for other processes: the system's own handlers are there.
- `ignored`, once the exit code is decided: it does nothing.

A signal that is ignored when perfkit starts (nohup) stays ignored. A signal within SAME_S of the first counts as the
same request, because timeout(1) and batch systems signal both the process and its group. Python delivers signals to
the main thread only, so in any other thread all of this does nothing.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from signal import Signals
from types import FrameType, TracebackType

TAKEN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_S = 1.0


class _Mode(Enum):
    AT_ONCE, RAISED, PATIENT, HELD = range(4)


class _Received:  # no dataclass: it takes long to load, and until the handler is set ctrl-C prints a traceback
    def __init__(self) -> None:
        self.reset()
        self.hook = sys.unraisablehook

    def reset(self) -> None:
        self.mode = _Mode.AT_ONCE
        self.first: Signals | None = None
        """The first signal that came; perfkit ends with its exit code."""
        self.first_at = 0.0
        self.again = False
        """Whether a second signal came."""
        self.waits = False
        """Whether a signal came and has not been raised yet."""
        self.installed = False
        self.now: Callable[[], float] = time.monotonic


_state = _Received()


class Interrupted(KeyboardInterrupt):
    """A signal asked perfkit to end."""

    def __init__(self) -> None:
        self.by = _state.first or signal.SIGINT
        super().__init__(f"interrupted by {self.by.name}")


def by(error: KeyboardInterrupt) -> Signals:
    """The signal behind an exception; SIGINT if Python raised the exception itself."""
    return error.by if isinstance(error, Interrupted) else signal.SIGINT


def first() -> Signals | None:
    """The first signal that came, or None."""
    return _state.first


def exit_code(number: Signals) -> int:
    """The exit code that shells use: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + number


def check() -> None:
    """Raise Interrupted if a signal has come, even if signals are held or some code swallowed the exception."""
    if _state.first is not None:
        raise _told()


def put_off(number: Signals) -> None:
    """Defer a signal that was already raised, to the end of `held` or to `check`."""
    _state.first = _state.first or number
    _state.waits = True


class _Doing:
    """What perfkit does in the body of a with statement. It is no generator, because a signal could get lost in one."""

    def __init__(self, mode: _Mode) -> None:
        self._mode = mode
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        self._before = _state.mode
        if self._is_main:
            _deliver(self._mode)
            _state.mode = self._mode

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_main:
            _state.mode = self._before
            if kind is None:
                _deliver(self._before)


def at_once() -> _Doing:
    """In the body a signal ends the process. For loading modules."""
    return _Doing(_Mode.AT_ONCE)


def raised() -> _Doing:
    """In the body a signal raises Interrupted."""
    return _Doing(_Mode.RAISED)


def held() -> _Doing:
    """A signal waits until the end of the body. For saving, and for work that must be reported once it is done."""
    return _Doing(_Mode.HELD)


def patient() -> _Doing:
    """In the body the first signal waits, and a second raises Interrupted. For slow work that is worth finishing."""
    return _Doing(_Mode.PATIENT)


class blamed:  # noqa: N801 - reads as the context manager that it is
    """If a signal has come, any other exception in the body counts as its effect and becomes Interrupted.

    Interrupted C code may raise another exception instead, and Python code that is cut short may leave objects
    incomplete, which then fail in other ways.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and _state.first is not None:
            raise _told() from error


@contextmanager
def of_the_system() -> Iterator[None]:
    """In the body a signal ends the process without a word: C code that waits there lets no handler of Python's run."""
    handled = [number for number in TAKEN if signal.getsignal(number) is _handle]
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, _handle)


def install() -> None:
    """Handle the three signals, except those that are ignored or already have a handler."""
    if threading.current_thread() is not threading.main_thread() or _state.installed:
        return
    for number in TAKEN:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _handle)
    _state.installed, _state.hook = True, sys.unraisablehook
    sys.unraisablehook = _unraisable


@contextmanager
def installed(now: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """`install` for the body only; do nothing if it was called before. `now` is the clock for signals, in seconds."""
    before = {number: signal.getsignal(number) for number in TAKEN}
    ours = not _state.installed
    install()
    if ours:
        _state.now = now
    try:
        yield
    finally:
        if ours and _state.installed:
            for number, handler in before.items():
                if signal.getsignal(number) is _handle:
                    signal.signal(number, handler)
            sys.unraisablehook = _state.hook
            _state.reset()


def ignored() -> None:
    """Ignore the signals of `install` from now on: the exit code is decided; nothing may interrupt Python's shutdown.

    During shutdown Python restores the system's default handlers, with which a signal would kill the process.
    """
    for number in TAKEN:
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_IGN)


def _handle(number: int, _frame: FrameType | None) -> None:
    now = _state.now()
    if _state.first is not None and now - _state.first_at < SAME_S:
        return
    if _state.first is None:
        _state.first, _state.first_at = Signals(number), now
    elif _state.mode is _Mode.AT_ONCE:  # the message is printed already
        os._exit(exit_code(_state.first))
    else:
        _state.again = True
    _state.waits = True
    _deliver(_state.mode)


def _deliver(mode: _Mode) -> None:
    if not _state.waits or mode is _Mode.HELD or (mode is _Mode.PATIENT and not _state.again):
        return
    if mode is _Mode.AT_ONCE:
        _end()
    _state.mode = _Mode.HELD  # so that a second signal does not interrupt the cleanup
    raise _told()


def _told() -> Interrupted:
    error = Interrupted()
    _state.waits = False
    if not _state.installed:  # a deferred ctrl-C of Python's own: the code that catches it may be interrupted again
        _state.first = None
    return error


def _end() -> None:
    number = _state.first or signal.SIGINT
    with suppress(OSError):
        os.write(2, f"perfkit: interrupted by {number.name}\n".encode())  # the interrupted code may hold sys.stderr
    os._exit(exit_code(number))


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Python drops an Interrupted in a `__del__` or a callback; `check` then raises it again."""
    if isinstance(unraisable.exc_value, Interrupted):
        _state.mode = _Mode.RAISED
    else:
        _state.hook(unraisable)
