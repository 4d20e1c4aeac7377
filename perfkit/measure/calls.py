"""The operators that a step calls, below autograd, as the profiler would have recorded them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from perfkit.schema.memory.calls import Operand, TracedCall

_CPP_NAMES = {
    torch.float16: "c10::Half", torch.bfloat16: "c10::BFloat16", torch.float32: "float", torch.float64: "double",
    torch.int8: "signed char", torch.uint8: "unsigned char", torch.int16: "short", torch.int32: "int",
    torch.int64: "long int", torch.bool: "bool", torch.complex64: "c10::complex<float>",
    torch.complex128: "c10::complex<double>",
}  # fmt: skip


class Calls(TorchDispatchMode):
    """Counts calls by operator, arguments and phase while it is entered, from the first `begin_phase` on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counted: Counter[TracedCall] = Counter()
        self._phase = ""

    def begin_phase(self, phase: str) -> None:
        """Note that a phase of the step begins."""
        self._phase = phase

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._phase:
            self.counted[self._call(func, args, kwargs or {})] += 1
        return func(*args, **(kwargs or {}))

    def _call(self, func: Any, args: Any, kwargs: Any) -> TracedCall:
        named = func._schema.arguments
        given = [
            args[place] if place < len(args) else kwargs.get(one.name, one.default_value)
            for place, one in enumerate(named)
        ]
        return TracedCall(
            self._phase,
            func._schema.name,
            tuple(_each(one, lambda tensor: tuple(tensor.shape)) for one in given),
            tuple(_CPP_NAMES.get(one.dtype, "") if isinstance(one, Tensor) else "" for one in given),
            tuple(_each(one, lambda tensor: tuple(tensor.stride())) for one in given),
            tuple(_text(one) for one in given),
        )


def _each(given: Any, of: Any) -> Operand:
    if isinstance(given, Tensor):
        return of(given)
    if isinstance(given, list | tuple) and given and all(isinstance(one, Tensor) for one in given):
        return tuple(of(one) for one in given)
    return ()


def _text(given: Any) -> str:
    if isinstance(given, bool | int | float):
        return str(given)
    if isinstance(given, list | tuple) and all(isinstance(one, bool | int | float) for one in given):
        return str(list(given))
    return ""
