"""Inference that waits for the device after each layer, to time the layers, and forgot to take that out."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "torch.cuda.synchronize() after each layer: the host prepares the next layer only when the device has run dry"
WHERE = "layers.*"
DEVICES = ("cuda",)
LAYERS, ROWS, ADAPTERS = 24, 4096, 400


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(functional.gelu(self.up(self.norm(x))))
        return mixed


class Network(nn.Module):
    def __init__(self, width: int, timed: bool) -> None:
        super().__init__()
        self.timed = timed
        self.layers = nn.ModuleList(Layer(width) for _ in range(LAYERS))
        self.adapters = {f"layers.{number}.{name}": name % 7 for number in range(LAYERS) for name in range(ADAPTERS)}
        self.times: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            start = time.perf_counter()
            chosen = max(range(ADAPTERS), key=lambda name: self.adapters[f"layers.{number}.{name}"])
            x = layer(x) * (1.0 + 1e-3 * chosen)
            if self.timed and x.is_cuda:
                torch.cuda.synchronize()
            self.times[number:] = [time.perf_counter() - start]
        return x


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    width = 1024 if device == "cuda" else 32
    model = Network(width, timed=fault).to(device)
    x = torch.randn(ROWS, width, device=device)

    @torch.no_grad()
    def step() -> Tensor:
        return model(x).square().mean()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
