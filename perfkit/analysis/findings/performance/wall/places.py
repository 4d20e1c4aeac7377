"""Pieces of idle time inside the steps, and the place in the program that most of them are behind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.findings.performance.case import Case
from perfkit.analysis.kernels import copies, kinds
from perfkit.analysis.time.idle.doing import host_doing
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.schema import python_frames, units
from perfkit.schema.finding import Evidence

_WORTH_NAMING = 0.1
"""A place is named if it has a tenth of the time or more."""
_LAYER = re.compile(r"(?<=[._])\d+(?![A-Za-z\d])")


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
    """The operator, module, range and Python frame behind most of some pieces, with their shares; empty for none."""
    wall, names = case.wall, case.trace.names
    ns, doing = wall.pieces.ns[rows], host_doing(case.account, rows)
    path = at(case.account.attribution.events.path, wall.gaps.ender[wall.pieces.gap[rows]], absent=NONE)
    found = (
        ("", _most(ns, doing.operator, names)),
        ("work of ", _most(ns, path, [_LAYER.sub("*", text) for text in case.account.attribution.paths])),
        ("", _most(ns, doing.range, names)),
        ("", _most(ns, doing.frame, [python_frames.short(name) for name in names])),
    )
    said = list(dict.fromkeys(f"{lead}{text[:80]} ({units.percent(share)})" for lead, (text, share) in found if text))
    return ", ".join(said)


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
