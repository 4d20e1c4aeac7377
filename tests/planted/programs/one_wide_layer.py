"""A stack of equal layers, one of which is eight times as wide as the others: a slip in a configuration."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "the hidden width of one of six equal layers is eight times that of the others"
WHERE = "layers.3"
DEVICES = ("cpu", "cuda")
WIDTH, HIDDEN, LAYERS, ROWS = 256, 512, 6, 512


class Layer(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, hidden), nn.Linear(hidden, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return mixed


class Stack(nn.Module):
    def __init__(self, hidden: list[int]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*map(Layer, hidden))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.head(self.layers(x))
        return score


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    rows = ROWS if device == "cpu" else 64 * ROWS
    model = Stack([8 * HIDDEN if fault and number == 3 else HIDDEN for number in range(LAYERS)]).to(device)
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
