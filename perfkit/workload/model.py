"""The whole Transformer in one file: decoder-only, pre-norm RMSNorm, RoPE, causal attention, SwiGLU, no biases.

Every operation worth a line of its own in a profile is a module of its own (`scores`, `softmax`, `weighted_sum`
among them, though they own no parameters), so that `annotate(model)` names all of them the same way.

Letters in the shape comments: b batch, t and s sequence positions, h heads, e head width, d = h e model width,
f inner width of the MLP, v vocabulary.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - the name the field uses
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from perfkit.schema.config import RunConfig

ROPE_BASE = 10_000.0
"""Base of the rotary frequencies (Su et al. 2021, RoFormer)."""

SDPA = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
"""Backends of fused attention by the names that flags have."""


def _linear(d_in: int, d_out: int) -> nn.Linear:
    """A linear map without bias, its weights drawn from N(0, 2 / (d_in + d_out)), cut at three deviations."""
    layer = nn.Linear(d_in, d_out, bias=False)
    if not layer.weight.is_meta:
        deviation = math.sqrt(2 / (d_in + d_out))
        nn.init.trunc_normal_(layer.weight, std=deviation, a=-3 * deviation, b=3 * deviation)
    return layer


class RMSNorm(nn.Module):
    """Root-mean-square normalisation (Zhang and Sennrich 2019), in fp32 whatever the precision around it."""

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:  # (b, t, d) -> (b, t, d)
        wide = x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


def rotary_tables(head_width: int, context_length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, each (t, e/2). One pair serves all layers."""
    frequency = ROPE_BASE ** -(torch.arange(0, head_width, 2) / head_width)
    angle = torch.outer(torch.arange(context_length), frequency)
    return angle.cos(), angle.sin()


class RotaryEmbedding(nn.Module):
    """Rotates pairs of features by an angle that grows with the position."""

    cos: Tensor
    sin: Tensor

    def __init__(self, tables: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        self.register_buffer("cos", tables[0], persistent=False)
        self.register_buffer("sin", tables[1], persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (b, h, t, e) -> (b, h, t, e)
        length = x.shape[-2]
        cos, sin = self.cos[:length].to(x.dtype), self.sin[:length].to(x.dtype)
        even, odd = rearrange(x, "b h t (pair two) -> two b h t pair", two=2)
        rotated = torch.stack((even * cos - odd * sin, even * sin + odd * cos))
        return rearrange(rotated, "two b h t pair -> b h t (pair two)")


class AttentionScores(nn.Module):
    """Scaled dot products of every query with every key; -inf where a query must not see a key."""

    mask: Tensor

    def __init__(self, head_width: int, mask: Tensor) -> None:
        super().__init__()
        self.scale = head_width**-0.5
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:  # (b, h, t, e), (b, h, s, e) -> (b, h, t, s)
        scores = einsum(q, k, "b h t e, b h s e -> b h t s") * self.scale
        length = q.shape[-2]
        return scores.masked_fill(self.mask[:length, :length], float("-inf"))


class AttentionSoftmax(nn.Module):
    """Converts scores to weights."""

    def forward(self, scores: Tensor) -> Tensor:  # (b, h, t, s) -> (b, h, t, s)
        return scores.softmax(-1)


class WeightedSum(nn.Module):
    """Sums values by their weights."""

    def forward(self, weights: Tensor, v: Tensor) -> Tensor:  # (b, h, t, s), (b, h, s, e) -> (b, h, t, e)
        return einsum(weights.to(v.dtype), v, "b h t s, b h s e -> b h t e")


class FusedAttention(nn.Module):
    """PyTorch's scaled_dot_product_attention, restricted to one backend if requested."""

    def __init__(self, backend: str) -> None:
        super().__init__()
        self.backend = backend

    def _allowed(self) -> AbstractContextManager[None]:
        return nullcontext() if self.backend == "auto" else sdpa_kernel(SDPA[self.backend])

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # three (b, h, t, e) -> (b, h, t, e)
        with self._allowed():
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@dataclass(frozen=True, slots=True)
class Shared:
    """Constant tensors that all layers use, made once on the model's device."""

    rotary: tuple[Tensor, Tensor]
    mask: Tensor
    """(t, s), True where a query must not look; empty for fused attention, which implies it."""


class Attention(nn.Module, ABC):
    """Causal multi-head self-attention: project, rotate, attend (see the two below), project back."""

    def __init__(self, config: RunConfig, shared: Shared) -> None:
        super().__init__()
        d, self.heads = config.transformer.shape.d_model, config.transformer.shape.num_heads
        self.q_proj, self.k_proj, self.v_proj = _linear(d, d), _linear(d, d), _linear(d, d)
        self.rope = RotaryEmbedding(shared.rotary)
        self.add_attending(config, shared)
        self.output_proj = _linear(d, d)

    @abstractmethod
    def add_attending(self, config: RunConfig, shared: Shared) -> None:
        """Add the modules that `attend` calls."""

    @abstractmethod
    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # three (b, h, t, e) -> (b, h, t, e)
        """Mix the values."""

    def forward(self, x: Tensor) -> Tensor:  # (b, t, d) -> (b, t, d)
        q, k, v = (
            rearrange(project(x), "b t (h e) -> b h t e", h=self.heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = self.attend(self.rope(q), self.rope(k), v)
        return self.output_proj(rearrange(mixed, "b h t e -> b t (h e)"))


class EagerAttention(Attention):
    """Attention as three separate operations, each visible in a profile."""

    def add_attending(self, config: RunConfig, shared: Shared) -> None:
        """Add scores, softmax and weighted sum."""
        self.scores = AttentionScores(config.transformer.shape.d_model // self.heads, shared.mask)
        self.softmax = AttentionSoftmax()
        self.weighted_sum = WeightedSum()

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # three (b, h, t, e) -> (b, h, t, e)
        """Mix the values in three steps."""
        return self.weighted_sum(self.softmax(self.scores(q, k)), v)


class SdpaAttention(Attention):
    """Attention as one fused operation."""

    def add_attending(self, config: RunConfig, shared: Shared) -> None:  # noqa: ARG002 - the mask is implied
        """Add the fused operation."""
        self.sdpa = FusedAttention(config.transformer.sdpa_backend)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # three (b, h, t, e) -> (b, h, t, e)
        """Mix the values in one step."""
        return self.sdpa(q, k, v)


class SwiGLU(nn.Module):
    """Gated MLP (Shazeer 2020): down(silu(gate x) * up x), three matrices."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = _linear(d_model, d_ff), _linear(d_model, d_ff)
        self.down_proj = _linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:  # (b, t, d) -> (b, t, d)
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: RunConfig, shared: Shared) -> None:
        super().__init__()
        shape = config.transformer.shape
        attention = EagerAttention if config.transformer.attention == "eager" else SdpaAttention
        self.attn_norm = RMSNorm(shape.d_model)
        self.attn: Attention = attention(config, shared)
        self.mlp_norm = RMSNorm(shape.d_model)
        self.mlp = SwiGLU(shape.d_model, shape.d_ff)

    def forward(self, x: Tensor) -> Tensor:  # (b, t, d) -> (b, t, d)
        x = x + self.attn(self.attn_norm(x))
        return x + self.mlp(self.mlp_norm(x))


def _chain(blocks: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


class Transformer(nn.Module):
    """Token ids in, next-token logits out. Needs a resolved configuration; built on torch's default device."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        assert config.step.context_length is not None, "resolve the configuration first"
        shape = config.transformer.shape
        self.group, self.nested = config.step.checkpoint_group, config.step.checkpoint_nested
        self.embedding = nn.Embedding(config.transformer.vocab_size, shape.d_model)
        if not self.embedding.weight.is_meta:
            nn.init.trunc_normal_(self.embedding.weight, std=1, a=-3, b=3)
        masked = config.step.context_length if config.transformer.attention == "eager" else 0
        shared = Shared(
            rotary=rotary_tables(shape.d_model // shape.num_heads, config.step.context_length),
            mask=torch.ones(masked, masked, dtype=torch.bool).triu(1),
        )
        self.layers = nn.ModuleList(Block(config, shared) for _ in range(shape.num_layers))
        self.norm = RMSNorm(shape.d_model)
        self.head = _linear(shape.d_model, config.transformer.vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:  # (b, t) int64 -> (b, t, v)
        x = self.embedding(tokens)  # (b, t, d)
        if self.group:
            blocks = list(self.layers)
            for first in range(0, len(blocks), self.group):
                x = self._recomputed(blocks[first : first + self.group], x)
        else:  # here, and in no function that it is given to: the embedding's output would live as long as its caller
            for layer in self.layers:
                x = layer(x)
        return self.head(self.norm(x))

    def _recomputed(self, blocks: Sequence[nn.Module], x: Tensor) -> Tensor:  # (b, t, d) -> (b, t, d)
        """Blocks one after the other, of which nothing is kept but what the first was given."""
        if len(blocks) == 1:
            return checkpoint(blocks[0], x, use_reentrant=False)
        inner = [partial(checkpoint, block, use_reentrant=False) for block in blocks] if self.nested else blocks
        return checkpoint(_chain, inner, x, use_reentrant=False)
