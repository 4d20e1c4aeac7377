"""What the optimizer holds: its state, which stays, and what it computes with, which comes and goes."""

from __future__ import annotations

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.memory import alive
from perfkit.analysis.memory.lifetimes import LABELS, Kind
from perfkit.analysis.memory.recorded import curves
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

_STATE = 0.3
"""Share of the peak from which the state is worth a word."""
_TEMPORARIES = 0.05
_NEAR = 0.95
"""Of the peak: phases that come so near to it are as high."""

OPTIMIZER_STATE = Rule("optimizer-state", "memory", "the optimizer's state is a large part of the peak")
OPTIMIZER_TEMPORARIES = Rule(
    "optimizer-temporaries",
    "memory",
    "what the optimizer computes with, many parameters at once, is a part of the peak",
)
OPTIMIZER_PEAK = Rule(
    "optimizer-peak", "memory", "the peak is in the optimizer, where fewer activations do not lower it"
)


def optimizer_state(account: MemoryAccount) -> Finding | None:
    """State that lives at the peak.

    At stake: three quarters of it, which 8 bits save against 32.
    """
    held = alive.total(account, alive.of_kinds(account, Kind.OPTIMIZER))
    if alive.share(account, held) < _STATE:
        return None
    text = f"the optimizer's state is {alive.said(account, held)} of the peak"
    advice = (
        "its state in 8 bits (bitsandbytes' AdamW8bit), a quarter of it in fp32, or sharded over ranks (FSDP,"
        " ZeroRedundancyOptimizer)"
    )
    evidence = (Evidence("kinds", {"kind": LABELS[Kind.OPTIMIZER]}),)
    return Finding(OPTIMIZER_STATE, text, alive.cost(account, held * 3 / 4), evidence, advice)


def optimizer_temporaries(account: MemoryAccount) -> Finding | None:
    """Temporaries that the optimizer made and that live at the peak.

    At stake: all of them.
    """
    rows = alive.of_kinds(account, Kind.TEMPORARIES)
    rows = rows[account.lives.phase[rows] == Phase.OPTIMIZER]
    held = alive.total(account, rows)
    if alive.share(account, held) < _TEMPORARIES:
        return None
    text = (
        f"the optimizer computes with {alive.said(account, held)} of the peak, in"
        f" {units.many(len(rows), 'tensor', 'tensors')}: it updates many parameters at once"
    )
    advice = "fused=True when it is made (perfkit run: --optimizer adamw-fused), which computes in registers"
    evidence = (Evidence("kinds", {"kind": LABELS[Kind.TEMPORARIES]}),)
    return Finding(OPTIMIZER_TEMPORARIES, text, alive.cost(account, held), evidence, advice)


def optimizer_peak(account: MemoryAccount) -> Finding | None:
    """A peak in the optimizer, well above what forward and backward reach."""
    highest = {phase: peak.bytes for phase, peak in curves.by_phase(account.lives, account.at.device).items()}
    peak = highest.get(Phase.OPTIMIZER, 0)
    others = max((highest[phase] for phase in (Phase.FORWARD, Phase.BACKWARD) if phase in highest), default=0)
    if not others or account.at.bytes != peak or others >= _NEAR * peak:
        return None
    text = (
        f"the peak is in the optimizer: forward and backward reach {units.size(others)},"
        f" {units.percent(1 - others / peak)} less, so that a smaller batch, a shorter context or checkpointing do not"
        " lower it"
    )
    return Finding(OPTIMIZER_PEAK, text, alive.cost(account, peak - others), where=Phase.OPTIMIZER.label)
