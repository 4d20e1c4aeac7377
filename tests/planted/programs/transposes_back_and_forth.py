"""A tagger of convolution features, whose layers each turn length and width round in memory, and back."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "each layer transposes and copies its input and its output; once before and once after all layers would do"
WHERE = "layers.*"
DEVICES = ("cpu", "cuda")
BATCH, LENGTH, WIDTH, LAYERS = 64, 192, 64, 6


def turned(x: Tensor) -> Tensor:
    """[batch, width, length] -> [batch, length, width], or the other way round, in memory too."""
    return x.transpose(1, 2).contiguous()


class Layer(nn.Module):
    def __init__(self, turning: bool) -> None:
        super().__init__()
        self.turning = turning
        self.norm, self.mix = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.relu(self.mix(self.norm(turned(x) if self.turning else x)))
        return x + (turned(mixed) if self.turning else mixed)


class Tagger(nn.Module):
    """Features [batch, width, length] -> scores [batch, 10]."""

    def __init__(self, turning: bool) -> None:
        super().__init__()
        self.turning = turning
        self.layers = nn.Sequential(*(Layer(turning) for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(x).mean(2) if self.turning else self.layers(turned(x)).mean(1)
        logits: Tensor = self.head(x)
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    batch = BATCH if device == "cpu" else 32 * BATCH
    model = Tagger(turning=fault).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, labels = torch.randn(batch, WIDTH, LENGTH, device=device), torch.randint(10, (batch,), device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
