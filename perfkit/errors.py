"""Errors that perfkit raises on purpose. `cli.main` alone turns them into one line on stderr and an exit code."""

from __future__ import annotations

import errno
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager

_WANT_OF_MEMORY = re.compile(
    r"can(not|'t) allocate memory|failed to map segment|can't start new thread|bad_alloc|out of memory"
    r"|without (exception set|setting an exception)",
    re.IGNORECASE,
)
"""In the words of Linux' loader and C library, of PyTorch's allocator, CPython, C++ and sqlite; and in none, as
extensions say it that forget to check an allocation."""


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
    """The user pressed ctrl-C. What was measured so far is saved."""

    exit_code = 130


@contextmanager
def naming_out_of_memory() -> Iterator[None]:
    """Whatever a library raises for want of memory, or is raised from that, becomes an OutOfMemoryError."""
    try:
        yield
    except OutOfMemoryError:
        raise
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        allowed = "" if limit == resource.RLIM_INFINITY else f" (ulimit -v allows {limit / 2**20:,.0f} MiB)"
        raise OutOfMemoryError(
            f"out of memory{allowed}: raise the limit or free memory; of a large trace,"
            " analyze --table kernel_summary takes the least"
        ) from error


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is want of memory."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if not isinstance(error, PerfkitError) and _WANT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
