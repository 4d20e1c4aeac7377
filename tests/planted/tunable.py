"""Planted faults that can be put right from outside, as `--model` and `--input` of `perfkit tune`, and their twins.

After the programs beside it, but without steps of their own: perfkit's step runs them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

WIDTH, HIDDEN, LAYERS, ROWS = 64, 768, 3, 1536
Batch = tuple[Tensor, Callable[[Any], Tensor]]


def _gelu(x: Tensor) -> Tensor:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + torch.tanh(inner))


class Block(nn.Module):
    def __init__(self, by_hand: bool, dropout: float) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.by_hand, self.dropout = by_hand, dropout

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(x)
        up = _gelu(up) if self.by_hand else functional.gelu(up, approximate="tanh")
        mixed: Tensor = x + self.down(functional.dropout(up, self.dropout))
        return mixed


class Blocks(nn.Module):
    def __init__(self, by_hand: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(by_hand, dropout) for _ in range(LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def activation(fault: bool = True, dropout: float = 0.0) -> nn.Module:
    """The fault: GELU by hand, a chain of elementwise operators. Put right by --compile."""
    return Blocks(fault, dropout)


def rows() -> Batch:
    """Rows, and the mean square distance from others."""
    target = torch.randn(ROWS, WIDTH)
    return torch.randn(ROWS, WIDTH), lambda made: functional.mse_loss(made, target)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(64), nn.Linear(64, 64), nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = x + self.down(torch.relu(self.up(self.norm(x))))
        return mixed


def many_parameters() -> nn.Module:
    """The fault is the run's: AdamW goes through 480 small parameters one by one. Put right by --optimizer."""
    return nn.Sequential(*(Layer() for _ in range(80)), nn.Linear(64, 1))


def few_rows() -> Batch:
    """Rows for many parameters."""
    target = torch.randn(64, 1)
    return torch.randn(64, 64), lambda made: functional.mse_loss(made, target)


def anomaly(fault: bool = True) -> nn.Module:
    """The fault: anomaly detection is left on. Put right by --apply no-anomaly."""
    torch.autograd.set_detect_anomaly(fault, check_nan=True)
    return nn.Sequential(*(Layer() for _ in range(24)))


def anomaly_rows() -> Batch:
    """Rows for it."""
    target = torch.randn(256, 64)
    return torch.randn(256, 64), lambda made: functional.mse_loss(made, target)


def double(fault: bool = True) -> nn.Module:
    """The fault: everything is in float64, because the data came so. Put right by --apply float32."""
    model = nn.Sequential(nn.Linear(64, 384), nn.ReLU(), nn.Linear(384, 384), nn.ReLU(), nn.Linear(384, 1))
    return model.double() if fault else model


def double_rows() -> Batch:
    """Data as NumPy made them."""
    data, target = torch.randn(2048, 64, dtype=torch.float64), torch.randn(2048, 1, dtype=torch.float64)
    return data, lambda made: functional.mse_loss(made, target.to(made.dtype))


def single_rows() -> Batch:
    """The same in float32, for the healthy twin."""
    data, loss = double_rows()
    return data.float(), loss


class Spread(nn.Module):
    """A layer over the variance of features far from zero, as the mean of squares less the square of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 384)
        self.rest = nn.Sequential(nn.Linear(384, 384), nn.ReLU(), nn.Linear(384, 1))

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x) + 1e4
        spread = (features**2).mean(0) - features.mean(0) ** 2
        made: Tensor = self.rest((features - 1e4) / (spread.abs() + 1e-3).sqrt())
        return made


def needs_double() -> nn.Module:
    """No fault: it is in float64 because in float32 the variance is lost. --apply float32 must be refused."""
    return Spread().double()


class Stored(Dataset[tuple[Tensor, Tensor]]):
    """Files of 32 rows and their targets, each of which takes 5 ms to come from shared storage."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.seconds:
            time.sleep(self.seconds)
        generator = torch.Generator().manual_seed(index)
        return torch.randn(32, 64, generator=generator), torch.randn(32, 64, generator=generator)


def layers() -> nn.Module:
    """A model without a fault."""
    return nn.Sequential(*(Layer() for _ in range(24)))


def stored_rows(fault: bool = True) -> tuple[DataLoader[tuple[Tensor, Tensor]], Callable[[Any, Tensor], Tensor]]:
    """The fault: eight files a batch, read one after the other by the process that trains. Put right by workers."""
    return DataLoader(Stored(0.005 if fault else 0.0), 8, shuffle=True), functional.mse_loss
