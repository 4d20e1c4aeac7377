"""Changes of a model from outside, as `--apply` names them: each is a line that its owner could write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from perfkit.errors import UsageError
from perfkit.schema.parts.workloads import Applied

_IMAGES = 4
"""Dimensions of what has channels: batch, channels, height, width."""


def _channels_last(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """model.to(memory_format=torch.channels_last), and the images of the batch, too."""

    def moved(tensor: Tensor) -> Tensor:
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == _IMAGES else tensor

    return model.to(memory_format=torch.channels_last), tree_map_only(Tensor, moved, batch)  # type: ignore[call-overload]


def _float32(model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """model.float(), and what of the batch is in float64, too."""

    def single(tensor: Tensor) -> Tensor:
        return tensor.float() if tensor.dtype == torch.float64 else tensor

    return model.float(), tree_map_only(Tensor, single, batch)


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
    "sdpa": _sdpa,
}


def apply(names: Sequence[Applied], model: nn.Module, batch: Any) -> tuple[nn.Module, Any]:
    """The model and the batch after the changes. Raises UsageError where a model cannot be changed so."""
    for name in names:
        model, batch = CHANGES[name](model, batch)
    return model, batch
