"""A model that a command line names: built by a callable of the user's, with a batch and a loss of another."""

from __future__ import annotations

import importlib
import inspect
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from perfkit.errors import UsageError
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own, arguments_of
from perfkit.workload import changes
from perfkit.workload.batches import Batches, on_device
from perfkit.workload.protocol import OnPhase
from perfkit.workload.step import StepWorkload, matmul_precision

Find = Callable[[str], Any]
"""Imports a module by its name."""


class StepFailsError(UsageError):
    """The caller's model, or its loss, fails on its batch; the cause says how."""


class BuiltWorkload(StepWorkload):
    """The module of `--model`, called with the batch of `--input`. Needs a resolved configuration.

    Both callables run once, after PyTorch, Python and NumPy are seeded, with the device as PyTorch's default; what they
    return is moved there. A batch is one argument, a tuple of arguments, or a dictionary of them. Where the input
    returns a pair whose second is callable, that is the loss, called with what the module returned; else the loss is
    what the module returned as `loss`, or the mean of the first tensor of numbers in it. Raises UsageError where a
    callable fails.

    Where the input returns a DataLoader, each step begins with its next batch, and a loss beside it is called with what
    the module returned and the target: the last of a batch of several, which the module is not given, or the batch.
    """

    def __init__(self, config: RunConfig, find: Find = importlib.import_module) -> None:
        own = config.workload
        assert isinstance(own, Own)
        assert own.model is not None
        assert own.input is not None
        device = torch.device(config.step.device)
        torch.set_float32_matmul_precision(matmul_precision(config))
        _seed(config.step.seed)
        with device:
            model = _called(find, "--model", own.model, arguments_of(own.model_arg))
        given, self._loss = _given(find, own, device)
        if not isinstance(model, nn.Module):
            raise UsageError(f"--model {own.model} returned {type(model).__name__}, not a torch.nn.Module")
        if config.step.pass_type == "train" and not any(True for _ in model.parameters()):
            raise UsageError(f"--model {own.model} has no parameters to train: use --pass-type forward")
        self._names = f"--model {own.model} with --input {own.input}"
        self.target: tuple[Any, ...] = ()
        """What the loss is called with beside what the model returned."""
        self._batches: Batches | None = None
        if isinstance(given, DataLoader):
            model, loader = changes.apply(own.apply, model, given)
            self._batches = Batches(loader, device, config.step.seed)
            self.has_loader, self.batch = True, None
        else:
            model, self.batch = changes.apply(own.apply, model, on_device(given, device))
        model.train(config.step.pass_type != "forward")
        super().__init__(config, model if _is_on(device, model) else model.to(device))

    @property
    def inputs(self) -> Any:
        """The batch."""
        return self.batch

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """The modules of its outermost lists (ModuleList). Raises UsageError where it has none."""
        found = list(_blocks(self.model))
        if not found:
            raise UsageError("--compile block: the model has no list of blocks (ModuleList): use --compile model")
        return found

    def step(self, on_phase: OnPhase) -> None:
        """Run one step. Raises StepFailsError, in one line, for whatever the caller's code raises in it."""
        try:
            super().step(on_phase)
        except (MemoryError, UsageError):
            raise
        except (Exception, SystemExit) as error:
            if _is_memory(error):
                raise
            raise StepFailsError(f"{self._names} fails in its step: {_line(error)} (--debug shows where)") from error

    def load(self) -> None:
        """Get the next batch of the loader. Raises StepFailsError, in one line, for whatever it raises."""
        assert self._batches is not None
        try:
            batch = self._batches.next()
        except (MemoryError, UsageError):
            raise
        except (Exception, SystemExit) as error:
            if _is_memory(error):
                raise
            raise StepFailsError(
                f"{self._names}: its DataLoader fails: {_line(error)} (--debug shows where)"
            ) from error
        if isinstance(batch, list):  # as torch's own collate makes of tuples, of one tensor, too
            batch = tuple(batch) if len(batch) > 1 else batch[0]
        if self._loss is not None and isinstance(batch, tuple) and len(batch) > 1:
            self.batch, self.target = batch[:-1], batch[-1:]
        else:
            self.batch, self.target = batch, (batch,)

    def load_here(self, device: str) -> None:
        """Get batches in this process, as an estimate must. Raises UsageError where what is read is elsewhere."""
        if self._batches is None:
            return
        if device != "cpu":
            raise UsageError(
                "--estimate for a GPU would count the host's data, too, and --input returned a DataLoader: return one"
                " batch, next(iter(loader))"
            )
        self._batches.load_here()

    def draw_alike(self) -> None:
        """Have rows of a loader draw the same random numbers however many workers read them."""
        if self._batches is not None:
            self._batches.draw_alike()

    def close(self) -> None:
        """End the loader's workers, if it has some."""
        if self._batches is not None:
            self._batches.close()

    def forward(self) -> Any:
        """Call the model with the batch."""
        if isinstance(self.batch, Mapping):
            return self.model(**self.batch)
        return self.model(*self.batch) if isinstance(self.batch, tuple) else self.model(self.batch)

    def loss(self, made: Any) -> Tensor:
        """The loss of the input, or of the model."""
        found = self._loss(made, *self.target) if self._loss is not None else _loss_in(made)
        if not isinstance(found, Tensor) or found.dim() or not found.requires_grad:
            what = (
                f"the loss is {type(found).__name__}" if not isinstance(found, Tensor) else "the loss has no gradient"
            )
            raise UsageError(f"{what}: return a number that depends on parameters, or use --pass-type forward")
        return found


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - a dataset may draw from it, and its random numbers are to be the same


def _given(find: Find, own: Own, device: torch.device) -> tuple[Any, Callable[..., Tensor] | None]:
    """What `--input` returns: a batch or a DataLoader, and the loss, if there is one.

    For a GPU the callable of a loader runs once more, on the CPU: what a loader reads is there, its loss is not.
    """
    assert own.input is not None
    with device:
        given, loss = _called(find, "--input", own.input, arguments_of(own.input_arg)), None
    if isinstance(given, tuple) and len(given) == 2 and callable(given[1]) and not isinstance(given[1], Tensor):
        given, loss = given
    if isinstance(given, DataLoader) and device.type != "cpu":
        given, _ = _given(find, own, torch.device("cpu"))
    return given, loss


def _is_on(device: torch.device, model: nn.Module) -> bool:
    """Whether nothing has to be moved: tensors without values, of an estimate, cannot be."""
    places = {one.device for one in (*model.parameters(), *model.buffers())}
    return all(place == device or (place.type == device.type and device.index is None) for place in places)


def check_arguments(named: Iterable[tuple[str, str, Mapping[str, Any]]], find: Find = importlib.import_module) -> None:
    """Raise UsageError, in one line, where a callable is not there or does not take such arguments; none is called.

    `named`: a flag, its callable (`package.module:callable`), and the arguments by name.
    """
    for what, spec, arguments in named:
        found = _found(find, what, spec)
        try:
            signature = inspect.signature(found)
        except (TypeError, ValueError):  # it says nothing of its arguments
            continue
        try:
            signature.bind(**arguments)
        except TypeError as error:
            takes = ", ".join(signature.parameters) or "no arguments"
            raise UsageError(f"{what} {spec}: {error}; it takes {takes}") from error


def _called(find: Find, what: str, spec: str, arguments: Mapping[str, Any]) -> Any:
    """What a callable returns. Raises UsageError, in one line, for whatever it raises."""
    found = _found(find, what, spec)
    with _told(what, spec):
        return found(**arguments)


def _found(find: Find, what: str, spec: str) -> Any:
    """The callable of a name. Raises UsageError, in one line, for whatever its module raises."""
    module, _, path = spec.partition(":")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - as Python itself has it
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    with _told(what, spec):
        found = find(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found


@contextmanager
def _told(what: str, spec: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, UsageError):
        raise
    except (Exception, SystemExit) as error:
        if _is_memory(error):
            raise
        said = _line(error) if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        raise UsageError(f"{what} {spec}: {said} (--debug shows where)") from error


def _is_memory(error: BaseException) -> bool:
    """Whether PyTorch says that memory ran out, in any of its words: that is a result, and no mistake."""
    words = ("memory", "Storage size calculation overflow", "ALLOC_FAILED", "bad_alloc")
    said = str(error)
    return isinstance(error, RuntimeError) and "DataLoader" not in said and any(word in said for word in words)


def _line(error: BaseException) -> str:
    """An error in one line; of a loader's worker the last of its lines, for the first says only which it was."""
    if isinstance(error, SystemExit):
        return f"it ends the run by sys.exit({', '.join(map(repr, error.args))})"
    lines = str(error).strip().splitlines() or [""]
    return lines[-1] if lines[0].startswith("Caught ") else f"{type(error).__name__}: {lines[0]}"


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
