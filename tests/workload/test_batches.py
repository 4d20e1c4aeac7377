"""Batches of a DataLoader: the same, in the same order, however they are read."""

from __future__ import annotations

import itertools
import pickle
import random
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from perfkit.errors import UsageError
from perfkit.workload.batches import Batches, on_device, set_workers

CPU = torch.device("cpu")
ROWS = TensorDataset(torch.arange(10))
Pair = namedtuple("Pair", "one other")


@dataclass
class Sample:
    x: Tensor
    name: str = "cat"


class Mover:
    """As a batch of tokenizers, which moves itself."""

    def to(self, device: torch.device, *, non_blocking: bool) -> Any:
        return device, non_blocking


def shuffled(**options: Any) -> DataLoader[Any]:
    return DataLoader(ROWS, 4, shuffle=True, **options)


def own_sampler() -> DataLoader[Any]:
    return DataLoader(ROWS, batch_sampler=BatchSampler(RandomSampler(ROWS), 4, drop_last=False))


def drawn(loader: DataLoader[Any], count: int, seed: int = 0, workers: int = 0) -> list[list[int]]:
    """The rows of so many batches."""
    if workers:
        set_workers(loader, workers)
    batches = Batches(loader, CPU, seed)
    try:
        return [batches.next()[0].tolist() for _ in range(count)]
    finally:
        batches.close()


def test_a_batch_goes_to_the_device_whatever_it_is():
    """GIVEN tensors in all that holds them, and what moves itself WHEN moved to meta THEN all of it is there"""
    meta, x = torch.device("meta"), torch.ones(2)
    given = {"a": [x, 3], "b": (x, Sample(x)), "c": Pair(x, None), "d": Mover()}
    found = on_device(given, meta, non_blocking=True)
    tensors = found["a"][0], found["b"][0], found["b"][1].x, found["c"].one
    assert [one.device.type for one in tensors] == ["meta"] * 4
    assert (found["a"][1], found["b"][1].name, found["c"].other, found["d"]) == (3, "cat", None, (meta, True))


@pytest.mark.parametrize(
    "make",
    [shuffled, lambda: shuffled(generator=torch.Generator().manual_seed(3)), own_sampler, lambda: DataLoader(ROWS, 4)],
    ids=["shuffled", "own-generator", "own-sampler", "in-order"],
)
def test_workers_change_neither_batches_nor_their_order(make):
    """GIVEN a loader of 3 batches an epoch WHEN read in this process and by 2 workers THEN 3 epochs are the same"""
    alone = drawn(make(), 8)
    assert drawn(make(), 8, workers=2) == alone
    for epoch in (alone[:3], alone[3:6]):
        assert [len(batch) for batch in epoch] == [4, 4, 2]
        assert sorted(itertools.chain(*epoch)) == list(range(10))


def test_the_order_is_that_of_the_seed_alone():
    """GIVEN whatever the model drew before WHEN read THEN the seed decides, and the model's draws are not touched"""
    torch.manual_seed(1)
    first = drawn(shuffled(), 6)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert drawn(shuffled(), 6) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn(shuffled(), 6, seed=1) != first
    assert first[:3] != first[3:]  # an epoch is shuffled anew


def test_workers_live_until_it_is_closed():
    before = set(psutil.Process().children())
    batches = Batches(DataLoader(ROWS, 4, num_workers=2), CPU, 0)
    batches.next()
    workers = set(psutil.Process().children()) - before
    assert len(workers) == 2
    batches.close()
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_a_loader_with_workers_can_be_read_without():
    """GIVEN a loader with options that only workers have WHEN it is to read here THEN it does"""
    loader = DataLoader(ROWS, 4, num_workers=2, timeout=60, prefetch_factor=3, persistent_workers=True)
    batches = Batches(loader, CPU, 0)
    batches.load_here()
    before = set(psutil.Process().children())
    assert batches.next()[0].tolist() == [0, 1, 2, 3]
    assert set(psutil.Process().children()) == before


def test_no_batch_at_all_is_one_line():
    with pytest.raises(UsageError, match=r"^--input: its DataLoader has no batch$"):
        Batches(DataLoader(TensorDataset(torch.empty(0)), 4), CPU, 0).next()


class Augmented(Dataset[Tensor]):
    """Rows that are partly random, as of images that are cropped and mirrored."""

    label = "augmented"

    def __len__(self) -> int:
        return 10

    def __getitem__(self, row: int) -> Tensor:
        return torch.cat([torch.rand(2), torch.tensor([random.random(), np.random.random(), row])])  # noqa: NPY002


class AugmentedTogether(Augmented):
    """The same, read a batch at a time."""

    def __getitems__(self, rows: list[int]) -> list[Tensor]:
        first = torch.rand(1)
        return [first + row for row in rows]


class Stream(IterableDataset[Tensor]):
    """Rows without numbers."""

    def __iter__(self) -> Iterator[Tensor]:
        yield from torch.rand(8)


def augmented(rows: Dataset[Any], workers: int, *, alike: bool, **options: Any) -> list[list[list[float]]]:
    """The rows of four batches, of two epochs; whatever was drawn before."""
    torch.manual_seed(workers)
    loader: DataLoader[Any] = DataLoader(rows, shuffle=True, **({"batch_size": 4} | options))
    if workers:
        set_workers(loader, workers)
    batches = Batches(loader, CPU, 0)
    if alike:
        batches.draw_alike()
    try:
        return [batches.next().tolist() for _ in range(4)]
    finally:
        batches.close()


@pytest.mark.parametrize("rows", [Augmented(), AugmentedTogether()], ids=["one-by-one", "together"])
def test_rows_that_are_drawn_are_the_same_however_many_workers_draw_them(rows):
    """GIVEN rows with random numbers of PyTorch, Python and NumPy WHEN drawn alike THEN two workers change no bit"""
    alone = augmented(rows, 0, alike=True)
    assert augmented(rows, 2, alike=True) == alone
    assert augmented(rows, 0, alike=True) == alone
    assert len({str(row) for batch in alone[:3] for row in batch}) == 10, "each row draws its own"
    assert augmented(rows, 2, alike=False) != augmented(rows, 0, alike=False), "else they differ"


def test_single_rows_are_drawn_alike_too():
    """GIVEN a loader without batches THEN the same"""
    alone = augmented(Augmented(), 0, alike=True, batch_size=None)
    assert augmented(Augmented(), 1, alike=True, batch_size=None) == alone


def test_what_others_draw_is_as_without():
    """WHEN rows are drawn alike in this process THEN the next random numbers, such as dropout's, are as before it"""
    batches = Batches(DataLoader(Augmented(), 4), CPU, 0)
    batches.draw_alike()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    drawn_next = torch.rand(1).item(), random.random(), np.random.random()  # noqa: NPY002
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    batches.next()
    assert (torch.rand(1).item(), random.random(), np.random.random()) == drawn_next  # noqa: NPY002


def test_the_dataset_is_still_what_it_was():
    """WHEN drawn alike THEN its attributes are there, also of a copy in a worker; one without numbers is left alone"""
    batches = Batches(DataLoader(Augmented(), 4), CPU, 0)
    batches.draw_alike()
    copy = pickle.loads(pickle.dumps(batches.loader.dataset))
    assert (copy.label, len(copy), len(batches.loader)) == ("augmented", 10, 3)
    stream = Batches(DataLoader(Stream(), 4), CPU, 0)
    stream.draw_alike()
    assert isinstance(stream.loader.dataset, Stream)
    assert stream.next().shape == (4,)
