"""Batches: how one gets to the device, and those of a DataLoader, one a step."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset, IterableDataset

from perfkit.errors import UsageError

_NONE = object()
_PREFETCH = 2
"""Batches that each worker reads ahead, as DataLoader has it."""


def on_device(batch: Any, device: torch.device, *, non_blocking: bool = False) -> Any:
    """The batch on a device: tensors, and what has a `to` of its own, in whatever PyTorch knows, and in dataclasses."""

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) or callable(getattr(leaf, "to", None)):
            return leaf.to(device, non_blocking=non_blocking)
        if dataclasses.is_dataclass(leaf) and not isinstance(leaf, type):
            fields = {one.name: getattr(leaf, one.name) for one in dataclasses.fields(leaf) if one.init}
            return dataclasses.replace(leaf, **tree_map(moved, fields))
        return leaf

    return tree_map(moved, batch)


def set_workers(loader: DataLoader[Any], count: int) -> None:
    """Give a loader so many workers, which live as long as it does; all else of it stays. It must not have begun."""
    loader.num_workers = count
    loader.timeout = loader.timeout if count else 0
    loader.prefetch_factor = (loader.prefetch_factor or _PREFETCH) if count else None
    vars(loader)["persistent_workers"] = count > 0  # as an attribute nobody may set it later


class _Alike(Dataset[Any]):
    """Rows of a dataset; random numbers that it draws for a batch depend on the seed and the batch's first row alone.

    Neither which process draws nor what it drew before matters, and what others draw after it is as without.
    """

    def __init__(self, rows: Dataset[Any], seed: int) -> None:
        self.rows, self._seed = rows, seed

    def __getattr__(self, name: str) -> Any:
        if name == "rows":  # asked of one that is being copied to a worker
            raise AttributeError(name)
        return getattr(self.rows, name)

    def __len__(self) -> int:
        return len(self.rows)  # type: ignore[arg-type]  # TypeError where the dataset does not know

    def __getitem__(self, key: Any) -> Any:
        with _random_numbers_of(self._seed, key):
            return self.rows[key]

    def __getitems__(self, keys: Sequence[Any]) -> Any:
        several = getattr(self.rows, "__getitems__", None)
        with _random_numbers_of(self._seed, next(iter(keys), 0)):
            return several(keys) if callable(several) else [self.rows[key] for key in keys]


@contextmanager
def _random_numbers_of(seed: int, key: Any) -> Iterator[None]:
    """PyTorch's, Python's and NumPy's random numbers on the host are those of this row; afterwards as before."""
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002 - datasets draw from it
    own = random.Random(f"{seed} {key}").getrandbits(32)
    torch.default_generator.manual_seed(own)
    random.seed(own)
    np.random.seed(own)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002


class Batches:
    """The batches of a DataLoader, one after the other, and from its first again after its last.

    Shuffled alike in every process, however many workers there are: samplers without a generator get one with the seed,
    and the loader one of its own, so that neither draws from what the model draws from. Nothing is read before the
    first `next`.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device, seed: int) -> None:
        self.loader = loader
        self._device, self._seed = device, seed
        self._iterator: Iterator[Any] | None = None
        inner = getattr(loader.batch_sampler, "sampler", None)
        for sampler in (loader.sampler, loader.batch_sampler, inner):
            if getattr(sampler, "generator", _NONE) is None:
                sampler.generator = torch.Generator("cpu").manual_seed(seed)  # type: ignore[union-attr]
        loader.generator = torch.Generator("cpu").manual_seed(seed)

    def next(self) -> Any:
        """The next batch, on the device; copies of a loader that pins do not wait. Raises UsageError for none at all.

        An epoch that ends here begins anew here: what that costs, such as starting workers, is this batch's.
        """
        batch = _NONE if self._iterator is None else next(self._iterator, _NONE)
        if batch is _NONE:
            self._iterator = None  # its workers end before others start
            self._iterator = iter(self.loader)
            batch = next(self._iterator, _NONE)
        if batch is _NONE:
            raise UsageError("--input: its DataLoader has no batch")
        return on_device(batch, self._device, non_blocking=self.loader.pin_memory)

    def load_here(self) -> None:
        """Let no worker read, but this process."""
        set_workers(self.loader, 0)

    def draw_alike(self) -> None:
        """From now on what rows draw by chance is the same however many workers there are. Nothing must be read yet.

        Batches are then the same in every process. Takes some 0.1 ms a batch. A dataset without numbered rows
        (IterableDataset) is left alone.
        """
        if not isinstance(self.loader.dataset, IterableDataset):
            vars(self.loader)["dataset"] = _Alike(self.loader.dataset, self._seed)  # as an attribute nobody may set it

    def close(self) -> None:
        """End its workers, which else wait for the interpreter's end, or notice seconds after it."""
        shut_down = getattr(self._iterator, "_shutdown_workers", None)  # one without workers has none
        if shut_down is not None:
            shut_down()
        self._iterator = self.loader._iterator = None
