"""What the host was doing while a device had nothing to run: the operator, the range and the Python frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.schema import python_frames
from perfkit.trace.columns import MISSING, HostKind

if TYPE_CHECKING:
    from perfkit.analysis.attribution.host_view import HostView
    from perfkit.analysis.time.account import Account

_QUEUED = (Cause.DEPENDENCY, Cause.UNKNOWN)


class Doing(msgspec.Struct, frozen=True):
    """One row a piece of a gap; indices into the trace's names, NONE for none."""

    operator: Ints
    """The operator that the program called: `aten::layer_norm`, and not what it called. Of blocked pieces the operator
    that waited: `aten::item`, whether the program called it or another operator did."""
    range: Ints
    """The innermost range of the user's, a library's or perfkit's; no step."""
    frame: Ints
    """The innermost Python frame that is neither torch's nor Python's own."""
    call: Ints
    """Of blocked pieces the call that waited."""


def host_doing(account: Account, rows: Ints) -> Doing:
    """What the thread that a gap is judged by did in the middle of these pieces; where it waited, the call's place.

    Where the work that ended the gap was queued already, the host has no part in it: there is nothing here.
    """
    wall, host = account.wall, account.attribution.host
    gap, cause = wall.pieces.gap[rows], wall.pieces.cause[rows]
    thread = np.where(np.isin(cause, _QUEUED), NONE, wall.gaps.thread[gap])
    call = np.where(cause == Cause.BLOCKING, wall.gaps.call[gap], NONE)
    middle = wall.pieces.start[rows] + wall.pieces.ns[rows] // 2
    row = np.where(call == NONE, open_at(host, thread, middle), call)
    operator = np.where(call == NONE, called_operator(account, row), waiting_operator(account, call))
    return Doing(
        operator=names_of(host, operator),
        range=names_of(host, ancestor(host, row, _is_range(host))),
        frame=frames_of(account, row),
        call=names_of(host, call),
    )


def names_of(host: HostView, row: Ints) -> Ints:
    """The name of each row, as an index into the trace's names; NONE for NONE."""
    return at(host.name.astype(np.int64), row, absent=NONE)


def open_at(host: HostView, thread: Ints, time: Ints) -> Ints:
    """The innermost range that is open on each thread at a time, as a row of the forest; NONE for none."""
    row = np.full(len(time), NONE, dtype=np.int64)
    for number in np.unique(thread[thread != NONE]).tolist():
        first, last = np.searchsorted(host.thread, (number, number + 1))
        asked = np.flatnonzero(thread == number)
        place = np.searchsorted(host.start[first:last], time[asked], side="right") - 1
        row[asked] = np.where(place < 0, NONE, first + place)
    while len(closed := np.flatnonzero((row != NONE) & (at(host.end, row, absent=0) <= time))):
        row[closed] = host.forest.parent[row[closed]]
    return row


def ancestor(host: HostView, row: Ints, flagged: Bools) -> Ints:
    """The nearest self-or-ancestor of some rows that is flagged; NONE for none."""
    found = row.astype(np.int64)
    above = np.flatnonzero(found != NONE)
    while len(above := above[(found[above] != NONE) & ~at(flagged, found[above], absent=True)]):
        found[above] = host.forest.parent[found[above]]
    return found


def waiting_operator(account: Account, row: Ints) -> Ints:
    """The innermost operator that each row is in, without those that are not for users, `aten::_local_scalar_dense`."""
    host = account.attribution.host
    is_public = _is_operator(host) & host.matching(lambda name: not name.rpartition("::")[2].startswith("_"))
    return ancestor(host, row, is_public)


def _is_operator(host: HostView) -> Bools:
    own = np.zeros(len(host.names), dtype=bool)
    own[list(host.own_names)] = True
    is_op: Bools = (host.kind == HostKind.OP) & ~own[host.name]
    return is_op


def called_operator(account: Account, row: Ints) -> Ints:
    """The operator that each row is in: of those that call each other by the dispatcher the outermost."""
    host = account.attribution.host
    is_operator = _is_operator(host)
    dispatched = is_operator & host.matching(lambda name: "::" in name and not name.startswith("autograd::"))
    found = ancestor(host, row, is_operator)
    inner = np.flatnonzero(at(dispatched, found, absent=False))
    while len(inner):
        above = host.forest.parent[found[inner]]
        inner = inner[at(dispatched, above, absent=False)]
        found[inner] = host.forest.parent[found[inner]]
    return found


def _is_range(host: HostView) -> Bools:
    return (np.isin(host.kind, (HostKind.ANNOTATION, HostKind.LIBRARY)) | host.own("phase")) & ~host.is_step


def frames_of(account: Account, row: Ints) -> Ints:
    """The user's frame round each row, or in files of 2021 that of its operator."""
    host, recorded = account.attribution.host, account.trace.host
    of_user = (host.kind == HostKind.PYTHON) & host.matching(python_frames.is_users)
    stack = recorded.frame[host.forest.order]
    names = np.where(stack != MISSING, stack, np.where(of_user, host.name, NONE)).astype(np.int64)
    return at(names, ancestor(host, row, names != NONE), absent=NONE)
