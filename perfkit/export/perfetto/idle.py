"""Idle gaps of a device, by cause: the pieces that perfkit's wall time has (docs/wall.md), none left out."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.idle.doing import host_doing
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.export.perfetto.tracks import Arg, Slices, of_one_category, present

CATEGORY = "perfkit.idle"
_NAMES = tuple(f"idle: {cause.label}" for cause in sorted(Cause))


def gaps(account: Account, device: int) -> Slices:
    """The idle time of a device, an index into the account's labels: one slice for each piece."""
    wall, events = account.wall, account.attribution.events
    pieces = wall.pieces
    rows = np.flatnonzero(wall.gaps.device[pieces.gap] == device)
    rows = rows[np.argsort(pieces.start[rows], kind="stable")]
    doing, ender = host_doing(account, rows), wall.gaps.ender[pieces.gap[rows]]
    names, phases = account.trace.names, tuple(phase.label for phase in sorted(Phase))
    args = present(
        Arg("step", pieces.step[rows]),
        Arg("host operator", doing.operator, names),
        Arg("host range", doing.range, names),
        Arg("Python", doing.frame, names),
        Arg("waited in", doing.call, names),
        Arg("ended by", _at(account.trace.device.name, ender), names),
        Arg("scope of what ended it", _at(events.path, ender), account.attribution.paths),
        Arg("phase of what ended it", _at(events.phase, ender), phases),
    )
    return of_one_category(pieces.start[rows], pieces.end[rows], pieces.cause[rows], _NAMES, CATEGORY, args)


def _at(column: Ints, row: Ints) -> Ints:
    return at(column.astype(np.int64), row, absent=NONE)
