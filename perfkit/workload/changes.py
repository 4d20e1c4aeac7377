"""Changes of a model from outside, as `--apply` names them: each is a line that its owner could write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.data import DataLoader, IterableDataset

from perfkit.errors import UsageError
from perfkit.schema.parts.workloads import Applied
from perfkit.workload.batches import set_workers

_IMAGES = 4
"""Dimensions of what has channels: batch, channels, height, width."""


def _channels_last(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """model.to(memory_format=torch.channels_last), and the images of the batch, too."""
    return model.to(memory_format=torch.channels_last), _each(_to_channels_last, batch)  # type: ignore[call-overload]


def _to_channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == _IMAGES else tensor


def _float32(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """model.float(), and what of the batch is in float64, too."""
    return model.float(), _each(_to_float32, batch)


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _each(change: Callable[[Tensor], Tensor], batch: Any) -> Any:
    """The batch with its tensors changed; of a DataLoader, each batch as it is collated, by a worker if it has some."""
    if not isinstance(batch, DataLoader):
        return tree_map_only(Tensor, change, batch)
    batch.collate_fn = partial(_collated, batch.collate_fn, change)
    return batch


def _collated(collate: Callable[[Any], Any], change: Callable[[Tensor], Tensor], samples: Any) -> Any:
    return tree_map_only(Tensor, change, collate(samples))


def _workers(count: int, model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """DataLoader(..., num_workers=count, persistent_workers=True); all else of it stays."""
    loader = _loader(batch, f"workers-{count}")
    if isinstance(loader.dataset, IterableDataset):
        raise UsageError(
            f"--apply workers-{count}: {type(loader.dataset).__name__} is an IterableDataset, of which every worker may"
            " read all: give it workers in your code"
        )
    set_workers(loader, count)
    return model, batch


def _pin_memory(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """DataLoader(..., pin_memory=True), and batch.to(device, non_blocking=True), which batches.py does for such."""
    loader = _loader(batch, "pin-memory")
    if not torch.cuda.is_available():
        raise UsageError("--apply pin-memory needs a GPU: without one nothing is copied")
    loader.pin_memory = True
    return model, batch


def _loader(batch: Any, change: str) -> DataLoader[Any]:
    if not isinstance(batch, DataLoader):
        raise UsageError(f"--apply {change}: --input returned one batch, which stays: return a DataLoader")
    return batch


def _no_anomaly(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """torch.autograd.set_detect_anomaly(False)."""
    torch.autograd.set_detect_anomaly(False)
    return model, batch


def _no_checkpointing(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """model.gradient_checkpointing_disable(), of transformers."""
    _method(model, "gradient_checkpointing_disable", "no-checkpointing")()
    return model, batch


def _sdpa(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """model.set_attn_implementation("sdpa"), of transformers."""
    _method(model, "set_attn_implementation", "sdpa")("sdpa")
    return model, batch


def _method(model: nn.Module, name: str, change: str) -> Callable[..., Any]:
    found = getattr(model, name, None)
    if not callable(found):
        raise UsageError(f"--apply {change}: {type(model).__name__} has no {name}(): change it in your code")
    method: Callable[..., Any] = found
    return method


CHANGES: dict[Applied, Callable[[nn.Module, Any], tuple[nn.Module, Any]]] = {
    "channels-last": _channels_last,
    "float32": _float32,
    "no-anomaly": _no_anomaly,
    "no-checkpointing": _no_checkpointing,
    "pin-memory": _pin_memory,
    "sdpa": _sdpa,
    "workers-2": partial(_workers, 2),
    "workers-4": partial(_workers, 4),
    "workers-8": partial(_workers, 8),
}


def apply(names: Sequence[Applied], model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """The model and the batch, or the DataLoader, after the changes. Raises UsageError where they cannot be made."""
    for name in names:
        model, batch = CHANGES[name](model, batch)
    return model, batch
