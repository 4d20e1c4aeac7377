"""A training loop that draws a histogram of every weight and gradient, for a dashboard, in each step."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "a histogram of each weight and each gradient is made in each step, for plots that nobody reads that often"
WHERE = "watch, after backward"
DEVICES = ("cpu",)
WIDTH, HIDDEN, LAYERS, ROWS = 128, 1024, 6, 384


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return mixed


def watch(model: nn.Module) -> dict[str, list[float]]:
    seen = {}
    for name, parameter in model.named_parameters():
        seen[name] = torch.histc(parameter.detach(), bins=64).tolist()
        seen[f"{name} gradient"] = torch.histc(parameter.grad, bins=64).tolist()
    return seen


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = nn.Sequential(*(Layer() for _ in range(LAYERS)), nn.Linear(WIDTH, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, target = torch.randn(ROWS, WIDTH, device=device), torch.randn(ROWS, 1, device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), target)
        loss.backward()
        if fault:
            watch(model)
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
