"""What is kept for backward, by the hooks, against the formula and by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from perfkit.analysis.memory.terms import Sizes, saved
from perfkit.measure.memory.saved import saved_by
from perfkit.schema.memory.notes import SavedOperation
from perfkit.workload.step import TransformerWorkload
from tests.runs import FakeWorkload, quick

U, F, A, SCALE = 2 * 16 * 32 * 4, 2 * 16 * 64 * 4, 2 * 2 * 16 * 16 * 4, 2 * 16 * 4
"""Bytes in fp32 of the residual stream, the MLP's inside, the scores and a norm's scales, in `tests.runs.QUICK`."""


def kept(**fields: Any) -> list[SavedOperation]:
    workload = TransformerWorkload(quick(num_layers=3, **fields))
    workload.step(lambda _: None)
    return list(saved_by(workload, "cpu"))


def by_block(rows: list[SavedOperation]) -> Counter[str]:
    total: Counter[str] = Counter()
    for row in rows:
        total[".".join(row.scope.split(".")[:2])] += row.size
    return total


def test_a_block_keeps_what_counting_by_hand_gives():
    """GIVEN fp32 and eager THEN 10 U + 4 F + A and the scales of two norms: 10 inputs and outputs of width d, 4 of d_ff

    d: the norms' inputs (2), what they normalised (2) and gave (2), q, k, v, the mix; d_ff: gate, silu, up, product.
    """
    rows = kept()
    assert by_block(rows) == {
        **{f"layers.{block}": 10 * U + 4 * F + A + 2 * SCALE for block in range(3)},
        "norm": 2 * U + SCALE, "head": U, "loss": 2 * 16 * 100 * 4 + 4,
    }  # fmt: skip
    softmax = next(row for row in rows if row.scope == "layers.1.attn.softmax")
    assert (softmax.operation, softmax.shape, softmax.dtype, softmax.size) == (
        "SoftmaxBackward0", (2, 2, 16, 16), "float32", A,
    )  # fmt: skip
    assert {row.operation for row in rows if row.scope.endswith("proj")} == {"MmBackward0"}
    assert "unknown" not in {row.operation for row in rows}


@pytest.mark.parametrize("fields", [{"precision": "bf16"}, {"attention": "sdpa"}, {"precision": "fp16"}])
def test_each_block_keeps_what_the_formula_says(fields):
    """Weight copies of autocast are among it, parameters are not."""
    per_block = sum(saved(Sizes(quick(**fields))).values())
    found = by_block(kept(**fields))
    assert [found[f"layers.{block}"] for block in range(3)] == [per_block] * 3


def test_under_a_checkpoint_only_the_inputs_of_groups_are_kept():
    """GIVEN groups of two blocks of three THEN blocks 0 and 2 keep the stream, whether or not they are nested"""
    for nested in (False, True):
        rows = [row for row in kept(checkpoint_every=2, checkpoint_nested=nested) if row.scope.startswith("layers")]
        assert [(row.scope, row.operation, row.size) for row in rows] == [
            ("layers.0", "checkpoint", U), ("layers.2", "checkpoint", U),
        ]  # fmt: skip


class Odd(nn.Module):
    """A checkpoint that keeps two tensors and calls no module, then an operation of the model's own."""

    def forward(self, x: Tensor) -> Tensor:
        given = x * 2
        made = checkpoint(torch.mul, given, x.exp(), use_reentrant=False)
        return made.sin()


def test_a_workload_of_ones_own_and_what_no_module_claims():
    workload: Any = FakeWorkload(quick())
    workload.model = Odd()
    weight = torch.ones(4, requires_grad=True)
    workload.weight = weight

    def step(begin: Callable[[str], None]) -> None:
        begin("forward")
        workload.model(weight).sum().backward()

    workload.step = step

    # WHEN
    rows = saved_by(workload, "cpu")

    # THEN: the exponential is its own result; sine keeps the product
    assert [(row.scope, row.operation) for row in rows] == [
        ("Odd", "ExpBackward0"), ("", "checkpoint"), ("Odd", "SinBackward0"),
    ]  # fmt: skip
