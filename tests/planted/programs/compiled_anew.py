"""A training loop that compiles its loss function again in each step, as its own wrapper is made there."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

WRONG = "torch.compile is called inside the step, on a function made there: each step traces and compiles it anew"
WHERE = "loss"
DEVICES = ("cpu",)
WIDTH, HIDDEN, ROWS = 512, 2048, 512
Loss = Callable[[Tensor, Tensor], Tensor]


def smooth_loss(scale: float) -> Loss:
    def loss(found: Tensor, wanted: Tensor) -> Tensor:
        error = (found - wanted) * scale
        return torch.where(error.abs() < 1.0, error.square() / 2, error.abs() - 0.5).mean()

    return loss


def compiled(scale: float) -> Loss:
    torch.compiler.reset()
    made: Loss = torch.compile(smooth_loss(scale), backend="aot_eager")
    return made


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x = torch.randn(ROWS, WIDTH, device=device)
    once = compiled(0.5)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = (compiled(0.5) if fault else once)(model(x), x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
