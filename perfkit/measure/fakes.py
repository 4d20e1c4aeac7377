"""PyTorch's fake tensors, as an estimate needs them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode


@contextmanager
def fake_tensors(*, of_any_model: bool) -> Iterator[None]:
    """Tensors made meanwhile have shapes and no values; with `of_any_model` those of before may be used beside them.

    Modules can be converted (`model.to(torch.bfloat16)`, `.double()`). PyTorch swaps a fake parameter for a converted
    one (`torch.nn.Module._apply`), and refuses where somebody has a weak reference to it, as its own table of fake
    tensors has (seen with PyTorch 2.13): the table, which only saves conversions, is emptied before.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=of_any_model)
    known = mode.fake_tensor_converter.meta_converter.tensor_memo
    swap = torch.utils.swap_tensors

    def swapped(one: Tensor, other: Tensor) -> None:
        known.clear()
        swap(one, other)  # type: ignore[no-untyped-call]

    torch.utils.swap_tensors = swapped
    try:
        with mode:
            yield
    finally:
        torch.utils.swap_tensors = swap
