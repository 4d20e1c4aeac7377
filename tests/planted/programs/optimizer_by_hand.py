"""A deep, narrow network with an Adam of its own, which updates parameters one by one."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "Adam written by hand: a dozen small operators for each of many small parameters"
WHERE = "the optimizer's step"
DEVICES = ("cpu",)
WIDTH, LAYERS, ROWS = 64, 80, 256
LR, BETA1, BETA2, EPS = 1e-4, 0.9, 0.999, 1e-8


class OneByOne(torch.optim.Optimizer):
    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            if not state:
                state |= {"step": 0, "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter)}
            state["step"] += 1
            state["mean"] = BETA1 * state["mean"] + (1 - BETA1) * parameter.grad
            state["square"] = BETA2 * state["square"] + (1 - BETA2) * parameter.grad * parameter.grad
            mean = state["mean"] / (1 - BETA1 ** state["step"])
            square = state["square"] / (1 - BETA2 ** state["step"])
            parameter.sub_(LR * mean / (torch.sqrt(square) + EPS))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return mixed


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = nn.Sequential(*(Layer() for _ in range(LAYERS)), nn.Linear(WIDTH, 1)).to(device)
    optimizer: torch.optim.Optimizer
    if fault:
        optimizer = OneByOne(model.parameters())
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True)
    x, target = torch.randn(ROWS, WIDTH, device=device), torch.randn(ROWS, 1, device=device)

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
