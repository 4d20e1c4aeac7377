"""The traced estimate against the real allocator, and the formula against the traced estimate."""

from __future__ import annotations

import random
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from perfkit.analysis.memory import model as memory_model
from perfkit.analysis.memory import terms as memory_terms
from perfkit.measure import estimate
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import estimate as memory
from perfkit.workload.model import Block
from perfkit.workload.step import TransformerWorkload
from tests.measure.real_memory import step_peaks

SMALL: dict[str, Any] = {
    "model_size": "tiny", "num_layers": 2, "d_model": 64, "num_heads": 4, "d_ff": 256, "vocab_size": 300,
    "batch_size": 2, "context_length": 96,
}  # fmt: skip
"""A step of some MB in which every kind of tensor has a size of its own."""


def config(device: str = "cpu", **changes: Any) -> RunConfig:
    return RunConfig.of(**{**SMALL, **changes}).resolved(device)


@pytest.mark.parametrize("attention", [{"attention": "eager"}, {"attention": "sdpa"}])
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        {},  # the peak is in the MLP's backward
        {"vocab_size": 4000},  # in the loss
        {"context_length": 320, "d_ff": 64, "vocab_size": 50, "num_layers": 1},  # eager: in the softmax
        {"pass_type": "train", "batch_size": 1, "context_length": 16},  # in the optimizer
    ],
)
def test_both_estimates_are_what_the_allocator_gives_within_1_percent(attention, checkpoint, shape):
    # GIVEN
    asked = config(**attention, checkpoint=checkpoint, **shape)

    # WHEN
    first, steady = step_peaks(asked)

    # THEN
    for found in (estimate.estimate(asked), memory_model.estimate(asked)):
        assert found.peak == pytest.approx(steady, rel=0.01), found.method
        assert found.first_step == pytest.approx(first, rel=0.01), found.method


@pytest.mark.parametrize(
    "fields",
    [
        {"precision": "bf16"},
        {"precision": "bf16", "vocab_size": 4000, "checkpoint": True},
        {"precision": "bf16", "attention": "sdpa", "pass_type": "train"},
        {"precision": "fp16", "pass_type": "train", "optimizer": "adamw-foreach"},
        {"attention": "sdpa", "sdpa_backend": "math"},
        {"pass_type": "train", "optimizer": "adamw-fused"},
        {"pass_type": "forward"},
        {"pass_type": "forward", "vocab_size": 4000},
    ],
)
def test_so_it_is_in_other_precisions_passes_and_optimizers(fields):
    # GIVEN
    asked = config(**fields)

    # WHEN
    first, steady = step_peaks(asked)

    # THEN
    found = estimate.estimate(asked)
    assert found.peak == pytest.approx(steady, rel=0.01)
    assert found.first_step == pytest.approx(first, rel=0.01)


@pytest.mark.parametrize(
    ("size", "precision", "every", "nested"),
    [
        *(("tiny", "fp32", every, every == 3) for every in (1, 2, 3, 4, 6, 12)),
        ("tiny", "bf16", 2, False),
        ("tiny", "bf16", 2, True),
        ("small", "fp32", 3, False),
        ("small", "bf16", 6, True),
    ],
)
def test_groups_of_checkpointed_blocks_are_predicted_within_1_percent(size, precision, every, nested):
    """GIVEN every size of group WHEN predicted THEN formula and traced step agree, also in the place"""
    fields = {"model_size": size, "precision": precision, "vocab_size": 500, "context_length": 128}
    asked = RunConfig.of(**fields, checkpoint_every=every, checkpoint_nested=nested).resolved("cpu")
    formula, traced = memory_model.estimate(asked), estimate.estimate(asked)
    assert formula.peak == pytest.approx(traced.peak, rel=0.01)
    assert formula.where == traced.where


@pytest.mark.parametrize(("every", "nested"), [(2, False), (3, False), (3, True), (9, False)])
def test_groups_of_checkpointed_blocks_hold_what_the_allocator_gives(every, nested):
    asked = config(num_layers=5, vocab_size=50, checkpoint_every=every, checkpoint_nested=nested)
    _, steady = step_peaks(asked)
    assert memory_model.estimate(asked).peak == pytest.approx(steady, rel=0.01)


def _random(rng: random.Random) -> RunConfig:
    """A configuration of any kind; every regime of the peak comes up."""
    heads = rng.choice([2, 4])
    fields: dict[str, Any] = {
        "model_size": "tiny",
        "pass_type": rng.choice(["forward", "forward-backward", "train", "train"]),
        "num_layers": rng.choice([1, 2, 4]),
        "num_heads": heads,
        "d_model": heads * rng.choice([16, 64]),
        "d_ff": rng.choice([64, 256, 1024]),
        "vocab_size": rng.choice([50, 1000, 10_000]),
        "batch_size": rng.choice([1, 2, 4]),
        "context_length": rng.choice([16, 64, 512]),
        "precision": rng.choice(["fp32", "bf16", "fp16"]),
        "attention": rng.choice(["eager", "sdpa"]),
    }
    if fields["attention"] == "sdpa":
        fields["sdpa_backend"] = rng.choice(["auto", "math"])
    if fields["pass_type"] != "forward":
        fields["checkpoint_every"] = rng.choice([0, 0, 1, 2, 3])
        fields["checkpoint_nested"] = fields["checkpoint_every"] > 1 and rng.choice([True, False])
    if fields["pass_type"] == "train":
        fields["optimizer"] = rng.choice(["adamw", "adamw-foreach", "adamw-fused"])
    return RunConfig.of(**fields).resolved(rng.choice(["cpu", "cuda"]))


@pytest.mark.parametrize("seed", range(16))
def test_the_formula_is_the_traced_step_within_1_percent(seed):
    # GIVEN
    asked = _random(random.Random(seed))

    # WHEN
    formula, traced = memory_model.estimate(asked), estimate.estimate(asked)

    # THEN
    assert formula.peak == pytest.approx(traced.peak, rel=0.01)
    assert formula.first_step == pytest.approx(traced.first_step, rel=0.01)
    if formula.where == traced.where and asked.step.batch_size > 1:  # with one sequence some copies are views
        for part in memory.PARTS:
            assert formula.part(part) == pytest.approx(traced.part(part), rel=0.01, abs=64), part


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"attention": "sdpa"},
        {"attention": "sdpa", "sdpa_backend": "math"},
        {"precision": "bf16"},
        {"precision": "bf16", "attention": "sdpa"},
        {"precision": "bf16", "attention": "sdpa", "sdpa_backend": "math"},
    ],
)
def test_what_a_block_keeps_is_what_autograd_saves(fields):
    """PyTorch's own hooks on saved tensors, on a real block: every storage once, parameters and tables left out."""
    # GIVEN
    asked = config(**fields)
    workload = TransformerWorkload(asked)
    block = workload.model.layers[1]
    assert isinstance(block, Block)
    known = {t.untyped_storage()._cdata for t in (*block.parameters(), *block.buffers())}
    kept: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = (storage.nbytes(), tensor)
        return tensor

    # WHEN
    x = torch.randn(
        asked.step.batch_size, asked.step.context_length or 0, asked.transformer.shape.d_model, requires_grad=True
    )
    with workload._autocast(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        block(x)

    # THEN
    saved = memory_terms.saved(memory_terms.Sizes(asked))
    assert sum(size for size, _ in kept.values()) == sum(saved.values())


def test_parts_of_the_traced_step_are_named_by_what_made_them():
    # WHEN
    found = estimate.estimate(config(pass_type="train", optimizer="adamw-foreach", vocab_size=4000))

    # THEN
    parameters = config(vocab_size=4000).transformer.parameters
    assert found.part(memory.PARAMETERS) == 4 * parameters
    assert found.part(memory.OPTIMIZER) == 8 * parameters + 4 * (9 * 2 + 3)
    assert found.where == "backward of loss"
    assert found.part(memory.LOGITS) == pytest.approx(2 * 4 * 2 * 96 * 4000, abs=64)
    assert found.part(memory.MLP) == 2 * 4 * (4 * 2 * 96 * 256)


def test_nothing_of_size_is_allocated():
    # GIVEN 5 GB of parameters, 15 GB with what AdamW adds
    asked = RunConfig.of(model_size="10B", num_layers=5, context_length=32, pass_type="train").resolved("cuda")
    before = psutil.Process().memory_info().rss

    # WHEN
    found = estimate.estimate(asked)

    # THEN
    assert found.part(memory.PARAMETERS) == 4 * asked.transformer.parameters > 5e9
    assert sum(found.parts.values()) == found.peak > 20e9
    assert psutil.Process().memory_info().rss - before < 2**29
