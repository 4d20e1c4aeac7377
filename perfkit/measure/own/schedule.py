"""Which steps of a loop are left alone, which warm up, which are measured, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from perfkit.errors import UsageError


class Steps(TypedDict, total=False):
    """The fields of a schedule, as keywords."""

    wait: int
    warmup: int
    active: int
    repeat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """First `wait` steps are left alone; then, `repeat` times, `warmup` steps warm up and `active` are measured.

    Raises UsageError where nothing would be measured, or a number is below 0.
    """

    wait: int = 0
    warmup: int = 1
    active: int = 5
    repeat: int = 1

    def __post_init__(self) -> None:
        for name in ("wait", "warmup"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name}={getattr(self, name)}: must be 0 or more")
        for name in ("active", "repeat"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: nothing would be measured: must be 1 or more")

    @property
    def first(self) -> int:
        """The first measured step of the loop, counted from 1."""
        return self.wait + self.warmup + 1
