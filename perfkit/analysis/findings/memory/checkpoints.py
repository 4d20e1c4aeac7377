"""Activation checkpointing: whether it would lower the peak, and by how much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.memory import alive
from perfkit.analysis.memory.recorded import curves, live, saved
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
    "no-checkpointing",
    "memory",
    "checkpointing would hardly lower the peak, though blocks keep much",
    read="detail",
)


@dataclass(frozen=True, slots=True)
class _Blocks:
    rows: Int64s
    """What blocks keep for backward, in all steps."""
    begins: Int64s
    """Moments at which blocks begin to run backward, one a step."""
    count: int
    kept: int
    """Bytes that all of them keep, in one step."""
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
    lower = max(peak.bytes - _peak_with(account, blocks), 0)
    text = f"{units.many(blocks.count, 'block keeps', 'blocks keep')} {units.size(blocks.kept)} for backward"
    evidence = (Evidence("saved", {}),)
    if lower >= _LEAST * peak.bytes:
        text += (
            f": checkpointing each would keep their inputs ({units.size(blocks.inputs)} each) and compute the rest"
            f" twice, for a peak of {units.size(peak.bytes - lower)}, {units.percent(lower / peak.bytes)} less"
        )
        advice = "torch.utils.checkpoint round each block (perfkit run: --checkpoint)"
        return Finding(CHECKPOINTING, text, alive.cost(account, lower), evidence, advice, "derived")
    if blocks.kept < _MATTERS * peak.bytes:
        return None
    text += ", but checkpointing them would " + (
        f"lower the peak by {units.percent(lower / peak.bytes)} only" if lower else "not lower the peak"
    )
    return Finding(NO_CHECKPOINTING, text, alive.cost(account, lower), evidence, "", "derived")


def _blocks(account: MemoryAccount, moment: int) -> _Blocks | None:
    """Blocks with a number, and what they keep; None where there are fewer than two."""
    lives, device = account.lives, account.at.device
    blocks = saved.blocks_of(lives.scopes)
    names = [blocks[scope] for scope in lives.scopes]
    places = {name: place for place, name in enumerate(dict.fromkeys(names)) if name[-1:].isdigit()}
    block = np.array([*(places.get(name, MISSING) for name in names), MISSING])[lives.scope]
    spans = [span for span in lives.spans if span.device == device and span.phase == Phase.BACKWARD]
    steps = {span.step: saved.kept(lives, device, span.step) for span in spans}
    steps = {step: rows[block[rows] != MISSING] for step, rows in steps.items()}
    rows = steps.get(saved.the_step(lives, device, moment), np.empty(0, np.int64))
    numbers = np.unique(block[rows])
    if len(numbers) < 2:
        return None
    each = np.bincount(block[rows], weights=lives.size[rows])
    # A block's output, the next one's input, is the last that it keeps.
    last = [int(lives.size[own[lives.begin[own].argmax()]]) for own in (rows[block[rows] == one] for one in numbers)]
    in_backward = np.sort(lives.begin[(block != MISSING) & (lives.phase == Phase.BACKWARD) & (lives.device == device)])
    first = np.array([span.first for span in spans], np.int64)
    begins = np.append(in_backward, np.iinfo(np.int64).max)[np.searchsorted(in_backward, first)]
    total = alive.total(account, rows)
    return _Blocks(
        np.concatenate([*steps.values()]), begins, len(numbers), total, int(each.max()), int(np.median(last))
    )


def _peak_with(account: MemoryAccount, blocks: _Blocks) -> int:
    """The peak if each block kept its input alone, and while blocks run backward one of them everything."""
    lives, device = account.lives, account.at.device
    moments, used = live.line(lives, device)
    of_blocks = curves.held_at(lives, blocks.rows, moments)
    left = used - of_blocks * (1 - min(blocks.inputs / max(blocks.each, 1), 1.0))
    again = np.zeros(len(moments), bool)
    spans = (span for span in lives.spans if span.device == device and span.phase == Phase.BACKWARD)
    for span, begin in zip(spans, blocks.begins.tolist(), strict=True):
        again |= (moments >= begin) & (moments <= span.last)
    return int((left + np.where(again, np.minimum(blocks.each - blocks.inputs, of_blocks), 0)).max())
