"""The shape that explains a size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory import sizes
from perfkit.analysis.memory.lifetimes import Kind, Lifetimes
from perfkit.schema.config import RunConfig
from perfkit.schema.memory.notes import MemoryNotes, SavedOperation


def one(kind: Kind, scope: str = "", phase: Phase = Phase.FORWARD) -> Lifetimes:
    """A single piece."""
    number, code = np.zeros(1, np.int64), np.zeros(1, np.int32)
    return Lifetimes(
        code, number, number, number, number, np.array([kind], np.uint8), code, np.array([phase], np.uint8), code, code,
        code, (scope,), (), number,
    )  # fmt: skip


def why(size: int, kind: Any = Kind.ACTIVATIONS, scope: Any = "", **fields: Any) -> str:
    config = RunConfig.of(**{"model_size": "xl", "context_length": 512, "batch_size": 4} | fields).resolved("cuda")
    return sizes.of_config(config, one(kind, scope))(size, 0)


def test_a_hundred_mib_of_xl_are_attention_scores():
    """The issue: xl has 25 heads, so 104,857,600 B is 4 B x 4 x 25 x 512 x 512."""
    assert why(104_857_600) == "4 B x batch 4 x heads 25 x context 512 x context 512: attention scores"


@pytest.mark.parametrize(
    ("size", "fields", "says"),
    [
        (4 * 4 * 512 * 1600, {}, "4 B x batch 4 x context 512 x d_model 1,600: as large as the residual stream"),
        (2 * 4 * 512 * 1600, {"precision": "bf16"}, "2 B x batch 4 x context 512 x d_model 1,600: as large as the"),
        (4 * 4 * 512 * 10_000, {}, "4 B x batch 4 x context 512 x vocabulary 10,000: logits"),
        (4 * 10_000 * 1600, {"kind": Kind.GRADIENTS}, "vocabulary 10,000 x d_model 1,600: the embedding or the head"),
        (8 * 4 * 512, {"kind": Kind.CONSTANTS}, "8 B x batch 4 x context 512: token numbers"),
        (12_345, {}, ""),
    ],
)
def test_a_size_is_explained_by_the_shapes_of_its_kind(size: int, fields: dict[str, Any], says: str):
    assert says in why(size, **fields)
    assert bool(says) == bool(why(size, **fields))


def test_of_two_shapes_of_one_size_the_layer_s_own_is_meant():
    """tiny: 4 heads and context 128 are as much as d_ff 512."""
    shape = {"model_size": "tiny", "context_length": 128}
    assert why(2**20, scope="layers.0.attn.softmax", **shape).endswith("attention scores")
    assert why(2**20, scope="layers.0.mlp", **shape).endswith("the MLP's hidden width")
    assert why(2**18, scope="layers.0.attn_norm", **shape).endswith("as large as the residual stream")


def test_what_the_optimizer_makes_is_as_large_as_a_parameter():
    """tiny: d_ff x d_model is as much as batch x context x d_model."""
    config = RunConfig.of(model_size="tiny", context_length=128, batch_size=4).resolved("cpu")
    made = sizes.of_config(config, one(Kind.TEMPORARIES, "layers.0.mlp", Phase.OPTIMIZER))
    assert made(2**18, 0).endswith("a matrix of the MLP")


def test_hooks_know_the_shapes_of_any_model():
    """GIVEN what one layer keeps, THEN a piece of its size in that layer has its shape; two shapes explain nothing."""
    kept = [
        SavedOperation(scope="a", operation="MmBackward0", shape=(3, 5), dtype="bfloat16", size=30, address=1),
        SavedOperation(scope="a", operation="MmBackward0", shape=(4, 2), dtype="float32", size=32, address=2),
        SavedOperation(scope="a", operation="MmBackward0", shape=(2, 4), dtype="float32", size=32, address=3),
    ]
    notes = MemoryNotes(saved=tuple(kept))
    assert sizes.of_notes(notes, one(Kind.ACTIVATIONS, "a"))(30, 0) == "2 B x 3 x 5, kept by MmBackward0"
    assert sizes.of_notes(notes, one(Kind.ACTIVATIONS, "b"))(30, 0) == ""
    assert sizes.of_notes(notes, one(Kind.ACTIVATIONS, "a"))(32, 0) == ""
