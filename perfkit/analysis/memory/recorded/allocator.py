"""What the caching allocator did beside what was asked of it: rounding, segments, and how much it was used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from perfkit.analysis.memory.lifetimes import ALWAYS, STILL, Lifetimes
from perfkit.analysis.memory.recorded import live
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.memory.recorded.live import Peak
from perfkit.schema.table import Column, Table
from perfkit.trace.snapshot.columns import Action, BlockState, Snapshot

BLOCK = 512
"""Bytes. PyTorch's caching allocator rounds every request up to a multiple of this (CUDACachingAllocator.cpp,
kMinBlockSize). With `roundup_power2_divisions` it rounds further, which is not counted."""
_EMPTIES = "emptyCache"
"""In the C++ frames of `torch.cuda.empty_cache()`."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """By how much blocks exceed what was requested."""

    bytes: int
    known: int
    """Bytes of it in blocks that live at the end of the recording, whose sizes are recorded. The rest is rounded up to
    512 bytes: it lacks what large blocks keep when they are not split, up to 1 MiB each."""


def rounding(snapshot: Snapshot, lives: Lifetimes, at: Peak) -> Rounding:
    """What blocks exceed requests by at a moment."""
    rows = live.alive(lives, at)
    least = -(-np.maximum(lives.size[rows], 1) // BLOCK) * BLOCK - lives.size[rows]
    blocks = snapshot.blocks
    used = np.flatnonzero(
        (blocks.state != BlockState.INACTIVE) & (snapshot.segments.device[blocks.segment] == at.device)
    )
    used = used[np.argsort(blocks.address[used], kind="stable")]
    place = np.minimum(np.searchsorted(blocks.address[used], lives.address[rows]), max(len(used) - 1, 0))
    known = np.zeros(len(rows), bool)
    if len(used):
        same = (blocks.address[used][place] == lives.address[rows]) & (lives.end[rows] == STILL)
        known = same & (blocks.requested[used][place] == lives.size[rows])
        exact = blocks.size[used][place] - blocks.requested[used][place]
        least = np.where(known, exact, least)
    return Rounding(int(least.sum()), int(least[known].sum()))


def reserved(snapshot: Snapshot, at: Peak) -> int:
    """Bytes that the allocator had from the driver at a moment: those of the end, and back from there by its events."""
    events, segments = snapshot.events, snapshot.segments
    later = (events.device == at.device) & (np.arange(len(events)) > at.moment)
    came = later & ((events.action == Action.SEGMENT_ALLOC) | (events.action == Action.SEGMENT_MAP))
    went = later & ((events.action == Action.SEGMENT_FREE) | (events.action == Action.SEGMENT_UNMAP))
    end = int(segments.total[segments.device == at.device].sum())
    return end - int(events.size[came].sum()) + int(events.size[went].sum())


_ROWS = (
    ("allocations", (Action.ALLOC,)),
    ("frees", (Action.FREE_COMPLETED,)),
    ("segments from the driver", (Action.SEGMENT_ALLOC,)),
    ("segments grown", (Action.SEGMENT_MAP,)),
    ("segments back to the driver", (Action.SEGMENT_FREE, Action.SEGMENT_UNMAP)),
    ("out of memory", (Action.OOM,)),
)


def behaviour(account: MemoryAccount) -> Table:
    """How often the allocator of the peak's device did what, and with how many bytes.

    A retry is a stretch of segments that went back to the driver without `empty_cache`, followed by a new one: the
    driver had nothing left, and the allocator gave up what it kept. `churn` is what was allocated over the peak.
    """
    lives, snapshot, device = account.lives, account.snapshot, account.at.device
    rows: list[tuple[str, int, int]] = []
    if snapshot is None:
        made = (lives.begin != ALWAYS) & (lives.device == device)
        freed = (lives.end != STILL) & (lives.device == device)
        pairs = (("allocations", made), ("frees", freed))
        rows += [(what, int(one.sum()), int(lives.size[one].sum())) for what, one in pairs]
    else:
        events = snapshot.events
        for what, actions in _ROWS:
            chosen = np.isin(events.action, actions) & (events.device == device)
            rows.append((what, int(chosen.sum()), int(events.size[chosen].sum())))
        rows.append(("retries after giving segments back", _retries(snapshot, device), 0))
    columns = (
        Column("what"),
        Column("count", "", "count", divided=False),
        Column("bytes", "B", "bytes", divided=False),
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    return Table("allocator", "What the allocator did", columns, frame)


def churn(lives: Lifetimes, at: Peak) -> float:
    """Bytes that were allocated in the recording over the bytes of its peak."""
    made = (lives.begin != ALWAYS) & (lives.device == at.device)
    return float(lives.size[made].sum()) / at.bytes if at.bytes else 0.0


def _retries(snapshot: Snapshot, device: int) -> int:
    events = snapshot.events
    empties = np.array([_EMPTIES in frame.name for frame in snapshot.frames], bool)
    by_user = np.array([bool(empties[snapshot.stacks.of(one)].any()) for one in range(len(snapshot.stacks))] + [False])
    segments = (Action.SEGMENT_ALLOC, Action.SEGMENT_MAP, Action.SEGMENT_FREE, Action.SEGMENT_UNMAP)
    rows = np.flatnonzero((events.device == device) & np.isin(events.action, segments))
    back = np.isin(events.action[rows], (Action.SEGMENT_FREE, Action.SEGMENT_UNMAP))
    own = back & ~by_user[events.stack[rows]]  # MISSING finds the last, of having no stack
    return int((own[:-1] & ~back[1:]).sum())
