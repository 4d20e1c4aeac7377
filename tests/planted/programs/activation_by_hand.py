"""An MLP with the tanh form of GELU spelled out, operator by operator, as papers print it."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "GELU as a chain of eight elementwise operators, each of which reads and writes the whole activation"
WHERE = "blocks.*.activation"
DEVICES = ("cpu", "cuda")
WIDTH, HIDDEN, LAYERS, ROWS = 64, 768, 3, 1536


class Gelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class Block(nn.Module):
    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.activation = Gelu() if by_hand else nn.GELU(approximate="tanh")

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(self.activation(self.up(self.norm(x))))
        return mixed


class Mlp(nn.Module):
    def __init__(self, by_hand: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(by_hand) for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(x))
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    rows = ROWS if device == "cpu" else 128 * ROWS
    model = Mlp(by_hand=fault).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x, labels = torch.randn(rows, WIDTH, device=device), torch.randint(10, (rows,), device=device)

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
