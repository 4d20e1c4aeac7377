"""A network that checkpoints each of its layers, although its activations are small."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

WRONG = "each layer runs its forward again in backward, to save a few MiB of memory that nobody lacks"
WHERE = "layers.*"
DEVICES = ("cpu", "cuda")
WIDTH, LAYERS, ROWS = 384, 6, 512


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(functional.silu(self.up(self.norm(x))))
        return mixed


class Stack(nn.Module):
    def __init__(self, checkpointed: bool) -> None:
        super().__init__()
        self.checkpointed = checkpointed
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = checkpoint(layer, x, use_reentrant=False) if self.checkpointed else layer(x)
        score: Tensor = self.head(x)
        return score


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    rows = ROWS if device == "cpu" else 32 * ROWS
    model = Stack(checkpointed=fault).to(device)
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
