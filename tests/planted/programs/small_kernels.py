"""A recurrent network whose cell is written by hand: each time step launches a dozen kernels of a few microseconds."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

WRONG = "an LSTM as a loop of small operators, whose kernels end sooner than the host can launch the next"
WHERE = "recurrent"
DEVICES = ("cuda",)
TIME, BATCH, UNITS = 48, 32, 128


class ByHand(nn.LSTM):
    """One layer of nn.LSTM with its own weights, as textbooks write it."""

    def forward(self, x: Tensor, hx: object = None) -> tuple[Tensor, object]:  # type: ignore[override]
        into_weight, hidden_weight, into_bias, hidden_bias = self.all_weights[0]
        hidden = cell = x.new_zeros(BATCH, UNITS)
        outputs = []
        for now in x:
            gates = now @ into_weight.T + into_bias + hidden @ hidden_weight.T + hidden_bias
            into, forget, new, out = gates.chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
            hidden = torch.sigmoid(out) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs), (hidden, cell)


class Model(nn.Module):
    def __init__(self, by_hand: bool, width: int) -> None:
        super().__init__()
        self.recurrent = (ByHand if by_hand else nn.LSTM)(UNITS, UNITS)
        self.mix = nn.Sequential(nn.Linear(UNITS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        score: Tensor = self.head(self.mix(self.recurrent(x)[0]))
        return score


def build(fault: bool, device: str) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = Model(by_hand=fault, width=8192 if device == "cuda" else 64).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, target = torch.randn(TIME, BATCH, UNITS, device=device), torch.randn(TIME, BATCH, 1, device=device)

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
