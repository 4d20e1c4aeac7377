"""What one block keeps for backward, against closed forms by hand.

U is the residual stream, F the MLP's inner activations and A the scores, in bytes of fp32: 4 b t d, 4 b t f, 4 b h t^2.
"""

from __future__ import annotations

import pytest

from perfkit.analysis.memory.terms import Sizes, attention_saved, head_saved, saved
from perfkit.schema.config import RunConfig
from perfkit.schema.memory.estimate import ATTENTION, MLP

# tiny: d = 128, f = 512, 4 heads; batch 2, 16 tokens, a vocabulary of 10,000
U = 4 * 2 * 16 * 128
F = 4 * 2 * 16 * 512
A = 4 * 2 * 4 * 16**2
N = 4 * 2 * 16
"""A norm's scale: one number a token."""
R = 4 * 2 * 4 * 16
"""logsumexp: one number a row of scores."""


def sizes(**changes) -> Sizes:
    config = {"model_size": "tiny", "batch_size": 2, "context_length": 16, **changes}
    return Sizes(RunConfig.of(**config).resolved("cpu"))


def test_the_sizes_of_tensors():
    made = sizes()
    assert (made.U, made.F, made.A, made.n, made.r, made.V) == (U, F, A, N, R, 4 * 2 * 16 * 10_000)


def test_a_block_in_fp32_keeps_ten_streams_four_widths_and_the_scores():
    """10 U + 4 F + A, and two norms' scales"""
    assert sum(saved(sizes()).values()) == 10 * U + 4 * F + A + 2 * N
    assert saved(sizes())[MLP] == 4 * F


def test_fused_attention_keeps_no_scores():
    assert attention_saved(sizes(attention="sdpa")) == U + R
    assert attention_saved(sizes()) == U + A
    assert saved(sizes(attention="sdpa"))[ATTENTION] == U + R


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast_keeps_half_the_scores_on_a_cpu(precision):
    assert attention_saved(sizes(precision=precision)) == U // 2 + A // 2


def test_the_head_keeps_the_logits():
    made = sizes()
    assert sum(head_saved(made).values()) >= made.V
