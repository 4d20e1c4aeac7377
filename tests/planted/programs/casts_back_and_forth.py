"""A residual network that keeps its stream in bfloat16, and computes each layer in float32."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "each layer casts its input to float32 and its output back to bfloat16, although all work is done in float32"
WHERE = "layers.*"
DEVICES = ("cpu", "cuda")
WIDTH, LAYERS, ROWS = 32, 8, 16384


class Layer(nn.Module):
    def __init__(self, stream: torch.dtype) -> None:
        super().__init__()
        self.stream = stream
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        change = self.mix(self.norm(x.to(torch.float32)).to(self.stream).to(torch.float32))
        return x + torch.relu(change.to(self.stream).to(torch.float32)).to(self.stream)


class Residual(nn.Module):
    def __init__(self, stream: torch.dtype) -> None:
        super().__init__()
        self.stream = stream
        self.layers = nn.Sequential(*(Layer(stream) for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.head(self.layers(x.to(self.stream)).to(torch.float32))
        return score


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    rows = ROWS if device == "cpu" else 32 * ROWS
    model = Residual(torch.bfloat16 if fault else torch.float32).to(device)
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
