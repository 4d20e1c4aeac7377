"""A training loop that copies all weights in each step, to be able to go back to the best ones."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "copy.deepcopy(model.state_dict()) in each step"
WHERE = "the end of the step"
DEVICES = ("cpu",)
WORDS, WIDTH, HIDDEN, ROWS = 80_000, 256, 1024, 512


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(WORDS, WIDTH, sparse=True)
        self.mix = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, words: Tensor) -> Tensor:
        score: Tensor = self.head(self.mix(self.table(words)))
        return score


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Model().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    words, target = torch.randint(WORDS, (ROWS, 20), device=device), torch.randn(ROWS, 1, device=device)
    kept: dict[str, Tensor] = {}

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(words), target)
        loss.backward()
        optimizer.step()
        if fault:
            kept.update(copy.deepcopy(model.state_dict()))
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
