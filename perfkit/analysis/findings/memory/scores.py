"""Attention scores: a number for each pair of positions, which a fused kernel never keeps."""

from __future__ import annotations

import re

import numpy as np

from perfkit.analysis.findings.memory import alive
from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule
from perfkit.trace.columns import MISSING, Int64s

_LEAST = 0.05
"""Share of the peak from which the finding is made."""
_SCOPE = re.compile(r"(^|[./])(scores|softmax|attn_dropout)$")
_SOFTMAX = re.compile(r"(?<!log_)softmax", re.IGNORECASE)
_ATTENTION = re.compile(r"(?<!log_)softmax|attention|attn", re.IGNORECASE)
_LOSS = re.compile(r"loss|log_softmax|cross_entropy", re.IGNORECASE)
_PARTS = (1, 2, 4)
"""A tensor of the scores may be of half as many bytes in 16 bits, of a quarter as a mask."""

KEPT_SCORES = Rule("kept-scores", "memory", "attention scores are kept for backward; a fused kernel keeps none")


def kept_scores(account: MemoryAccount) -> Finding | None:
    """Activations with a number for each pair of positions.

    At stake: all of them.
    """
    rows = _rows(account)
    held = alive.total(account, rows)
    if alive.share(account, held) < _LEAST:
        return None
    sizes, count = np.unique(account.lives.size[rows], return_counts=True)
    largest = int(sizes[-1])
    text = (
        f"attention scores are kept for backward: {alive.said(account, held)} at the peak,"
        f" {units.many(int(count[-1]), 'tensor', 'tensors')} of {units.size(largest)}{alive.formula(account, rows)}"
        f" and {units.many(int(count[:-1].sum()), 'smaller one', 'smaller ones')}; they grow with the square of the"
        " context"
    )
    advice = "F.scaled_dot_product_attention, which keeps none of them (perfkit run: --attention sdpa)"
    evidence = (Evidence("largest", {"bytes": largest}),)
    return Finding(KEPT_SCORES, text, alive.cost(account, held), evidence, advice, "derived")


def _rows(account: MemoryAccount) -> Int64s:
    lives = account.lives
    rows = alive.of_kinds(account, Kind.ACTIVATIONS)
    stack = lives.stack[rows] if lives.places else np.full(len(rows), MISSING, np.int32)
    of_loss = alive.named(lives.places, stack, _LOSS) | alive.named(lives.operators, lives.operator[rows], _LOSS)
    told = alive.named(lives.scopes, lives.scope[rows], _SCOPE) | alive.explained(account, rows, "attention scores")
    softmax = alive.named(lives.operators, lives.operator[rows], _SOFTMAX) | alive.named(lives.places, stack, _SOFTMAX)
    softmax &= ~of_loss
    if softmax.any():
        largest = int(lives.size[rows[softmax]].max())
        alike = np.isin(lives.size[rows], [largest // part for part in _PARTS])
        told |= alike & ~of_loss & (softmax | alive.named(lives.places, stack, _ATTENTION))
    return rows[told]
