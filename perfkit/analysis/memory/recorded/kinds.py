"""What memory is for, told by where it was made and how long it lived: for recordings of other people's programs.

A piece that ends in the stretch of events in which it was made is a temporary. One that outlives it is an activation
if forward made it, a gradient if backward did, and the optimizer's state if the optimizer did. What lived before the
first event is told by when it was freed, and by its size: parameters are as large as their gradients.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import ALWAYS, STILL, Kind
from perfkit.analysis.memory.recorded.pieces import Pieces
from perfkit.analysis.memory.recorded.timeline import Timeline
from perfkit.trace.columns import Bytes

NO_PHASES = "nothing in the recording says phases: record with stacks, or with annotations"
BEFORE = "it lived before the recording began, and no gradient of its size was made"
OUTSIDE = "it was made outside forward, backward and the optimizer"
_STATES = 2
"""Tensors that Adam keeps for each parameter."""
_OF_PHASE = {
    Phase.FORWARD: Kind.ACTIVATIONS,
    Phase.RECOMPUTE: Kind.ACTIVATIONS,
    Phase.BACKWARD: Kind.GRADIENTS,
    Phase.OPTIMIZER: Kind.OPTIMIZER,
}

Flags = npt.NDArray[np.bool_]


def by_lifetimes(pieces: Pieces, times: Timeline, phase: Bytes, builds: Flags, workspace: Flags) -> Bytes:
    """The Kind of each piece. `phase` is its own Phase; `builds` says that a module being made, loaded or moved
    allocated it, `workspace` that a library's workspace did."""
    if not times.knows:
        return np.where(workspace, np.uint8(Kind.WORKSPACES), np.uint8(Kind.UNKNOWN))
    kind = np.full(len(pieces), Kind.UNKNOWN, np.uint8)
    made = np.flatnonzero(pieces.begin != ALWAYS)
    begin, end = pieces.begin[made], pieces.end[made]
    over = times.last()[begin]
    again = phase[made] == Phase.RECOMPUTE
    over[again] = _end_of_recomputing(times)[begin[again]]
    outlives = end > over
    around = times.phases()[begin]
    told = np.where(phase[made] == Phase.OTHER, around, phase[made])
    chosen = np.full(len(made), Kind.UNKNOWN, np.uint8)
    for one, what in _OF_PHASE.items():
        chosen[outlives & (told == one)] = what
    chosen[outlives & (told == Phase.OTHER) & _sees_forward(times, end, over)] = Kind.CONSTANTS
    chosen[~outlives] = Kind.TEMPORARIES
    chosen[outlives & builds[made] & (phase[made] != Phase.BACKWARD)] = Kind.PARAMETERS
    kind[made] = chosen
    _tell_older(kind, pieces, times, phase, builds)
    kind[workspace] = Kind.WORKSPACES
    return kind


def _end_of_recomputing(times: Timeline) -> npt.NDArray[np.int64]:
    """Of each event the number of the last one of the stretch that is recomputed, or is not."""
    is_again = times.phase == Phase.RECOMPUTE
    said = is_again | (times.phase == Phase.BACKWARD)
    rows = np.flatnonzero(said)
    ends = np.zeros(len(said), bool)
    ends[rows[:-1]] = (is_again[rows[1:]] != is_again[rows[:-1]]) | (times.run[rows[1:]] != times.run[rows[:-1]])
    ends[-1:] = True
    return np.minimum.accumulate(np.where(ends, np.arange(len(said)), len(said))[::-1])[::-1]


def _sees_forward(times: Timeline, end: npt.NDArray[np.int64], over: npt.NDArray[np.int64]) -> Flags:
    """Whether a forward of the same device begins after a piece's stretch is over, and before the piece ends."""
    firsts = np.array([span.first for span in times.spans if span.phase == Phase.FORWARD], np.int64)
    if not len(firsts):
        return np.zeros(len(end), bool)
    after = np.searchsorted(firsts, over, side="right")
    first = np.append(firsts, STILL)[after]
    return (first < STILL) & (end > first)


def _tell_older(kind: Bytes, pieces: Pieces, times: Timeline, phase: Bytes, builds: Flags) -> None:
    """Tell what lived before the first event."""
    older = pieces.begin == ALWAYS
    stays = older & (pieces.end == STILL)
    ended = np.flatnonzero(older & ~stays)
    ended_in = times.phases()[pieces.end[ended]]
    kind[ended[ended_in == Phase.OPTIMIZER]] = Kind.OPTIMIZER
    kind[ended[ended_in == Phase.BACKWARD]] = Kind.ACTIVATIONS
    gradients = Counter(pieces.size[kind == Kind.GRADIENTS].tolist())
    if gradients:
        dropped = ended[(ended_in != Phase.OPTIMIZER) & (ended_in != Phase.BACKWARD)]
        _take(kind, pieces, dropped, gradients, Kind.GRADIENTS, 1)
    kind[older & builds] = Kind.PARAMETERS
    kind[older & (phase == Phase.OPTIMIZER)] = Kind.OPTIMIZER
    rows = np.flatnonzero(stays & (kind == Kind.UNKNOWN))
    if not gradients:
        if all(span.phase in (Phase.FORWARD, Phase.OTHER) for span in times.spans):
            kind[rows] = Kind.PARAMETERS
        return
    known = Counter(pieces.size[kind == Kind.PARAMETERS].tolist())
    rows = _take(kind, pieces, rows, gradients - known, Kind.PARAMETERS, 1)
    if not (kind == Kind.OPTIMIZER).any():
        _take(kind, pieces, rows, gradients, Kind.OPTIMIZER, _STATES)


def _take(
    kind: Bytes, pieces: Pieces, rows: npt.NDArray[np.int64], sizes: Counter[int], what: Kind, times: int
) -> npt.NDArray[np.int64]:
    """Give a kind to as many rows of each size as there are, so many times over; return the rows that are left."""
    order = rows[np.argsort(pieces.size[rows], kind="stable")]
    size = pieces.size[order]
    place = np.arange(len(size)) - np.searchsorted(size, size)
    wanted = np.array([times * sizes[one] for one in size.tolist()], np.int64)
    kind[order[place < wanted]] = what
    return order[place >= wanted]
