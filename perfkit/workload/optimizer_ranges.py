"""Ranges in optimizers: round each step, and in a step that goes from parameter to parameter, round each update.

torch.profiler has a range of its own round a step, `Optimizer.step#...`; NVTX has none, so a hook that PyTorch runs
before and after every step opens perfkit's phase `optimizer`. Which parameter is updated, no recording says: PyTorch's
foreach and fused implementations update many parameters in one kernel, and a loop over them has no hook. So the
loops, PyTorch's `_single_tensor_...` functions, get their list of parameters with ranges in it: the turn of
each parameter, from the moment the loop takes it to the moment it takes the next, is inside the range.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.weak import WeakIdKeyDictionary

from perfkit.schema import range_names
from perfkit.workload.ranges import Range, innermost

Find = Callable[[Tensor], Range | None]
"""The range of a parameter's update; None for a parameter of no annotated model."""

_LOOP = "_single_tensor_"
_STEP = range_names.phase("optimizer")


def install(update_of: Find) -> Callable[[], None]:
    """Put ranges in the steps of every optimizer of the process, and return what removes them."""
    steps: Any = WeakIdKeyDictionary()

    def before(optimizer: Optimizer, *_: Any) -> None:
        if torch.compiler.is_compiling():
            return
        own = steps.setdefault(optimizer, Range(_STEP))  # by identity: a class of optimizers may have no hash
        # Open already: the workload's own phase, an optimizer in an optimizer, or a step that raised.
        if innermost(lambda owner: owner.text == own.text) is None:
            own.open()

    def after(optimizer: Optimizer, *_: Any) -> None:
        if own := steps.get(optimizer):
            own.close()

    undo = [register_optimizer_step_pre_hook(before).remove, register_optimizer_step_post_hook(after).remove]
    undo += [_replace(module, name, update_of) for module, name in _loops()]

    def remove() -> None:
        for each in undo:
            each()
        for own in steps.values():
            own.close()

    return remove


def _loops() -> list[tuple[Any, str]]:
    modules = [module for name, module in sys.modules.items() if name.startswith("torch.optim.")]
    return [(module, name) for module in modules for name in vars(module) if name.startswith(_LOOP)]


def _replace(module: Any, name: str, update_of: Find) -> Callable[[], None]:
    loop = getattr(module, name)

    @functools.wraps(loop)
    def ranged(params: list[Tensor], *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return loop(params, *args, **kwargs)
        return loop(_InTurn(params, update_of), *args, **kwargs)

    def undo() -> None:
        if getattr(module, name) is ranged:
            setattr(module, name, loop)

    setattr(module, name, ranged)
    return undo


class _InTurn(list[Tensor]):
    """Parameters; iterating over them keeps each one's range open until the next is taken."""

    def __init__(self, parameters: list[Tensor], update_of: Find) -> None:
        super().__init__(parameters)
        self._update_of = update_of

    def __iter__(self) -> Iterator[Tensor]:
        for parameter in super().__iter__():
            update = self._update_of(parameter)
            if update is None:
                yield parameter
                continue
            update.open()
            try:
                yield parameter
            finally:
                update.close()
