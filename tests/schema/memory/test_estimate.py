"""The parts of a peak and its place in words."""

from __future__ import annotations

import pytest

from perfkit.schema.memory import estimate as memory
from perfkit.schema.memory.estimate import MemoryEstimate


@pytest.mark.parametrize(
    ("scope", "part"),
    [
        ("embedding", memory.EMBEDDING), ("layers.3.attn_norm", memory.NORMS), ("layers.3.mlp_norm", memory.NORMS),
        ("norm", memory.NORMS), ("layers.0.attn.q_proj", memory.PROJECTIONS), ("layers.0.attn.rope", memory.ROPE),
        ("layers.0.attn.softmax", memory.ATTENTION), ("layers.0.attn.sdpa", memory.ATTENTION),
        ("layers.0.attn", memory.MIXED), ("layers.0.attn.output_proj", memory.MIXED), ("layers.0.mlp", memory.MLP),
        ("layers.0.mlp.down_proj", memory.MLP), ("head", memory.LOGITS), ("loss", memory.LOGITS),
        ("layers.0", memory.RESIDUAL), ("", memory.RESIDUAL), ("mlp.layers.0", memory.RESIDUAL),
    ],
)  # fmt: skip
def test_a_forward_tensor_belongs_to_the_part_of_the_module_that_made_it(scope, part):
    assert memory.part_of(scope) == part


def estimate(phase: str, module: str) -> MemoryEstimate:
    parts = {memory.PARAMETERS: 40, memory.MLP: 2}
    return MemoryEstimate(method="formula", parts=parts, phase=phase, module=module, first_step=41)


def test_parts_add_up_to_the_peak_and_a_part_that_is_not_there_has_no_bytes():
    found = estimate("backward", "layers.1.mlp")
    assert found.peak == 42
    assert [found.part(name) for name in (memory.MLP, memory.ROPE)] == [2, 0]


@pytest.mark.parametrize(
    ("phase", "module", "where"),
    [("backward", "layers.1.mlp", "backward of layers.1.mlp"), ("optimizer", "", "optimizer"), ("loss", "loss", "loss"),
     ("backward", "loss", "backward of loss")],
)  # fmt: skip
def test_the_place_of_the_peak_is_a_phase_and_the_module_it_is_in(phase, module, where):
    assert estimate(phase, module).where == where
