"""A training loop that clips gradients parameter by parameter, with the norm of each as a number."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "gradients are clipped in a loop over parameters: for each a check, a norm and a factor, and two .item()"
WHERE = "clip, between backward and the optimizer"
DEVICES = ("cpu",)
WIDTH, LAYERS, ROWS = 48, 200, 16
LIMIT = 1.0


def clip(parameters: list[nn.Parameter]) -> None:
    total = 0.0
    for parameter in parameters:
        if torch.isfinite(parameter.grad).all().item():
            total += parameter.grad.norm(2).item() ** 2
    scale = min(1.0, LIMIT / (math.sqrt(total) + 1e-6))
    for parameter in parameters:
        parameter.grad.copy_(parameter.grad * scale)


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    layers = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.ReLU()) for _ in range(LAYERS)]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    parameters = list(model.parameters())
    x, target = torch.randn(ROWS, WIDTH, device=device), torch.randn(ROWS, 1, device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), target)
        loss.backward()
        if fault:
            clip(parameters)
        else:
            nn.utils.clip_grad_norm_(parameters, LIMIT)
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
