"""Errors that perfkit raises on purpose. `cli.main` alone turns them into one line on stderr and an exit code."""

from __future__ import annotations

from signal import Signals

from perfkit import signals


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
    """A signal asked for the end: ctrl-C, SIGTERM or SIGHUP. What was measured so far is saved."""

    exit_code = signals.exit_code(Signals.SIGINT)

    def __init__(self, number: Signals, message: str = "") -> None:
        """`message` comes after "interrupted by SIGTERM"."""
        super().__init__(f"interrupted by {number.name}{message}")
        self.exit_code = signals.exit_code(number)
