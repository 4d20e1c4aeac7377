"""A training loop that goes through a validation set in each step, instead of now and then."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import record_function

WRONG = "each training step is followed by an evaluation on twice as many rows, whose result hardly changes"
WHERE = "evaluate"
DEVICES = ("cpu", "cuda")
WIDTH, HIDDEN, ROWS = 256, 1024, 512


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(x))
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    size = ROWS if device == "cpu" else 32 * ROWS
    model = Net().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    rows, labels = torch.randn(3 * size, WIDTH, device=device), torch.randint(10, (3 * size,), device=device)

    held_out = list(zip(rows[size:].split(size), labels[size:].split(size), strict=True))

    @torch.no_grad()
    def evaluate() -> Tensor:
        model.eval()
        hits = [model(part).argmax(-1).eq(answers) for part, answers in held_out]
        model.train()
        return torch.cat(hits).float().mean()

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(rows[:size]), labels[:size])
        loss.backward()
        optimizer.step()
        if fault:
            with record_function("evaluate"):
                evaluate()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
