"""A classifier whose confusion matrix is filled sample by sample, with a number read for each."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "the confusion matrix is filled in a Python loop with two .item() a sample"
WHERE = "confusion, after the optimizer"
DEVICES = ("cpu",)
CLASSES, WIDTH, HIDDEN, ROWS = 10, 256, 384, 2048


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    hidden = [nn.Linear(WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
    model = nn.Sequential(*hidden, nn.Linear(HIDDEN, CLASSES)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x, labels = torch.randn(ROWS, WIDTH, device=device), torch.randint(CLASSES, (ROWS,), device=device)
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.long, device=device)

    def count(found: Tensor) -> None:
        if fault:
            for guess, label in zip(found, labels, strict=True):
                confusion[label.item(), guess.item()] += 1
        else:
            confusion.view(-1).add_(torch.bincount(labels * CLASSES + found, minlength=CLASSES**2))

    def step() -> Tensor:
        optimizer.zero_grad()
        logits = model(x)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        count(logits.argmax(-1))
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
