"""Every rule about a recording of memory, and their findings, most bytes at stake first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from perfkit.analysis.findings.memory import checkpoints, fragments, growth, logits, optimizer, scores
from perfkit.analysis.memory.recorded.account import MemoryAccount, the_peak
from perfkit.schema.finding import Finding

Find: TypeAlias = Callable[[MemoryAccount], Finding | None]
FINDINGS: tuple[Find, ...] = (
    growth.growing_memory,
    optimizer.optimizer_peak,
    logits.logits_peak,
    scores.kept_scores,
    checkpoints.checkpointing,
    optimizer.optimizer_state,
    optimizer.optimizer_temporaries,
    fragments.fragmentation,
)
"""Functions that look for findings."""


def findings(account: MemoryAccount, rules: Iterable[Find] = FINDINGS) -> tuple[Finding, ...]:
    """What they find, most bytes at stake first. They are about the peak, whatever moment is looked at: to lower
    another moment helps nobody, and what the allocator has free then it had to have at the peak.
    """
    at_peak = replace(account, at=the_peak(account.lives))
    found = filter(None, (find(at_peak) for find in rules))
    return tuple(sorted(found, key=lambda finding: -(finding.cost.share or 0.0)))
