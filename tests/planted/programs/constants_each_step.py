"""An encoder that computes its table of sinusoidal positions, and its mask, again in each step."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "the table of positions and the mask, the same in each step, are computed from Python numbers in each step"
WHERE = "positions"
DEVICES = ("cpu",)
WIDTH, CONTEXT, BATCH, HEADS = 64, 512, 2, 4


def table() -> list[list[float]]:
    return [
        [math.sin(place / 10_000 ** (2 * (i // 2) / WIDTH) + (i % 2) * math.pi / 2) for i in range(WIDTH)]
        for place in range(CONTEXT)
    ]


class Positions(nn.Module):
    made: Tensor

    def __init__(self, each_step: bool) -> None:
        super().__init__()
        self.each_step = each_step
        self.register_buffer("made", torch.tensor(table()))

    def forward(self, x: Tensor) -> Tensor:
        return x + (torch.tensor(table(), device=x.device) if self.each_step else self.made)


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True)
    model = nn.Sequential(Positions(each_step=fault), nn.TransformerEncoder(layer, 2), nn.Linear(WIDTH, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x, target = torch.randn(BATCH, CONTEXT, WIDTH, device=device), torch.randn(BATCH, CONTEXT, 1, device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
