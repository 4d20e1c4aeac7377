"""Operations of a step of perfkit's own Transformer, in closed form: what counting its operators must give.

Matmuls and attention only, a multiply-add as two, causal attention in full. With T tokens of width d in sequences of s,
d_ff the inner width, V words and L layers, a forward pass has (Kaplan et al. 2020, arXiv 2001.08361, table 1, with
SwiGLU's third matrix and both matmuls of attention)

    L (8 T d^2 + 6 T d d_ff + 4 T s d) + 2 T d V

operations: q, k, v and output; gate, up and down; scores and weighted sum; and the head. Backward has two matmuls for
each of forward, and one more in attention where that is fused, since it computes the scores again. A checkpoint runs
all matmuls of its block again.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.schema.config import RunConfig


@dataclass(frozen=True, slots=True)
class StepFlops:
    """Operations of one step, by phase."""

    forward: int
    recompute: int
    backward: int

    @property
    def executed(self) -> int:
        """All of them: what hardware FLOP utilisation (HFU) counts."""
        return self.forward + self.recompute + self.backward

    @property
    def model(self) -> int:
        """What the model needs, however it is computed: forward, and twice as much where there is a backward.

        Model FLOP utilisation (MFU) counts these (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): nothing that is
        computed again, by a checkpoint or by fused attention.
        """
        return 3 * self.forward if self.backward else self.forward


def step_flops(config: RunConfig) -> StepFlops:
    """The operations of a step of a resolved configuration, whose workload is perfkit's Transformer."""
    step, shape = config.step, config.transformer.shape
    assert step.context_length is not None, "resolve the configuration first"
    tokens, d = step.tokens, shape.d_model
    projections = 8 * tokens * d**2
    down = 2 * tokens * d * shape.d_ff
    attention = 2 * tokens * step.context_length * d  # one of its matmuls
    head = 2 * tokens * d * config.transformer.vocab_size
    forward = shape.num_layers * (projections + 3 * down + 2 * attention) + head
    if step.pass_type == "forward":
        return StepFlops(forward, 0, 0)
    linear = shape.num_layers * (projections + 3 * down) + head
    backward = 2 * linear + shape.num_layers * (5 if is_fused(config) else 4) * attention
    return StepFlops(forward, _recomputed_blocks(config) * (forward - head) // shape.num_layers, backward)


def _recomputed_blocks(config: RunConfig) -> int:
    """How many forwards of a block are run again: one of each block; in nested groups two, but for each group's last.

    A nested group keeps its blocks' inputs as it is computed again, and PyTorch stops when it has the last of them.
    """
    step, layers = config.step, config.transformer.shape.num_layers
    if not step.checkpoint_group:
        return 0
    groups = -(-layers // step.checkpoint_group)
    return 2 * layers - groups if step.checkpoint_nested else layers


def is_fused(config: RunConfig) -> bool:
    """Whether attention is one kernel, whose backward computes the scores again. SDPA's backend `math` is not."""
    return config.transformer.attention == "sdpa" and config.transformer.sdpa_backend != "math"
