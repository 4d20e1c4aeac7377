"""A training loop that brings each batch to the GPU from pageable memory, when it is needed and not before."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "batches are copied from pageable memory, at a fraction of the speed, while the device waits"
WHERE = "the start of the step, before forward"
DEVICES = ("cuda",)
CLASSES = 10


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    batch, side, width = (128, 224, 128) if device == "cuda" else (2, 32, 8)
    model = nn.Sequential(
        nn.Conv2d(3, width, 7, stride=4), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES),
    ).to(device)  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    images, labels = torch.randn(batch, 3, side, side), torch.randint(CLASSES, (batch,), device=device)
    on_gpu = device == "cuda" and not fault
    images = images.pin_memory() if on_gpu else images
    copies = torch.cuda.Stream() if on_gpu else None

    def load() -> Tensor:
        """The next batch; without the fault its copy runs beside the step that is under way."""
        if copies is None:
            return images.to(device)
        copies.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(copies):
            return images.to(device, non_blocking=True)

    ready = [load()]

    def step() -> Tensor:
        x = load() if fault else ready.pop()
        if copies is not None:
            torch.cuda.current_stream().wait_stream(copies)
            x.record_stream(torch.cuda.current_stream())
        if not fault:
            ready.append(load())
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
