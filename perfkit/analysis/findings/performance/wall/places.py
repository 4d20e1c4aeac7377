"""Pieces of idle time inside the steps, and the place in the program that most of them are behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.kernels import copies, kinds
from perfkit.analysis.time.idle.doing import host_doing
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.regex import Regex
from perfkit.schema import python_frames, units
from perfkit.schema.finding import Evidence

_WORTH_NAMING = 0.1
"""A place is named if it has a tenth of the time or more."""
_LONGEST = 80
"""Characters of a place's name."""
_LAYER = Regex(r"(?<=[._])\d+(?![A-Za-z\d])")


def pieces_of(case: Case, cause: Cause) -> Ints:
    """Rows of the wall's pieces with this cause, inside the steps.

    What lies before a device's first event is left out: it may have had work that was launched before the recording.
    """
    pieces = case.wall.pieces
    inside = pieces.step != NONE if case.account.steps else np.ones(len(pieces.cause), dtype=bool)
    return np.flatnonzero((pieces.cause == cause) & inside & ~case.wall.gaps.is_first[pieces.gap])


def idle_row(cause: Cause) -> Evidence:
    """The row of idle time of this cause."""
    return Evidence("wall_time", {"what": f"idle: {cause.label}"})


def place_of(case: Case, rows: Ints) -> str:
    """Before which work some pieces of idle time are, and where the host is meanwhile; empty where neither is known.

    `; of this idle time 81.0% is before work of encoder and 19.0% before other work, 53.0% passes while the host is
    in DDP.forward and 47.0% while it is elsewhere`. Either is a whole of two parts. Operators, ranges and frames
    overlap, so that the one with most time stands for all; of equals the operator, then the range.
    """
    wall, names = case.wall, case.trace.names
    ns, doing = wall.pieces.ns[rows], host_doing(case.account, rows)
    path = at(case.account.attribution.events.path, wall.gaps.ender[wall.pieces.gap[rows]], absent=NONE)
    work = _most(ns, path, [_LAYER.sub("*", text) for text in case.account.attribution.paths])
    frames = [python_frames.short(name) for name in names]
    host = max(
        (_most(ns, doing.operator, names), _most(ns, doing.range, names), _most(ns, doing.frame, frames)),
        key=lambda place: place[1],
    )
    parts = (
        _two_parts(work, "is before work of ", "before other work"),
        _two_parts(host, "passes while the host is in ", "while it is elsewhere"),
    )
    said = ", ".join(filter(None, parts))
    return f"; of this idle time {said}" if said else ""


def _two_parts(place: tuple[str, float], lead: str, other: str) -> str:
    """`81.0% is before work of encoder and 19.0% before other work`."""
    text, share = place
    if not text:
        return ""
    named, whole = units.percent(share), units.percent(1.0)
    if named == whole:
        return f"all {lead}{text[:_LONGEST]}"
    return f"{named} {lead}{text[:_LONGEST]} and {units.percent(1 - share)} {other}"


def _most(ns: Ints, codes: Ints, texts: Sequence[str]) -> tuple[str, float]:
    """The text with most time, and its share of all; empty where no text has enough."""
    times: dict[str, int] = {}
    for code, time in zip(*_summed(codes, ns), strict=True):
        if code != NONE:
            times[texts[code]] = times.get(texts[code], 0) + time
    text = max(times, key=lambda one: times[one], default="")
    share = times[text] / max(int(ns.sum()), 1) if text else 0.0
    return (text, share) if share >= _WORTH_NAMING else ("", 0.0)


def _summed(codes: Ints, ns: Ints) -> Iterator[list[int]]:
    values, place = np.unique(codes, return_inverse=True)
    yield values.tolist()
    yield np.bincount(place, weights=ns).astype(np.int64).tolist()


def waiting_calls(case: Case, rows: Ints) -> Ints:
    """The call that waited when each of these pieces began, as a row of the host; NONE for none."""
    return case.wall.gaps.call[case.wall.pieces.gap[rows]]


def copies_to_device(case: Case) -> Bools:
    """Device events that copy from the host."""
    to_device = np.array([copies.direction(name) == kinds.HOST_TO_DEVICE for name in case.trace.names], dtype=bool)
    return case.is_copy & at(to_device, case.trace.device.name, absent=False)


def waits_for_copy(case: Case, rows: Ints) -> Bools:
    """Blocked pieces whose call, or the operator that it is in, launched a copy to the device."""
    launch = case.account.attribution.events.launch[copies_to_device(case)]
    launch = launch[launch != NONE]
    call = waiting_calls(case, rows)
    unit, copying = at(case.units.of, call, absent=NONE), at(case.units.of, launch, absent=NONE)
    found: Bools = np.isin(call, launch) | (np.isin(unit, copying) & (unit != NONE))
    return found
