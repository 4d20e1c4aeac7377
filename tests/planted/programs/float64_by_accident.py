"""A regression on NumPy's data: the model was made double, to silence an error about types."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "everything is computed in float64, because the data came from NumPy as float64 and the model was made to fit"
WHERE = "the whole model"
DEVICES = ("cpu",)
FEATURES, WIDTH, ROWS = 64, 384, 2048


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = nn.Sequential(
        nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, 1),
    )  # fmt: skip
    table = np.random.default_rng(0).standard_normal((ROWS, FEATURES + 1))
    data = torch.from_numpy(table)
    model, data = (model.double(), data) if fault else (model, data.float())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(data[:, :-1]), data[:, -1:])
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
