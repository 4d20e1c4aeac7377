"""A network on a graph that adds messages to their nodes edge by edge, in a Python loop."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

WRONG = "messages are added to nodes by an indexed assignment for each edge, in a Python loop, instead of one index_add"
WHERE = "layers.*.gather"
DEVICES = ("cpu",)
NODES, EDGES, WIDTH, LAYERS = 4096, 1200, 256, 2


class Gather(nn.Module):
    """Adds to each node what its edges bring: messages [edges, width] -> [nodes, width]."""

    def __init__(self, in_a_loop: bool) -> None:
        super().__init__()
        self.in_a_loop = in_a_loop

    def forward(self, messages: Tensor, targets: Tensor) -> Tensor:
        sums = messages.new_zeros(NODES, messages.shape[1])
        if not self.in_a_loop:
            return sums.index_add(0, targets, messages)
        for edge in range(len(targets)):
            sums[targets[edge]] += messages[edge]
        return sums


class Layer(nn.Module):
    def __init__(self, in_a_loop: bool) -> None:
        super().__init__()
        self.message, self.update = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.gather = Gather(in_a_loop)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        sums = self.gather(self.message(x[edges[0]]), edges[1])
        mixed: Tensor = torch.relu(self.update(x + sums))
        return mixed


class Graph(nn.Module):
    def __init__(self, in_a_loop: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(in_a_loop) for _ in range(LAYERS))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, edges)
        return x


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Graph(in_a_loop=fault).to(device)
    x, edges = torch.randn(NODES, WIDTH, device=device), torch.randint(NODES, (2, EDGES), device=device)

    @torch.no_grad()
    def step() -> Tensor:
        return model(x, edges).square().mean()

    return model, step


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])
    from tests.planted.running import main

    main(build)
