"""Why shares of the steps' wall time add up to more than 100%."""

from __future__ import annotations

from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.cells import BY_STEP
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.summary import SPANS
from perfkit.schema import units

_WORTH_SAYING = 0.01
"""A reason that explains less than this share of the steps' wall time is left out, where there is a larger one."""


def over_the_steps(partial: Partial) -> str:
    """A note for a column of shares of the steps' wall time; empty where they add up to 100% or less.

    Three times explain the excess to the nanosecond: what was launched outside the steps, what ran beside other work of
    the same device, and how much longer than the steps the devices were busy with what was launched in them.
    """
    rows, wall = partial.of(BY_STEP), partial.facts.step_wall
    total = int(rows["total_ns"].sum())
    if not wall or total <= wall:
        return ""
    inside = rows[rows["step"] != NONE]
    launched, busy = int(inside["total_ns"].sum()), int(inside["exclusive_ns"].sum())
    devices = max(len(partial.of(SPANS)), 1)
    room = max(min(busy, devices * wall), wall)
    reasons = {
        f"{units.duration_ns(total - launched)} was launched outside the steps, or before recording": total - launched,
        f"{units.duration_ns(launched - busy)} ran beside other work of its device": launched - busy,
        f"{devices} devices work at once": room - wall,
        f"the device runs behind the host, and still works when a step has ended: it was busy for"
        f" {units.duration_ns(busy)} with what steps of {units.duration_ns(wall)} launched": busy - room,
    }
    least = min(_WORTH_SAYING * wall, max(reasons.values()))
    said = sorted(filter(lambda reason: reasons[reason] >= least, reasons), key=lambda reason: -reasons[reason])
    return f"adds up to {units.percent(total / wall)}: {', and '.join(said)}"
