"""Errors that perfkit raises on purpose. `cli.main` alone turns them into one line on stderr and an exit code."""

from __future__ import annotations

import difflib
import errno
import re
import resource
from collections.abc import Iterable
from signal import Signals
from types import TracebackType

from perfkit import signals

_WANT_OF_MEMORY = re.compile(
    r"can(not|'t) allocate memory|failed to map segment|can't start new thread|bad_alloc|out of memory"
    r"|memory allocation .*failed|without (exception set|setting an exception)",
    re.IGNORECASE,
)
"""Messages of Linux's loader and C library, PyTorch's allocator, CPython, C++, sqlite and OpenBLAS; the last pattern
is CPython's for extensions that do not check an allocation."""


class PerfkitError(Exception):
    """A failure whose message says what was found and what to do next.

    `exit_code` is what the process returns; see docs/run.md for the list.
    """

    exit_code: int = 1


class UsageError(PerfkitError):
    """The request cannot work: a bad flag, a bad combination, an unreadable or foreign file."""

    exit_code = 2


class OutOfMemoryError(PerfkitError):
    """The run needed more memory than there is. The record is saved all the same."""

    exit_code = 3


class InterruptedRunError(PerfkitError):
    """A signal (ctrl-C, SIGTERM or SIGHUP) ended the run. What was measured so far is saved."""

    exit_code = signals.exit_code(Signals.SIGINT)

    def __init__(self, number: Signals, message: str = "") -> None:
        """`message` comes after "interrupted by SIGTERM"."""
        super().__init__(f"interrupted by {number.name}{message}")
        self.exit_code = signals.exit_code(number)


class naming_out_of_memory:  # noqa: N801 - reads as the context manager that it is
    """Turns any error in the body that memory shortage caused into an OutOfMemoryError.

    Its message ends with `advice`.
    """

    def __init__(self, advice: str = "") -> None:
        self._advice = advice

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, OutOfMemoryError) or not _is_out_of_memory(error):
            return
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        allowed = "" if limit == resource.RLIM_INFINITY else f" (ulimit -v allows {limit / 2**20:,.0f} MiB)"
        raise OutOfMemoryError(f"out of memory{allowed}: raise the limit or free memory{self._advice}") from error


def says_out_of_memory(line: str) -> bool:
    """Whether a line of a library's output says that it ran out of memory."""
    return _WANT_OF_MEMORY.search(line) is not None


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, means out of memory."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if not isinstance(error, PerfkitError) and says_out_of_memory(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean kernels?)`, where one of the known names is like this one; else nothing."""
    close = difflib.get_close_matches(name.lower(), list(known), 1)
    return f" (did you mean {close[0]}?)" if close else ""
