"""Prepares the standard streams before anything is written: closed streams, missing characters, readers that leave."""

from __future__ import annotations

import io
import os
import sys

_NARROWEST = 20
"""Least line width in characters, however narrow the terminal is: with four or fewer, rich never ends."""
_WIDEST = 10_000
"""Largest line width in characters, whatever COLUMNS says: rich pads frames to that width."""


def settle() -> bool:
    """Prepare the streams and COLUMNS. Return False if standard output is closed.

    A character that the output's encoding lacks becomes "?". Write errors on standard error are ignored, so that a
    measurement goes on when its terminal is closed.
    """
    closed = [descriptor for descriptor in (0, 1, 2) if not _is_open(descriptor)]
    for _ in closed:  # otherwise the next opened files would get these numbers: the lowest free one is used
        os.open(os.devnull, os.O_RDWR)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    raw = open(2, "wb", closefd=False)  # noqa: SIM115
    encoding = getattr(sys.stderr, "encoding", "utf-8")
    sys.stderr = _Tolerant(raw, encoding, "backslashreplace", line_buffering=True)
    _settle_width()
    return 1 not in closed


def _settle_width() -> None:
    """Correct COLUMNS, which rich trusts: remove invalid values, and widths at which rich never ends."""
    columns = os.environ.pop("COLUMNS", "")
    given = int(columns[:20]) if columns.isdecimal() else 0
    try:
        width = given or os.get_terminal_size(1).columns
    except OSError:  # no terminal
        return
    if given or 0 < width < _NARROWEST:
        os.environ["COLUMNS"] = str(min(max(width, _NARROWEST), _WIDEST))


class _Tolerant(io.TextIOWrapper):
    """A stream that ignores write errors."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            return


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
