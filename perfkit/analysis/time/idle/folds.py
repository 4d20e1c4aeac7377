"""What adds up of the wall time: rows for each device, step, kind and cause, and for the place of each idle piece."""

from __future__ import annotations

from typing import Any

import numpy as np

from perfkit.analysis.attribution.attribute import steps_at
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle.doing import Doing, frames_of, host_doing, names_of, waiting_operator
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.idle.waits import host_calls
from perfkit.analysis.time.partial import Fold, Rows


def _wall_rows(account: Account) -> Rows:
    busy, pieces = account.wall.busy, account.wall.pieces
    columns = {
        "device": (busy.device, account.wall.gaps.device[pieces.gap]),
        "step": (busy.step, pieces.step),
        "kind": (busy.kind, np.full(len(pieces.gap), Kind.IDLE)),
        "cause": (np.full(len(busy.ns), NONE), pieces.cause),
        "total_ns": (busy.ns, pieces.ns),
    }
    return {name: np.concatenate(both).astype(np.int64) for name, both in columns.items()}


WALL_TIME = Fold(
    "wall time",
    _wall_rows,
    keys=("device", "step", "kind", "cause"),
    measures={"total_ns": "sum"},
    texts={"device": "device_labels"},
)
"""The wall time of each device and step, by what ran; of idle time, by its cause."""


def _idle_rows(account: Account) -> Rows:
    pieces, gaps = account.wall.pieces, account.wall.gaps
    return {
        "device": gaps.device[pieces.gap],
        "step": pieces.step,
        "cause": pieces.cause,
        **_place(account, gaps.ender[pieces.gap], host_doing(account, np.arange(len(pieces.gap)))),
        "count": np.ones(len(pieces.gap), dtype=np.int64),
        "total_ns": pieces.ns,
    }


def _place(account: Account, ender: Ints, doing: Doing) -> dict[str, Ints]:
    """The place of idle time in the program: that of the work that ended it, and what the host was doing."""
    events = account.attribution.events
    return {
        "path": at(events.path, ender, absent=NONE).astype(np.int64),
        "phase": at(events.phase.astype(np.int64), ender, absent=NONE),
        "operator": doing.operator,
        "range": doing.range,
        "frame": doing.frame,
        "call": doing.call,
    }


_PLACE = ("path", "phase", "operator", "range", "frame", "call")
_PLACE_TEXTS: dict[str, Any] = {"path": "paths", **dict.fromkeys(("operator", "range", "frame", "call"), "names")}

IDLE_TIME = Fold(
    "idle time",
    _idle_rows,
    keys=("device", "step", "cause", *_PLACE),
    measures={"count": "sum", "total_ns": "sum"},
    texts={"device": "device_labels", **_PLACE_TEXTS},
)
"""Idle time by cause and place: path and phase of the work whose late launch ended it, and what the host was doing."""

LONGEST = 10
"""Gaps that are kept of each account."""


def _longest_rows(account: Account) -> Rows:
    """The longest stretches without work, each in one step or outside, by place and by the cause of most of it."""
    pieces, gaps, ns = account.wall.pieces, account.wall.gaps, account.wall.pieces.ns
    is_first = (np.diff(pieces.gap, prepend=NONE) != 0) | (np.diff(pieces.step, prepend=NONE) != 0)
    first = np.flatnonzero(is_first)
    length = np.add.reduceat(ns, first) if len(first) else ns
    device = gaps.device[pieces.gap[first]]
    longest = np.lexsort((device, pieces.start[first], -length))[:LONGEST]
    parts = [np.arange(*np.append(first, len(ns))[[row, row + 1]]) for row in longest.tolist()]
    main = np.array([part[ns[part].argmax()] for part in parts], dtype=np.int64)
    ender = gaps.ender[pieces.gap[main]]
    return {
        "source": np.full(len(parts), account.trace.source, dtype=object),
        "device": device[longest],
        "step": pieces.step[main],
        "at_ns": pieces.start[first[longest]] - _zero(account, device[longest], pieces.step[main]),
        "cause": np.array([_causes(pieces.cause[part], ns[part]) for part in parts], dtype=object),
        "ended_by": at(account.trace.device.name.astype(np.int64), ender, absent=NONE),
        **_place(account, ender, host_doing(account, main)),
        "total_ns": length[longest],
    }


def _causes(cause: Ints, ns: Ints) -> str:
    """The causes of a gap, that of most of its time first."""
    times = np.bincount(cause, weights=ns, minlength=len(Cause))
    return ", ".join(Cause(number).label for number in np.argsort(-times, kind="stable").tolist() if times[number])


def _zero(account: Account, device: Ints, step: Ints) -> Ints:
    """From when the times of each device and step count: the step's begin or, outside, the device's first event."""
    zeros = []
    for number, index in zip(device.tolist(), step.tolist(), strict=True):
        regions = account.wall.regions[number]
        zeros.append(int(regions.start[regions.step == index][0]) if index != NONE else account.wall.first[number])
    return np.array(zeros, dtype=np.int64)


LONGEST_GAPS = Fold(
    "longest gaps",
    _longest_rows,
    keys=("source", "device", "step", "at_ns", "cause", "ended_by", *_PLACE),
    measures={"total_ns": "sum"},
    texts={"device": "device_labels", "ended_by": "names", **_PLACE_TEXTS},
)
"""The longest gaps of each account, so that those of several have the longest of all among them."""


def _call_rows(account: Account) -> Rows:
    """Calls that wait for a device, in the steps where they began, and the idle time that they caused where it was."""
    host, pieces, gaps = account.attribution.host, account.wall.pieces, account.wall.gaps
    waiting = host_calls(account.trace, account.attribution).waiting if account.on_device else gaps.call[:0]
    step = _step_of_calls(account, waiting)
    is_here = step != _ELSEWHERE
    waiting, step = waiting[is_here], step[is_here]
    blocked = np.flatnonzero(pieces.cause == Cause.BLOCKING)
    call = np.concatenate((waiting, gaps.call[pieces.gap[blocked]]))
    nothing, none = np.zeros(len(waiting), dtype=np.int64), np.zeros(len(blocked), dtype=np.int64)
    return {
        "call": names_of(host, call),
        "operator": names_of(host, waiting_operator(account, call)),
        "frame": frames_of(account, call),
        "path": at(account.attribution.ranges.path, call, absent=NONE).astype(np.int64),
        "step": np.concatenate((step, pieces.step[blocked])),
        "count": np.concatenate((nothing + 1, none)),
        "total_ns": np.concatenate(((host.end - host.start)[waiting], none)),
        "idle_ns": np.concatenate((nothing, pieces.ns[blocked])),
    }


_ELSEWHERE = NONE - 1


def _step_of_calls(account: Account, rows: Ints) -> Ints:
    """The account's step in which each call began; NONE outside the steps, _ELSEWHERE where the account has none."""
    trace, attribution = account.trace, account.attribution
    process = np.array([thread.pid for thread in trace.threads], dtype=np.int64)
    known = np.ones(len(rows), dtype=bool)
    time, owner = attribution.host.start[rows], process[attribution.host.thread[rows]]
    number = np.full(len(attribution.steps) + 1, _ELSEWHERE, dtype=np.int64)
    number[list(account.steps)] = np.arange(len(account.steps))
    number[-1] = _ELSEWHERE if account.steps and account.steps_only else NONE
    return number[steps_at(trace, time, known, owner, attribution.steps)]


WAITING_CALLS = Fold(
    "waiting calls",
    _call_rows,
    keys=("call", "operator", "frame", "path", "step"),
    measures={"count": "sum", "total_ns": "sum", "idle_ns": "sum"},
    texts={"call": "names", "operator": "names", "frame": "names", "path": "paths"},
)
"""Calls that return when a device has come so far, and the idle time that began while they waited."""
