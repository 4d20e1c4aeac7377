"""Changes of a model from outside."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

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


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_a_loader_are_changed_as_they_are_collated(workers):
    """GIVEN images in float64 with labels WHEN both changes are applied THEN each batch has them, by workers, too"""
    images = torch.rand(4, 3, 4, 4, dtype=torch.float64)
    loader = DataLoader(TensorDataset(images, torch.arange(4)), 2, num_workers=workers)
    _, changed = changes.apply(("float32", "channels-last"), nn.Conv2d(3, 5, 3).double(), loader)
    found = list(changed)
    assert torch.equal(torch.cat([x for x, _ in found]), images.float())
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in found)
    assert [label.dtype for _, label in found] == [torch.int64] * 2


def test_a_loader_gets_workers_and_keeps_all_else():
    loader = DataLoader(TensorDataset(torch.arange(9)), 2, drop_last=True, collate_fn=list)
    before = vars(loader).copy()
    _, changed = changes.apply(("workers-4",), nn.Identity(), loader)
    differs = {name: value for name, value in vars(changed).items() if value != before[name]}
    assert differs == {"num_workers": 4, "prefetch_factor": 2, "persistent_workers": True}


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self):
        yield from torch.arange(3)


def test_what_workers_would_read_twice_is_refused():
    with pytest.raises(UsageError, match=r"^--apply workers-2: Stream is an IterableDataset, of which every worker"):
        changes.apply(("workers-2",), nn.Identity(), DataLoader(Stream()))


@pytest.mark.parametrize("name", ["workers-2", "pin-memory"])
def test_changes_of_a_loader_need_one(name):
    with pytest.raises(UsageError, match=rf"^--apply {name}: --input returned one batch, which stays: return a DataLo"):
        changes.apply((name,), nn.Identity(), torch.ones(2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_memory_is_pinned_for_a_gpu_alone():
    with pytest.raises(UsageError, match=r"^--apply pin-memory needs a GPU"):
        changes.apply(("pin-memory",), nn.Identity(), DataLoader(TensorDataset(torch.ones(2))))


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
