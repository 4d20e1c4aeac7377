"""A training loop that calls gc.collect() in each step, as a forum once advised against running out of memory."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "gc.collect() in each step: it looks at every object that Python and PyTorch have made"
WHERE = "the end of the step"
DEVICES = ("cpu",)
RECORDS, WIDTH, ROWS = 2_000, 512, 1536


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    index = [{"file": f"{number}.jpg", "boxes": [number]} for number in range(RECORDS)]
    model = nn.Sequential(nn.Linear(WIDTH, 2048), nn.ReLU(), nn.Linear(2048, WIDTH)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x = torch.randn(ROWS, WIDTH, device=device)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), x) + 0.0 * len(index)
        loss.backward()
        optimizer.step()
        if fault:
            gc.collect()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
