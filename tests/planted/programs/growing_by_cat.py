"""A recurrent network that appends each step's output to a tensor, and so copies all earlier ones."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "outputs are collected by torch.cat in a loop: each call copies everything collected before"
WHERE = "the loop over time"
DEVICES = ("cpu",)
TIME, BATCH, WIDTH = 192, 32, 96


class Recurrent(nn.Module):
    def __init__(self, growing: bool) -> None:
        super().__init__()
        self.growing = growing
        self.cell = nn.GRUCell(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(BATCH, WIDTH)
        outputs, parts = x.new_zeros(0, BATCH, WIDTH), []
        for now in x:
            state = self.cell(now, state)
            if self.growing:
                outputs = torch.cat([outputs, state[None]])
            else:
                parts.append(state)
        logits: Tensor = self.head(outputs if self.growing else torch.stack(parts))
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Recurrent(growing=fault).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x = torch.randn(TIME, BATCH, WIDTH, device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
