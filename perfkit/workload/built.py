"""A model that a command line names: built by a callable of the user's, with a batch and a loss of another."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.workload.step import StepWorkload, matmul_precision

Find = Callable[[str], Any]
"""Imports a module by its name."""


class BuiltWorkload(StepWorkload):
    """The module of `--model`, called with the batch of `--input`. Needs a resolved configuration.

    Both callables run once, after `torch.manual_seed`, with the device as PyTorch's default; what they return is moved
    there. A batch is one argument, a tuple of arguments, or a dictionary of them. Where the input returns a pair whose
    second is callable, that is the loss, called with what the module returned; else the loss is what the module
    returned as `loss`, or the mean of the first tensor of numbers in it. Raises UsageError where a callable fails.
    """

    def __init__(self, config: RunConfig, find: Find = importlib.import_module) -> None:
        own = config.workload
        assert isinstance(own, Own)
        assert own.model is not None
        assert own.input is not None
        device = torch.device(config.step.device)
        torch.set_float32_matmul_precision(matmul_precision(config))
        torch.manual_seed(config.step.seed)
        arguments = dict(_argument(text) for text in own.model_arg)
        with device:
            model = _called(find, "--model", own.model, arguments)
            given = _called(find, "--input", own.input, {})
        if not isinstance(model, nn.Module):
            raise UsageError(f"--model {own.model} returned {type(model).__name__}, not a torch.nn.Module")
        self._loss: Callable[[Any], Tensor] | None = None
        if isinstance(given, tuple) and len(given) == 2 and callable(given[1]) and not isinstance(given[1], Tensor):
            given, self._loss = given
        self.batch = tree_map_only(Tensor, lambda tensor: tensor.to(device), given)
        model.train(config.step.pass_type != "forward")
        super().__init__(config, model.to(device))

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """The modules of its outermost lists (ModuleList). Raises UsageError where it has none."""
        found = list(_blocks(self.model))
        if not found:
            raise UsageError("--compile block: the model has no list of blocks (ModuleList): use --compile model")
        return found

    def forward(self) -> Any:
        """Call the model with the batch."""
        if isinstance(self.batch, Mapping):
            return self.model(**self.batch)
        return self.model(*self.batch) if isinstance(self.batch, tuple) else self.model(self.batch)

    def loss(self, made: Any) -> Tensor:
        """The loss of the input, or of the model."""
        found = self._loss(made) if self._loss is not None else _loss_in(made)
        if not isinstance(found, Tensor) or found.dim() or not found.requires_grad:
            what = (
                f"the loss is {type(found).__name__}" if not isinstance(found, Tensor) else "the loss has no gradient"
            )
            raise UsageError(f"{what}: return a number that depends on parameters, or use --pass-type forward")
        return found


def _called(find: Find, what: str, spec: str, arguments: Mapping[str, Any]) -> Any:
    """What a callable returns. Raises UsageError, in one line, for whatever it raises."""
    module, _, path = spec.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - as Python itself has it
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        found = find(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found(**arguments)
    except (MemoryError, UsageError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and "memory" in str(error):
            raise
        raise UsageError(f"{what} {spec}: {type(error).__name__}: {error} (--debug shows where)") from error


def _argument(text: str) -> tuple[str, Any]:
    """`hidden=512` as a name and a value: a Python literal where it is one, else a text."""
    name, _, value = text.partition("=")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def _loss_in(made: Any) -> Any:
    """The `loss` of an output, or the mean of the first tensor of numbers in it."""
    named = made.get("loss") if isinstance(made, Mapping) else getattr(made, "loss", None)
    if isinstance(named, Tensor):
        return named
    first = next((one for one in _tensors(made) if one.is_floating_point()), None)
    return None if first is None else first.float().mean()


def _tensors(made: Any) -> Iterator[Tensor]:
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, Mapping):
        for one in made.values():
            yield from _tensors(one)
    elif isinstance(made, list | tuple):
        for one in made:
            yield from _tensors(one)
    elif hasattr(made, "__dataclass_fields__"):
        yield from _tensors([getattr(made, name) for name in made.__dataclass_fields__])
