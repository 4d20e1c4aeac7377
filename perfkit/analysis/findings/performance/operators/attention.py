"""Attention that is written out, or that PyTorch's fused attention carries out as separate operations."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import Bools, at, nearest
from perfkit.analysis.findings.performance.case import Case, names_of
from perfkit.analysis.findings.performance.evidence import kernel_rows
from perfkit.analysis.findings.performance.units import Kind
from perfkit.schema.finding import Finding, Rule

_LEAST = 0.01
"""Share of the step from which the findings are made."""

EAGER_ATTENTION = Rule(
    "eager-attention",
    "performance",
    "a softmax between two batched matmuls: attention written out, where scaled_dot_product_attention fits",
)

_ADVICE = (
    "F.scaled_dot_product_attention(q, k, v, attn_mask=..., is_causal=...) in place of the two"
    " matmuls and the softmax (perfkit run: --attention sdpa)"
)


def eager_attention(case: Case) -> Finding | None:
    """Attention written out.

    At stake is all that stands between the two matmuls, in forward, recomputation and backward: scale, mask, softmax,
    dropout and casts of scores, which a fused kernel keeps on the chip. The matmuls themselves remain.
    """
    rows = case.attention_rows
    time = case.time(rows)
    if not case.is_worth(time, _LEAST):
        return None
    between = case.attention_units
    calls = int((between & (case.units.kind == Kind.SOFTMAX)).sum())
    if not calls:
        return _by_kernels(case, rows)
    text = (
        f"attention is written out {case.times_a_step(calls)}:"
        f" {names_of(case, np.flatnonzero(between))} between its two matmuls take{case.with_backward}"
        f" {case.each(time)}, and a fused kernel does them inside"
    )
    return Finding(EAGER_ATTENTION, text, case.cost(time), kernel_rows(case, rows), _ADVICE, "derived")


def _by_kernels(case: Case, rows: Bools) -> Finding:
    """The same where the recording has no operators: a softmax kernel between two matmuls of its stream."""
    text = (
        "attention seems to be written out: softmax, masks and the like between two matmuls of a stream take"
        f" {case.each(case.time(rows))}, and a fused kernel does them inside"
    )
    return Finding(EAGER_ATTENTION, text, case.cost(case.time(rows)), kernel_rows(case, rows), _ADVICE, "guessed")


SDPA_MATH = Rule(
    "sdpa-math",
    "performance",
    "scaled_dot_product_attention ran as separate matmuls and softmax (its math backend), not as one kernel",
)
_MATH = "_scaled_dot_product_attention_math"


def sdpa_math(case: Case) -> Finding | None:
    """Calls of scaled_dot_product_attention that fell to the math backend.

    At stake is their time without that of their batched matmuls, which a fused kernel has too, in forward and backward.
    """
    is_math = case.ranges(lambda name: _MATH in name)
    calls = int(is_math.sum())
    if not calls:
        return None
    rows = math_rows(case)
    time = case.time(rows)
    if not case.is_worth(time, _LEAST):
        return None
    text = (
        f"scaled_dot_product_attention fell to its math backend {case.times_a_step(calls)}; masks,"
        f" softmax and copies of its scores take {case.each(time)}"
    )
    advice = (
        "inputs that a fused backend takes: fp16 or bf16 on a GPU, a head width that is a multiple of 8, is_causal=True"
        " in place of a mask that needs gradients, no dropout on a CPU; with sdpa_kernel([FLASH_ATTENTION,"
        " EFFICIENT_ATTENTION]) PyTorch warns why it refuses (perfkit run: --sdpa-backend auto)"
    )
    return Finding(SDPA_MATH, text, case.cost(time), kernel_rows(case, rows), advice, "derived")


def math_rows(case: Case) -> Bools:
    """Rows of the account in the math backend, and in the backward of its operators, but for their batched matmuls."""
    account, links = case.account, case.account.attribution.links
    inside = nearest(case.host.forest.parent, case.ranges(lambda name: _MATH in name))
    target = at(links.target, at(links.node, account.place, absent=-1), absent=-1)
    rows = (at(inside, account.place, absent=-1) != -1) | (at(inside, target, absent=-1) != -1)
    return rows & ~case.within(case.ranges(lambda name: name.endswith(("::bmm", "::baddbmm"))))
