"""Models that people bring, each with a batch and one training step: all small, with weights from a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name the field uses
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from perfkit.workload.model import Transformer
from tests.runs import quick


class Case:
    """Models, and the steps of a loop over them; every step draws its own batch from the generator of PyTorch."""

    def __init__(self, models: dict[str, nn.Module], blocks: list[tuple[nn.Module, str]]) -> None:
        self.models = models
        self.blocks = blocks
        """(parent, name) of each part that is compiled or checkpointed by itself."""
        self.optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in models.values()]

    @property
    def given(self) -> Any:
        """What `perfkit.profile` is given."""
        return next(iter(self.models.values())) if len(self.models) == 1 else self.models

    def loss(self) -> Tensor:
        raise NotImplementedError

    def step(self) -> list[Tensor]:
        """One step; returns its losses and its gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        kept = [loss.detach().clone(), *self.gradients()]
        for optimizer in self.optimizers:
            optimizer.step()
        return kept

    def gradients(self) -> Iterator[Tensor]:
        for model in self.models.values():
            yield from (p.grad.clone() for p in model.parameters() if p.grad is not None)


class PerfkitsOwn(Case):
    def __init__(self) -> None:
        model = Transformer(quick(num_layers=2))
        super().__init__({"model": model}, [(model.layers, "0"), (model.layers, "1")])

    def loss(self) -> Tensor:
        tokens = torch.randint(100, (2, 16))
        return F.cross_entropy(self.models["model"](tokens).flatten(0, 1), tokens.flatten())


@dataclass
class Output:
    """What a model of today returns: fields, some of which are None."""

    logits: Tensor
    hidden: dict[str, Tensor]
    aux: None = None


class Mlp(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(x)))


class TiedNet(nn.Module):
    """An embedding and a head, in two modules, of one matrix; and a module that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleDict({"embedding": nn.Embedding(32, 16)}), nn.ModuleDict()
        self.block, self.unused = Mlp(), nn.Linear(3, 3)
        self.decoder["head"] = nn.Linear(16, 32, bias=False)
        self.decoder["head"].weight = self.encoder["embedding"].weight

    def forward(self, tokens: Tensor) -> Output:
        hidden = self.block(self.encoder["embedding"](tokens))
        return Output(self.decoder["head"](hidden), {"last": hidden})


class Tied(Case):
    def __init__(self) -> None:
        model = TiedNet()
        super().__init__({"model": model}, [(model, "block")])

    def loss(self) -> Tensor:
        tokens = torch.randint(32, (2, 8))
        return F.cross_entropy(self.models["model"](tokens).logits.flatten(0, 1), tokens.flatten())


class TwiceNet(nn.Module):
    """One block under two names, called three times."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Mlp()
        self.again = self.first

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.again(self.first(self.first(x)))}


class Twice(Case):
    def __init__(self) -> None:
        model = TwiceNet()
        super().__init__({"model": model}, [(model, "first")])

    def loss(self) -> Tensor:
        return self.models["model"](torch.randn(4, 16))["out"].square().mean()


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return self.mlp(x + self.attention(normed, normed, normed, need_weights=False)[0])


class VitNet(nn.Module):
    """A vision transformer: patches, a class token, positions, blocks, a head."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token, self.positions = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.randn(1, 5, width))
        self.blocks, self.head = nn.Sequential(Attention(width), Attention(width)), nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:  # (b, 3, 8, 8) -> (b, 10)
        patches = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(images), -1, -1), patches], dim=1) + self.positions
        return self.head(self.blocks(x)[:, 0])


class Vit(Case):
    def __init__(self) -> None:
        model = VitNet()
        super().__init__({"model": model}, [(model.blocks, "0"), (model.blocks, "1")])

    def loss(self) -> Tensor:
        return F.cross_entropy(self.models["model"](torch.randn(2, 3, 8, 8)), torch.randint(10, (2,)))


class Gan(Case):
    """Two models that step in turns, and an average of one of them that has no gradients."""

    def __init__(self) -> None:
        generator, critic = (nn.Sequential(Mlp(), nn.Linear(16, out)) for out in (16, 1))
        average = torch.optim.swa_utils.AveragedModel(generator)
        super().__init__({"G": generator, "D": critic}, [(generator, "0"), (critic, "0")])
        self.average = average

    @property
    def given(self) -> Any:
        return {**self.models, "average": self.average}

    def step(self) -> list[Tensor]:
        generator, critic = self.models["G"], self.models["D"]
        real, noise = torch.randn(4, 16), torch.randn(4, 16)
        self.optimizers[1].zero_grad()
        first = F.softplus(critic(generator(noise).detach())).mean() + F.softplus(-critic(real)).mean()
        first.backward()
        self.optimizers[1].step()
        self.optimizers[0].zero_grad()
        second = F.softplus(-critic(generator(noise))).mean()
        second.backward()
        kept = [first.detach().clone(), second.detach().clone(), *self.gradients()]
        self.optimizers[0].step()
        self.average.update_parameters(generator)
        with torch.no_grad():
            return [*kept, self.average(noise)]


class LanguageModel(Case):
    """A causal language model of Hugging Face, from a configuration; its embedding and head are tied."""

    def __init__(self) -> None:
        transformers = pytest.importorskip("transformers")
        config = transformers.GPT2Config(
            vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=1, eos_token_id=2
        )
        model = transformers.GPT2LMHeadModel(config).train()  # with dropout
        super().__init__({"model": model}, [(model.transformer.h, "0"), (model.transformer.h, "1")])

    def loss(self) -> Tensor:
        tokens = torch.randint(3, 32, (2, 8))
        return self.models["model"](input_ids=tokens, labels=tokens).loss


CASES: list[Callable[[], Case]] = [PerfkitsOwn, Tied, Twice, LanguageModel, Vit, Gan]


class Checkpointed(nn.Module):
    """A block whose activations are computed again in backward."""

    def __init__(self, block: nn.Module, *, reentrant: bool) -> None:
        super().__init__()
        self.block, self.reentrant = block, reentrant

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.reentrant:  # it takes no keywords
            return checkpoint(lambda *given: self.block(*given, **kwargs), *args, use_reentrant=True)
        return checkpoint(self.block, *args, use_reentrant=False, **kwargs)


def made(case: Callable[[], Case], how: str) -> Case:
    """The case, eager or otherwise: `checkpoint`, `reentrant`, `block` (compiled), `inductor`, or `whole`."""
    torch.manual_seed(0)
    ready = case()
    for parent, name in ready.blocks:
        block = getattr(parent, name)
        if how in ("checkpoint", "reentrant"):
            setattr(parent, name, Checkpointed(block, reentrant=how == "reentrant"))
        elif how in ("block", "inductor"):
            block.compile(backend="aot_eager" if how == "block" else "inductor")
    if how == "whole":
        for model in ready.models.values():
            model.compile(backend="aot_eager")
    return ready
