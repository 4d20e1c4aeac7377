"""A training loop that reads the loss in each step, and so waits for the GPU before it prepares the next batch."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "loss.item() in each step: the host waits for the device, which then waits for the next batch to be prepared"
WHERE = "the end of the step"
DEVICES = ("cuda",)
LAYERS, BATCH, LENGTH = 8, 256, 512


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(functional.gelu(self.up(self.norm(x))))
        return mixed


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    width = 1024 if device == "cuda" else 32
    model = nn.Sequential(nn.Linear(LENGTH, width), *(Layer(width) for _ in range(LAYERS)), nn.Linear(width, 1)).to(
        device
    )
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    rows = [[(row * column) % 17 / 17 for column in range(LENGTH)] for row in range(BATCH)]
    seen: list[float | Tensor] = []

    def step() -> Tensor:
        x = torch.tensor([[2 * value - 1 for value in row] for row in rows])
        x = (x.pin_memory() if device == "cuda" else x).to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), x[:, :1])
        loss.backward()
        optimizer.step()
        seen.append(loss.item() if fault else loss.detach())
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
