"""Blocks of a model whose recording names none: what its loop over blocks allocates repeats, stack by stack.

Stacks that occur equally often in a pass of forward, at least twice, are those of a loop's body. Where several loops
are nested, the outermost counts. A block begins with the first of these stacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.recorded.pieces import Pieces
from perfkit.analysis.memory.recorded.timeline import Timeline
from perfkit.trace.columns import MISSING, Int32s
from perfkit.trace.snapshot.columns import Snapshot

_SHARE = 0.2
"""Of a pass's allocations a loop makes at least so many."""

Chain = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Loop:
    body: npt.NDArray[np.bool_]
    """Per stack, whether it occurs once or equally often in every turn."""
    inside: npt.NDArray[np.bool_]
    """Per stack, whether its outer frames are the loop's."""


def of_forward(snapshot: Snapshot, stack: Int32s, run: Int32s) -> Int32s:
    """The number of the block that made each piece; MISSING outside the blocks, and where none repeats.

    Rows are pieces that forward made, in order: the stack, and the stretch of events of each.
    """
    block = np.full(len(stack), MISSING, np.int32)
    if not len(stack):
        return block
    longest = np.bincount(run).argmax()
    loop = _loop(snapshot, stack[run == longest])
    if loop is None:
        return block
    for one in np.unique(run).tolist():
        rows = np.flatnonzero(run == one)
        block[rows] = _numbered(stack[rows], loop)
    return block


def _loop(snapshot: Snapshot, stack: Int32s) -> _Loop | None:
    """The outermost loop of one pass."""
    used, count = np.unique(stack[stack != MISSING], return_counts=True)
    chains = {one: _chain(snapshot, one) for one in used.tolist()}
    found: tuple[Chain, npt.NDArray[np.int32]] | None = None
    for often in np.unique(count[count > 1]).tolist():
        body = used[count == often]
        if len(body) < 2 or often * len(body) < _SHARE * len(stack):
            continue
        outer: Chain = _shared([chains[one] for one in body.tolist()])
        if found is None or len(outer) <= len(found[0]):
            found = outer, body
    if found is None:
        return None
    outer, body = found
    inside = np.zeros(len(snapshot.stacks) + 1, bool)
    inside[[one for one, chain in chains.items() if chain[: len(outer)] == outer]] = True
    is_body = np.zeros(len(inside), bool)
    is_body[body] = True
    return _Loop(is_body, inside)


def _shared(chains: Sequence[Chain]) -> Chain:
    """The frames with which all chains begin; of the least and the greatest, which differ first."""
    least, greatest = min(chains), max(chains)
    pairs = enumerate(zip(least, greatest, strict=False))
    return least[: next((place for place, (one, other) in pairs if one != other), len(least))]


def _chain(snapshot: Snapshot, stack: int) -> Chain:
    """The Python frames of a stack, outermost first."""
    frames = reversed(snapshot.stacks.of(stack).tolist())
    return tuple(frame for frame in frames if snapshot.frames[frame].file.endswith(".py"))


def _numbered(stack: Int32s, loop: _Loop) -> Int32s:
    """The number of the block of each allocation of one pass, or of several passes that follow each other."""
    block = np.full(len(stack), MISSING, np.int32)
    body = np.flatnonzero(loop.body[stack])
    if not len(body):
        return block
    begins = stack == stack[body[0]]
    number = np.cumsum(begins) - 1
    between = (np.arange(len(stack)) >= body[0]) & (np.arange(len(stack)) <= body[-1])
    passes = np.cumsum(~loop.inside[stack] & between)
    turns = np.bincount(passes[begins])
    if len(set(turns[turns > 0].tolist())) == 1:  # the passes are alike
        number %= turns.max()
    rows = np.flatnonzero(between & loop.inside[stack])
    block[rows] = number[rows]
    return block


def of_backward(pieces: Pieces, block: Int32s, times: Timeline) -> Int32s:
    """Give what backward made the block of the activation that it frees next; MISSING where that is outside blocks.

    A backward node frees what forward kept for it when it is done, and what it allocates comes before.
    """
    phases, run = times.phases(), times.run
    made = np.flatnonzero(pieces.begin >= 0)
    by_forward = phases[pieces.begin[made]] == Phase.FORWARD
    kept = made[by_forward]
    kept = kept[pieces.end[kept] < len(phases)]
    kept = kept[phases[pieces.end[kept]] == Phase.BACKWARD]
    kept = kept[np.argsort(pieces.end[kept], kind="stable")]
    rows = made[~by_forward]
    rows = rows[phases[pieces.begin[rows]] == Phase.BACKWARD]
    found = block.copy()
    place = np.searchsorted(pieces.end[kept], pieces.begin[rows])
    fits = place < len(kept)
    rows, kept = rows[fits], kept[place[fits]]
    same = run[pieces.end[kept]] == run[pieces.begin[rows]]
    found[rows[same]] = block[kept[same]]
    return found


def named(block: Int32s) -> tuple[Int32s, tuple[str, ...]]:
    """The blocks as scopes."""
    return block, tuple(f"block {number}" for number in range(int(block.max(initial=MISSING)) + 1))
