"""Residual blocks in which layer norm is a handful of reductions and divisions by hand."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "layer norm by hand: mean, variance, difference, root, quotient, scale and shift, each a pass over memory"
WHERE = "blocks.*.norm"
DEVICES = ("cpu", "cuda")
WIDTH, LAYERS, ROWS = 128, 6, 4096


class ByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = ((x - mean) ** 2).mean(-1, keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-5) * self.weight + self.bias


class Block(nn.Module):
    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.norm = ByHand() if by_hand else nn.LayerNorm(WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.mix(self.norm(x))
        return mixed


class Residual(nn.Module):
    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(by_hand) for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.head(self.blocks(x))
        return score


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    rows = ROWS if device == "cpu" else 64 * ROWS
    model = Residual(by_hand=fault).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, target = torch.randn(rows, WIDTH, device=device), torch.randn(rows, 1, device=device)

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
