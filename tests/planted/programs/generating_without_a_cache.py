"""A decoder that writes a text token by token, and runs the whole text anew for each token."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "no cache of keys and values: the model runs on the whole text so far for each new token"
WHERE = "blocks.*"
DEVICES = ("cpu",)
WORDS, WIDTH, HEADS, LAYERS, PROMPT, NEW = 512, 128, 4, 4, 96, 2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor, cache: list[Tensor]) -> Tensor:
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        if cache:
            k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
        cache[:] = [k, v]
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        changed: Tensor = x + self.mlp(self.norm2(x))
        return changed


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(WORDS, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, tokens: Tensor, caches: list[list[Tensor]]) -> Tensor:
        x = self.tokens(tokens)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache)
        last: Tensor = self.head(x[:, -1])
        return last


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Decoder().to(device).eval()
    prompt = torch.randint(WORDS, (16, PROMPT), device=device)

    @torch.no_grad()
    def step() -> Tensor:
        caches: list[list[Tensor]] = [[] for _ in range(LAYERS)]
        text, given = prompt, prompt
        for _ in range(NEW):
            logits = model(given, caches)
            text = torch.cat([text, logits.argmax(-1, keepdim=True)], 1)
            if fault:
                caches, given = [[] for _ in range(LAYERS)], text
            else:
                given = text[:, -1:]
        return logits.square().mean()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
