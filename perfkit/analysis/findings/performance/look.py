"""Look: a rule, the function that looks for it, what it needs to see, and what a replay would take away for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.time.replay.edit import Edit
from perfkit.schema.finding import Finding, Rule

Need: TypeAlias = Literal["operators", "shapes", "steps", "device"]
"""What a rule cannot do without. A rule about devices is not missed where there is none."""


class Look(msgspec.Struct, frozen=True):
    """A rule, the function that looks for it, and what it needs to see."""

    rule: Rule
    find: Callable[[Case], Finding | None]
    needs: tuple[Need, ...] = ()
    matters: Callable[[Case], bool] = lambda _: True
    """Whether what it looks for can be in this recording at all, so that not looking is worth a word."""
    edit: Callable[[Case, Finding], Edit | None] | None = None
    """What a replay takes away, or makes faster, to say what its finding would gain; None where none can tell."""
    is_idle: bool = False
    """Its cost is idle time of devices: more than that cannot be gained."""
