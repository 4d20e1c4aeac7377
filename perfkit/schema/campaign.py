"""The points of a campaign of many processes, and the result of each process."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import Literal

from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord

Outcome = Literal["ok", "oom", "timeout", "host-killed", "interrupted", "error"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing to measure."""

    key: str
    """Names the point among the others, and its folders; no slash in it."""
    config: RunConfig
    wrapper: tuple[str, ...] = ()
    """Put before the command, as in `nsys profile ...`."""
    extra: tuple[str, ...] = ()
    """More flags of `perfkit run`."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables of its processes: name, value."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One repeat of a point."""

    point: Point
    repeat: int
    """From 1."""

    @property
    def name(self) -> str:
        """Its folder."""
        return f"{self.point.key}.{self.repeat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The result of one process."""

    outcome: Outcome
    """host-killed: by a SIGKILL that perfkit did not send; on Linux usually by the kernel, because memory ran out."""
    exit_code: int | None
    """None where a signal ended it, or it was stopped at the time limit."""
    signal: int | None
    """The signal that ended it; None where it exited by itself."""
    wall_s: float
    """From start to end, including the start of Python and PyTorch."""
    stderr_tail: str
    """The end of what it printed, on both streams."""
    record: RunRecord | None
    """What it measured; an interrupted or out-of-memory run has one too."""

    @property
    def last_words(self) -> str:
        """The last line it printed: the error, where there was one."""
        lines = self.stderr_tail.strip().splitlines()
        return lines[-1].strip().removeprefix("perfkit: ") if lines else "it said nothing"

    @property
    def disk_full(self) -> bool:
        """Whether it ended because the disk was full: all processes after it would end the same way."""
        return self.outcome == "error" and any(os.strerror(number) in self.last_words for number in _NO_ROOM)
