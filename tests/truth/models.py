"""Small models with the shapes of graph that trouble a profiler: residuals, fan-out, views, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name the field uses
from torch.profiler import record_function
from torch.utils.checkpoint import checkpoint

WIDTH, VOCABULARY, LENGTH = 16, 32, 8

Named = Callable[[str], AbstractContextManager[None]]
unnamed: Named = lambda _: nullcontext()  # noqa: E731


class Attend(nn.Module):
    """Owns no parameter; two heads."""

    def forward(self, qkv: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
        mask = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool).triu(1)
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(mask, float("-inf"))
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """x + attention(norm x), then x + mlp(norm x). `named` puts ranges of the user's own round its parts."""

    def __init__(self, named: Named = unnamed) -> None:
        super().__init__()
        self.named = named
        self.norm, self.mlp_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.attend, self.out = nn.Linear(WIDTH, 3 * WIDTH), Attend(), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        with self.named("block"):
            with self.named("attention"):
                x = x + self.out(self.attend(self.qkv(self.norm(x))))
            with self.named("mlp"):
                return x + self.mlp(self.mlp_norm(x))


class Pair(nn.Module):
    """Two layers, one after the other, and an operation of its own between them."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).tanh())


class Checkpointed(nn.Module):
    """A layer whose forward is run again in backward."""

    def __init__(self, inner: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.inner, self.reentrant = inner, reentrant

    def forward(self, x: Tensor) -> Tensor:
        recomputed: Tensor = checkpoint(self.inner, x, use_reentrant=self.reentrant)
        return recomputed


class Net(nn.Module):
    """Tokens to logits through any layers. `named` is put round what this module does itself, and round each layer."""

    def __init__(self, *layers: nn.Module, named: Named = unnamed, layer_names: bool = False) -> None:
        super().__init__()
        self.named, self.layer_names = named, layer_names
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(layers)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        with self.named("embedding"):
            x = self.embedding(tokens)
        for index, layer in enumerate(self.layers):
            with self.named(f"layers.{index}") if self.layer_names else nullcontext():
                x = layer(x)
        with self.named("head"):
            logits: Tensor = self.head(self.norm(x))
        return logits


def batch(size: int = 2) -> tuple[Tensor, Tensor]:
    """Tokens and targets."""
    return torch.randint(VOCABULARY, (size, LENGTH)), torch.randint(VOCABULARY, (size, LENGTH))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over all tokens."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Assigning(nn.Module):
    """Fills a tensor part by part, and changes views of it in place: some of its nodes no operation announces."""

    def __init__(self) -> None:
        super().__init__()
        self.even, self.odd = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        y[:, ::2] = self.even(x[:, ::2])
        y[:, 1::2].copy_(self.odd(x[:, 1::2]))
        first = y[:, 0]
        y[:, 1].mul_(2)
        return (y.add_(x).sin() + first.sum()).tanh_()


class PlainFunction(nn.Module):
    """Checkpoints a function that is no module: its `sin` and `cos` are the module's own."""

    def __init__(self, *, reentrant: bool, named: Named = unnamed) -> None:
        super().__init__()
        self.reentrant, self.named = reentrant, named
        self.up, self.down = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def _function(self, x: Tensor) -> Tensor:
        x = self.up(x)
        with self.named("own"):
            x = x.sin().cos()
        result: Tensor = self.down(x)
        return result

    def forward(self, x: Tensor) -> Tensor:
        recomputed: Tensor = checkpoint(self._function, x, use_reentrant=self.reentrant)
        return recomputed


class Scale(torch.autograd.Function):
    """A function with a backward in Python."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight + x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return gradients[0] * weight + gradients[0], (gradients[0] * x).sum((0, 1))


class RunTwice(torch.autograd.Function):
    """As reversible networks do: backward runs the module once without gradient and once with."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, module: nn.Module) -> Tensor:
        ctx.module = module
        ctx.save_for_backward(x)
        with torch.no_grad():
            result: Tensor = module(x)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        x = ctx.saved_tensors[0].detach()
        with torch.no_grad():
            ctx.module(x)
        x.requires_grad_()
        with torch.enable_grad():
            y = ctx.module(x)
        torch.autograd.backward(y, gradients)
        return x.grad, None


class Custom(nn.Module):
    """Both functions, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.inner = nn.Parameter(torch.ones(WIDTH)), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = RunTwice.apply(Scale.apply(x, self.weight), self.inner)
        return result


class Hooked(nn.Module):
    """A hook on a tensor that opens a range of its own between the engine's range and its node."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        y.register_hook(self._double)
        return y.tanh()

    @staticmethod
    def _double(gradient: Tensor) -> Tensor:
        with record_function("a hook of the user's"):
            return gradient * 2


class Towers(nn.Module):
    """Two branches that share nothing, for a thread each."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), Block())
        self.right = nn.Sequential(nn.Embedding(VOCABULARY, WIDTH), Block(), nn.Linear(WIDTH, WIDTH))


class FusedProjections(nn.Module):
    """Uses the weights of three modules in one product, and runs none of the three."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        fused = torch.cat((self.q.weight, self.k.weight, self.v.weight))
        q, k, v = F.linear(x, fused).chunk(3, -1)
        return x + q * k * v


class HeadFirst(nn.Module):
    """Owns the matrix as its head, and uses it first as its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.embedding = nn.Linear(WIDTH, VOCABULARY, bias=False), nn.Embedding(VOCABULARY, WIDTH)
        self.embedding.weight = self.head.weight

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.embedding(tokens))
        return logits
