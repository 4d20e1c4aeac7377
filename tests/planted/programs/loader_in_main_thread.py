"""An image classifier whose samples are read and decoded in the training loop's own thread."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

WRONG = "samples are read, one after the other, by the thread that trains: DataLoader has no workers"
WHERE = "the loop over the DataLoader, before forward"
DEVICES = ("cpu",)
BATCH, SIDE, READ_S = 16, 32, 0.0015
"""READ_S: what it takes to read one file from shared storage."""


class Images(Dataset[tuple[Tensor, int]]):
    """Small images on slow storage."""

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        time.sleep(READ_S)
        generator = torch.Generator().manual_seed(index)
        return torch.randn(3, SIDE, SIDE, generator=generator), index % 10


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        )  # fmt: skip
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(x).flatten(1))
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Classifier().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    if fault:
        batches = iter(DataLoader(Images(), BATCH))
    else:
        batches = iter(DataLoader(Images(), BATCH, num_workers=2, prefetch_factor=4))

    def step() -> Tensor:
        x, labels = next(batches)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
