"""The phases of a step that nobody announces, found by the hooks that PyTorch has.

    data       from the step's begin until the first phase, or until a DataLoader has given its batch; and any later
               call of a DataLoader's iterator
    forward    the outermost call of the model, or of a part of it that is called alone
    loss       between the end of a forward and the backward that follows it, but for zero_grad there
    backward   the call that runs autograd's engine, and all that runs in it: a checkpoint's second forward too
    optimizer  `step` of a torch.optim.Optimizer
    zero_grad  its `zero_grad`
    (nothing)  all else

A name that the user gives counts instead of what is found inside. Where phases are inside each other (a closure in an
optimizer, a gradient inside a forward) time goes to the inner one; a closure is none of the optimizer's time from its
forward or zero_grad to its backward. Only the thread that installed them has phases.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data.dataloader import _BaseDataLoaderIter

from perfkit.schema import range_names
from perfkit.workload.annotate import enclose
from perfkit.workload.ranges import Range

OUTSIDE = ""
"""Of time that belongs to no phase."""
_ANY = ("data", "zero_grad", "forward", "backward", "optimizer")
_HIDES = {"data": _ANY, "zero_grad": ("data", "zero_grad", "forward", "backward"), "backward": ("backward",),
          "forward": ("forward", "backward"), "optimizer": ("optimizer",)}  # fmt: skip
"""A phase that is found -> those inside of which it is not."""


@dataclass(slots=True)
class _Open:
    name: str
    by_user: bool
    shown: Range | None
    owner: object = None
    """The hooks of the module whose call it is, or the optimizer whose step it is."""
    depth: int = 1
    """How often that module is inside itself."""


class _Calls:
    """Hooks of one module, which its copies share; a pickle has hooks that do nothing.

    A copy may be kept for long (the best model so far): it keeps nothing of the profile alive.
    """

    def __init__(self, phases: FoundPhases | None = None) -> None:
        self._phases = weakref.ref(phases) if phases else lambda: None

    def begin(self, *_: Any) -> None:
        """Hook before the module's forward."""
        if not torch.compiler.is_compiling() and (phases := self._phases()):
            phases.enter(self)

    def end(self, *_: Any) -> None:
        """Hook after it."""
        if not torch.compiler.is_compiling() and (phases := self._phases()):
            phases.leave(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Calls:
        return self

    def __reduce__(self) -> tuple[type[_Calls], tuple[()]]:
        return _Calls, ()


class FoundPhases:
    """Tells `stamp` of each phase as it begins, and `was_loss` if what is since the last forward turns out to be loss.

    `ranged`: phases have ranges in the recording, too; an optimizer's is annotate's. `first`: what a step does before
    anything is found. `between` is called before a phase that is in no other; it may end the step, begin one, or end
    everything.
    """

    def __init__(
        self, stamp: Callable[[str], None], was_loss: Callable[[], None],
        *, ranged: bool, first: str = "data", between: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._stamp, self._was_loss, self._ranged = stamp, was_loss, ranged
        self._first, self._between = first, between
        self.closed = False
        """True once nothing is to be found any more, though a hook may still be called."""
        self._between_steps = True
        self._thread = threading.get_ident()
        self._stack: list[_Open] = []
        self._ranges: dict[str, Range] = {}
        self._data: Range | None = None
        self._after_forward = False
        self.optimizers: list[torch.optim.Optimizer] = []
        """Those whose step was seen, in order."""

    def begin_step(self) -> None:
        """A step begins: until something else is found, what it does is to get its data."""
        self.end_step()
        self._between_steps = False
        self._data = self._range(self._first) if self._first else None
        self._stamp(self._first)

    def end_step(self) -> None:
        """Close what is open, as an exception leaves it."""
        self._fetched()
        while self._stack:
            self._pop()
        self._after_forward = False
        self._between_steps = True

    def open(self, name: str, *, by_user: bool = False) -> _Open | None:
        """Begin a phase; None where it is none: inside another that hides it, between steps, or on another thread."""
        if self.closed or threading.get_ident() != self._thread or not (by_user or self._is_seen(name)):
            return None
        if not self._stack and self._is_outside():
            return None
        if name == "backward" and self._after_forward:
            self._was_loss()
        self._fetched()
        self._after_forward = self._after_forward and name == "zero_grad"
        entry = _Open(name, by_user, None if name == "optimizer" else self._range(name))
        self._stack.append(entry)
        self._stamp(name)
        return entry

    def close(self, entry: _Open | None) -> None:
        """End a phase, and those inside it that are still open; nothing where it has ended."""
        if entry is None or entry not in self._stack:
            return
        while self._pop() is not entry:
            pass
        in_closure = not entry.by_user and entry.name in ("forward", "zero_grad") and self._is_optimizing()
        self._stamp(self._stack[-1].name if self._stack and not in_closure else OUTSIDE)
        ended_forward = entry.name == "forward" and not entry.by_user and (not self._stack or in_closure)
        self._after_forward = ended_forward or (self._after_forward and entry.name == "zero_grad")

    @contextmanager
    def named(self, name: str) -> Iterator[None]:
        """The body is the user's phase of this name."""
        entry = self.open(name, by_user=True)
        try:
            yield
        finally:
            self.close(entry)

    def install(self, model: nn.Module) -> list[Callable[[], None]]:
        """Find phases from now on; returns what undoes it, to be called the last first."""
        undo: list[Callable[[], None]] = []
        for module in _outermost(model):
            calls = _Calls(self)
            undo += enclose(module, calls.begin, calls.end)
        undo += [
            register_optimizer_step_pre_hook(self._before_optimizer).remove,
            register_optimizer_step_post_hook(self._after_optimizer).remove,
            wrapped(torch.autograd, "_engine_run_backward", functools.partial(self._call, "backward")),
            wrapped(torch.optim.Optimizer, "zero_grad", functools.partial(self._call, "zero_grad")),
            wrapped(_BaseDataLoaderIter, "__next__", functools.partial(self._call, "data")),
        ]
        return undo

    def _is_outside(self) -> bool:
        """Tell whoever waits for it that something begins, and say whether it is in no step."""
        self._between()
        return self.closed or self._between_steps

    def _is_optimizing(self) -> bool:
        return bool(self._stack) and self._stack[-1].name == "optimizer" and not self._stack[-1].by_user

    def _is_seen(self, name: str) -> bool:
        hidden = _HIDES.get(name, ())
        return not any(entry.by_user or entry.name in hidden for entry in self._stack)

    def _range(self, name: str) -> Range | None:
        if not self._ranged:
            return None
        shown = self._ranges.setdefault(name, Range(range_names.phase(name)))
        if not shown.is_open():
            shown.open()
            return shown
        return None

    def _fetched(self) -> None:
        if self._data is not None:
            self._data.close()
            self._data = None

    def _pop(self) -> _Open:
        entry = self._stack.pop()
        if entry.shown is not None:
            entry.shown.close()
        return entry

    def enter(self, calls: _Calls) -> None:
        """A module, or a copy of it, is called."""
        if own := self._of(calls):
            own.depth += 1
        elif entry := self.open("forward"):
            entry.owner = calls

    def leave(self, calls: _Calls) -> None:
        """Its call is over."""
        if own := self._of(calls):
            own.depth -= 1
            if not own.depth:
                self.close(own)

    def _of(self, calls: _Calls) -> _Open | None:
        return next((entry for entry in self._stack if entry.owner is calls), None)

    def _before_optimizer(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if entry := self.open("optimizer"):
            entry.owner = optimizer
            if all(optimizer is not known for known in self.optimizers):
                self.optimizers.append(optimizer)

    def _after_optimizer(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if not torch.compiler.is_compiling():
            self.close(next((entry for entry in self._stack if entry.owner is optimizer), None))

    def _call(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return function(*args, **kwargs)
        entry = self.open(name)
        try:
            return function(*args, **kwargs)
        finally:
            self.close(entry)


def _outermost(model: nn.Module) -> Iterator[nn.Module]:
    """The model and the parts right under it, through lists of modules: whichever is called first is the outermost."""
    if not isinstance(model, nn.ModuleList | nn.ModuleDict):
        yield model
    for child in model.children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _outermost(child)
        else:
            yield child


def wrapped(holder: Any, name: str, call: Callable[..., Any]) -> Callable[[], None]:
    """Put `call(original, ...)` in place of a function of a module or class; returns what puts it back."""
    original = getattr(holder, name)

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return call(original, *args, **kwargs)

    def undo() -> None:
        if getattr(holder, name) is wrapper:
            setattr(holder, name, original)

    setattr(holder, name, wrapper)
    return undo
