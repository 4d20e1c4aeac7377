"""A training loop in which somebody looked for NaN once, and left anomaly detection on."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "torch.autograd.set_detect_anomaly(True): a Python stack for each operator, a look for NaN after each node"
WHERE = "forward and backward"
DEVICES = ("cpu",)
WIDTH, LAYERS, ROWS = 128, 24, 512


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return mixed


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = nn.Sequential(*(Layer() for _ in range(LAYERS)), nn.Linear(WIDTH, 1)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, target = torch.randn(ROWS, WIDTH, device=device), torch.randn(ROWS, 1, device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        with torch.autograd.set_detect_anomaly(fault):
            loss = functional.mse_loss(model(x), target)
            loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
