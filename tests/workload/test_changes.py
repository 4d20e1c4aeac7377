"""Changes of a model from outside."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perfkit.errors import UsageError
from perfkit.workload import changes


class Switches(nn.Module):
    """As a model of transformers has them."""

    said: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.said = []

    def gradient_checkpointing_disable(self) -> None:
        self.said.append("no checkpoints")

    def set_attn_implementation(self, name: str) -> None:
        self.said.append(name)


def test_images_and_weights_get_channels_last():
    batch = {"images": torch.zeros(2, 3, 4, 4), "labels": torch.zeros(2)}
    model = nn.Conv2d(3, 5, 3)
    _, moved = changes.apply(("channels-last",), model, batch)
    for tensor in (moved["images"], model.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert moved["labels"] is batch["labels"]


def test_what_is_in_float64_becomes_float32():
    batch = (torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.int64))
    model, (numbers, whole) = changes.apply(("float32",), nn.Linear(2, 2).double(), batch)
    assert (model.weight.dtype, numbers.dtype, whole.dtype) == (torch.float32, torch.float32, torch.int64)


def test_anomaly_detection_is_turned_off():
    with torch.autograd.set_detect_anomaly(True):
        changes.apply(("no-anomaly",), nn.Identity(), ())
        assert not torch.is_anomaly_enabled()


def test_transformers_are_asked_by_their_own_methods():
    model = Switches()
    changes.apply(("sdpa", "no-checkpointing"), model, ())
    assert model.said == ["sdpa", "no checkpoints"]


@pytest.mark.parametrize("name", ["sdpa", "no-checkpointing"])
def test_a_model_without_them_is_refused(name):
    with pytest.raises(UsageError, match=f"--apply {name}: Identity has no .*: change it in your code"):
        changes.apply((name,), nn.Identity(), ())
