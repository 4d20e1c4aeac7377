"""Logits and the loss: a vocabulary is many times wider than a model, and each of their tensors as wide as it."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analysis.findings.memory import alive
from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.trace.columns import MISSING, Int64s

_LEAST = 0.1
"""Share of the peak from which the finding is made."""
_LARGE = 2**20
"""Bytes from which a size tells a tensor of the loss among those of no known layer."""
_SCOPE = re.compile(r"(^|[./])(loss|criterion|head|lm_head|embed_out|unembed\w*)$")
_OPERATOR = re.compile(r"cross_entropy|nll_loss|log_softmax|NllLoss|LogSoftmax|CrossEntropy", re.IGNORECASE)
_PLACE = re.compile(r"loss|cross_entropy|log_softmax|logits", re.IGNORECASE)

LOGITS_PEAK = Rule("logits-peak", "memory", "logits and the loss, as wide as the vocabulary, are a part of the peak")


def logits_peak(account: MemoryAccount) -> Finding | None:
    """Tensors of the head and the loss at the peak.

    At stake: all of them but an eighth, which is what eight chunks of the sequence hold.
    """
    rows = _rows(account)
    held = alive.total(account, rows)
    if alive.share(account, held) < _LEAST:
        return None
    largest = int(account.lives.size[rows].max())
    text = (
        f"logits and loss hold {alive.said(account, held)} at the peak, in"
        f" {units.many(len(rows), 'tensor', 'tensors')}: the largest is {units.size(largest)}"
        f"{alive.formula(account, rows)}"
    )
    advice = (
        "logits and loss in chunks of the sequence, each under torch.utils.checkpoint (8 chunks hold an eighth), or a"
        " fused linear cross-entropy"
    )
    evidence = (Evidence("largest", {"bytes": largest}),)
    return Finding(LOGITS_PEAK, text, alive.cost(account, held * 7 / 8), evidence, advice, "derived", "loss")


def _rows(account: MemoryAccount) -> Int64s:
    lives = account.lives
    rows = alive.of_kinds(account, Kind.ACTIVATIONS, Kind.TEMPORARIES)
    stack = lives.stack[rows] if lives.places else np.full(len(rows), MISSING, np.int32)
    told = (
        alive.named(lives.scopes, lives.scope[rows], _SCOPE)
        | alive.named(lives.operators, lives.operator[rows], _OPERATOR)
        | alive.named(lives.places, stack, _PLACE)
        | alive.explained(account, rows, "logits")
    )
    sizes = np.unique(lives.size[rows[told]])
    alike = (lives.scope[rows] == MISSING) & np.isin(lives.size[rows], sizes[sizes >= _LARGE])
    return rows[told | alike]
