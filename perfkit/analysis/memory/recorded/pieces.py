"""Pieces: what was allocated and freed, paired by address. An address is used again and again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analysis.memory.lifetimes import ALWAYS, STILL
from perfkit.trace.columns import MISSING, Int32s, Int64s
from perfkit.trace.snapshot.columns import Action, BlockState, Snapshot


@dataclass(frozen=True, slots=True)
class Pieces:
    """One row a piece of memory: first what lived before the first event, then what was allocated, in that order."""

    device: Int32s
    address: Int64s
    size: Int64s
    begin: Int64s
    """Number of the allocating event, or ALWAYS."""
    end: Int64s
    """Number of the event that ended it, or STILL."""

    def __len__(self) -> int:
        return len(self.size)


def paired(device: Int32s, address: Int64s, size: Int64s, number: Int64s, is_free: np.ndarray) -> Pieces:
    """Pair allocations with what ends them. Each row is an allocation or a free's completion, in the order of `number`.

    A piece lives from its allocation to the next event at its address: its free, or, where events were lost, another
    allocation. Its size is the allocation's. A free that follows no allocation is of a piece that lived before the
    first event, of the size that the free says.
    """
    order = np.lexsort((address, device))
    same = (device[order[1:]] == device[order[:-1]]) & (address[order[1:]] == address[order[:-1]])
    end = np.full(len(order), STILL, np.int64)
    end[order[:-1][same]] = number[order[1:][same]]
    follows = np.zeros(len(order), bool)
    follows[order[1:][same]] = ~is_free[order[:-1][same]]
    lone, made = np.flatnonzero(is_free & ~follows), np.flatnonzero(~is_free)
    rows = np.concatenate((lone, made))
    begin = number[rows]
    begin[: len(lone)] = ALWAYS
    end = np.concatenate((number[lone], end[made]))
    return Pieces(device[rows], address[rows], size[rows], begin, end)


def of_snapshot(snapshot: Snapshot) -> tuple[Pieces, Int32s]:
    """The pieces of a snapshot, and the stack that allocated each one; MISSING where there is none.

    What lives in the segments at the end and was never allocated in the recording lived before its first event.
    """
    events, blocks = snapshot.events, snapshot.blocks
    rows = np.flatnonzero((events.action == Action.ALLOC) | (events.action == Action.FREE_COMPLETED))
    is_free = events.action[rows] == Action.FREE_COMPLETED
    pieces = paired(events.device[rows], events.address[rows], events.size[rows], rows.astype(np.int64), is_free)
    made = pieces.begin != ALWAYS

    lives = np.flatnonzero(blocks.state != BlockState.INACTIVE)
    device = snapshot.segments.device[blocks.segment[lives]]
    known = np.zeros(len(lives), bool)
    for one in np.unique(device).tolist():
        here = device == one
        known[here] = np.isin(blocks.address[lives[here]], pieces.address[made & (pieces.device == one)])
    device, older = device[~known], lives[~known]
    stack = np.full(len(pieces), MISSING, np.int32)
    stack[made] = events.stack[pieces.begin[made]]
    joined = Pieces(
        np.concatenate((device, pieces.device)),
        np.concatenate((blocks.address[older], pieces.address)),
        np.concatenate((blocks.requested[older], pieces.size)),
        np.concatenate((np.full(len(older), ALWAYS, np.int64), pieces.begin)),
        np.concatenate((np.full(len(older), STILL, np.int64), pieces.end)),
    )
    return joined, np.concatenate((blocks.stack[older], stack))
