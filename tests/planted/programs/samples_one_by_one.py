"""A network for sets that encodes each set of a batch in a Python loop, and stacks the results."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "the encoder runs once for each sample of the batch, in a Python loop, where one call could take the batch"
WHERE = "encoder"
DEVICES = ("cpu",)
BATCH, MEMBERS, FEATURES, WIDTH = 192, 16, 32, 128


class Sets(nn.Module):
    def __init__(self, one_by_one: bool) -> None:
        super().__init__()
        self.one_by_one = one_by_one
        self.encoder = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
        self.decoder = nn.Sequential(nn.Linear(MEMBERS * WIDTH, 512), nn.ReLU(), nn.Linear(512, 10))

    def forward(self, sets: Tensor) -> Tensor:
        encoded = torch.stack([self.encoder(one) for one in sets]) if self.one_by_one else self.encoder(sets)
        logits: Tensor = self.decoder(encoded.flatten(1))
        return logits


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Sets(one_by_one=fault).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    sets, labels = torch.randn(BATCH, MEMBERS, FEATURES, device=device), torch.randint(10, (BATCH,), device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(sets), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
