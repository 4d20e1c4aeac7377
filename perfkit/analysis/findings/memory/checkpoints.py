"""Activation checkpointing: whether it would lower the peak, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.memory import alive
from perfkit.analysis.memory.recorded import live, saved
from perfkit.analysis.memory.recorded.account import MemoryAccount, the_peak
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.trace.columns import MISSING, Int64s

_LEAST = 0.1
"""Share of the peak that is worth computing forward twice."""
_MATTERS = 0.1
"""Share of the peak that blocks keep, from which somebody may think of checkpointing."""

CHECKPOINTING = Rule("checkpointing", "memory", "what checkpointing each block would take off the peak")
NO_CHECKPOINTING = Rule(
    "no-checkpointing", "memory", "checkpointing would not lower the peak, though blocks keep activations", read="detail"
)


@dataclass(frozen=True, slots=True)
class _Blocks:
    rows: Int64s
    """What blocks keep for backward."""
    count: int
    each: int
    """Bytes that the largest of them keeps."""
    inputs: int
    """Bytes of a block's input, which it keeps when it is checkpointed."""


def checkpointing(account: MemoryAccount) -> Finding | None:
    """What blocks keep in the step of the peak, against their inputs and one block's activations at a time.

    At stake: what the peak would be lower, after the curve of live bytes without what blocks keep.
    """
    lives, peak = account.lives, the_peak(account.lives)
    blocks = _blocks(account, peak.moment)
    if blocks is None or (lives.phase == Phase.RECOMPUTE).any():
        return None
    kept = alive.total(account, blocks.rows)
    lower = peak.bytes - _peak_with(account, blocks)
    text = f"{units.many(blocks.count, 'block keeps', 'blocks keep')} {units.size(kept)} for backward"
    evidence = (Evidence("saved", {}),)
    if lower >= _LEAST * peak.bytes:
        text += (
            f": checkpointing each would keep their inputs ({units.size(blocks.inputs)} each) and compute the rest"
            f" twice, for a peak of {units.size(peak.bytes - lower)}, {units.percent(lower / peak.bytes)} less"
        )
        advice = "torch.utils.checkpoint round each block (perfkit run: --checkpoint)"
        return Finding(CHECKPOINTING, text, alive.cost(account, lower), evidence, advice, "derived")
    if kept < _MATTERS * peak.bytes:
        return None
    text += f", but checkpointing them would lower the peak by {units.percent(max(lower, 0) / peak.bytes)} only"
    return Finding(NO_CHECKPOINTING, text, alive.cost(account, max(lower, 0)), evidence, "", "derived")


def _blocks(account: MemoryAccount, moment: int) -> _Blocks | None:
    """Blocks that are alike in what they keep; None where there are fewer than two."""
    lives, device = account.lives, account.at.device
    rows = saved.kept(lives, device, saved.the_step(lives, device, moment))
    of_scope = saved.blocks_of(lives.scopes)
    numbered = {scope: block for scope, block in of_scope.items() if block[-1:].isdigit()}
    names = sorted(set(numbered.values()))
    number = np.array([names.index(numbered[scope]) if scope in numbered else MISSING for scope in lives.scopes] + [MISSING])
    block = number[lives.scope[rows]]
    rows, block = rows[block != MISSING], block[block != MISSING]
    if len(np.unique(block)) < 2:
        return None
    each = np.bincount(block, weights=lives.size[rows])
    # A block's output, the next one's input, is the last that it keeps.
    last = [int(lives.size[own[lives.begin[own].argmax()]]) for own in (rows[block == one] for one in np.unique(block))]
    return _Blocks(rows, len(np.unique(block)), int(each.max()), int(np.median(last)))


def _peak_with(account: MemoryAccount, blocks: _Blocks) -> int:
    """The peak if each block kept its input, and one at a time everything while backward runs."""
    lives, device = account.lives, account.at.device
    moments, used = live.line(lives, device)
    of_blocks = live.held_at(lives, blocks.rows, moments)
    left = used - of_blocks * (1 - min(blocks.inputs / max(blocks.each, 1), 1.0))
    in_backward = np.zeros(len(moments), bool)
    for span in lives.spans:
        if span.device == device and span.phase == Phase.BACKWARD:
            in_backward |= (moments >= span.first) & (moments <= span.last)
    again = np.where(in_backward & (of_blocks > 0), blocks.each - blocks.inputs, 0)
    return int((left + np.minimum(again, of_blocks)).max())
