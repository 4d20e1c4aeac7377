"""Optimizers: a loop's work is for the module of the parameter it updates, and the rest is the optimizer's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.truth.models import Block, Net
from tests.truth.recording import STEPS, Recording, Training, record_training
from tests.truth.verdict import assert_right

LOOPS: list[Any] = [
    torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.NAdam,
    torch.optim.RMSprop, torch.optim.Rprop,
]  # fmt: skip


def _training(make: Any, **settings: Any) -> type[Training]:
    class _With(Training):
        def make_optimizer(self) -> torch.optim.Optimizer:
            return make(self.parameters, **settings)

    return _With


def _updates(recording: Recording) -> list[str]:
    """Modules that perfkit's ranges of updates name, in order."""
    host = recording.attribution.host
    return [host.own_names[int(name)].label for name in host.name[host.own("update")].tolist()]


@pytest.mark.parametrize("make", LOOPS)
def test_a_loop_over_parameters(make: Any, tmp_path: Path) -> None:
    """GIVEN an optimizer that goes from parameter to parameter WHEN attributed THEN each update is its module's"""
    model = Net(Block(), Block())
    model.head.weight = model.embedding.weight
    recording = record_training(model, tmp_path, training=_training(make, foreach=False))
    assert_right(recording)
    owners = [name.rpartition(".")[0] for name, _ in model.named_parameters()]
    assert _updates(recording) == STEPS * owners


@pytest.mark.parametrize("settings", [{"foreach": True}, {"fused": True}], ids=["foreach", "fused"])
def test_all_parameters_at_once(settings: dict[str, bool], tmp_path: Path) -> None:
    """GIVEN operations on many parameters WHEN attributed THEN they are the optimizer's"""
    model = Net(Block(), Block())
    recording = record_training(model, tmp_path, training=_training(torch.optim.AdamW, **settings))
    assert_right(recording)
    assert _updates(recording) == []


class _Closure(Training):
    """Forward, loss and backward run inside the optimizer's step, as with L-BFGS and in PyTorch Lightning."""

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters, foreach=False)

    def __call__(self) -> None:
        self.optimizer.step(self.closure)

    def closure(self) -> float:
        self.zero_grad()
        logits: Tensor = self.model(self.batch[0])
        loss = self.loss(logits)
        loss.backward()
        return loss.item()


def test_a_closure(tmp_path: Path) -> None:
    """GIVEN a step that runs forward and backward itself WHEN attributed THEN they are the modules' all the same"""
    model = Net(Block(), Block())
    recording = record_training(model, tmp_path, training=_Closure)
    assert_right(recording)
    assert len(_updates(recording)) == STEPS * len(list(model.parameters()))
