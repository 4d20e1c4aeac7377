"""Writes down, while a model runs, which module makes which backward node. Knows no time and none of perfkit's rules.

A backward node carries the number that its thread's counter had when it was made. The witness reads that counter
whenever a module begins or ends: the node with number s was made by whatever was running after the last change
at or before s.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.profiler import record_function
from torch.utils._pytree import tree_leaves

Naming = Literal["perfkit", "module", "annotation"]
"""Whose names the expected paths are in: perfkit's ranges, torch's own module frames, or plain ranges of the user's."""

RANGE = "truth::"
THREAD = "truth.thread::"
GRADIENT = "truth.grad::"
_fast_range: Any = torch._C._profiler._RecordFunctionFast


def read_range(name: str) -> tuple[str | None, str] | None:
    """(path, phase) that a range of the witness's claims for the operations inside it, if it claims anything."""
    path, phase = name.removeprefix(RANGE).rsplit("::", 1)
    return None if (path, phase) == ("", "forward") else (path or None, phase)


class _OnThread(threading.local):
    """One thread's number, its log of (counter, path from then on), and what is running on it, innermost last."""

    def __init__(self, witness: Witness) -> None:
        self.log: list[tuple[int, str | None]] = [(0, None)]
        self.running: list[tuple[str | None, Any]] = []
        self.number = witness.add_log(self.log)

    @property
    def path(self) -> str | None:
        return self.running[-1][0] if self.running else None

    def note(self, path: str | None) -> None:
        self.log.append((torch._C._autograd._get_sequence_nr(), path))


class Witness:
    """Sees every module's forward begin and end; also puts its word into the trace, as ranges named `truth...`."""

    def __init__(self, naming: Naming = "perfkit") -> None:
        self.naming = naming
        self.calls: dict[tuple[str | None, str], int] = defaultdict(int)
        """(path, phase) -> times it ran."""
        self._logs: list[list[tuple[int, str | None]]] = []
        self._here = _OnThread(self)
        self._classes: dict[str, list[nn.Module]] = defaultdict(list)
        self._owner: dict[nn.Module, str | None] = {}
        self._parameters: dict[nn.Parameter, str] = {}

    def add_log(self, log: list[tuple[int, str | None]]) -> int:
        """Number of a new thread's log."""
        self._logs.append(log)
        return len(self._logs) - 1

    # -- what it sees ----------------------------------------------------------------------------------

    def watch(self, model: nn.Module, *, whole: tuple[type[nn.Module], ...] = ()) -> None:
        """Follow every module of `model`. Modules of the classes `whole` are left alone, with all they hold.

        Call it before perfkit annotates, so that the witness's ranges are inside perfkit's.
        """
        around: dict[str, str] = {}
        for name, module in model.named_modules():
            label = name or type(model).__name__
            inside = around.get(name.rpartition(".")[0]) or (label if isinstance(module, whole) else None)
            if inside:
                around[name] = inside
            else:
                self._hook(module, label)
            for parameter in module.parameters(recurse=False):
                self._parameters.setdefault(parameter, inside or label)  # tied: the first owner has it
                self._follow_gradient(parameter, module, inside or label)

    def _hook(self, module: nn.Module, name: str) -> None:
        def before(called: nn.Module, *_: Any) -> None:
            again = torch._C._current_graph_task_id() >= 0
            if again and not (self.naming == "annotation" and self._here.path):
                self._begin(self._owner[called])  # as it was in forward
            elif self.naming == "annotation":
                self._begin(self._owner.setdefault(called, self._here.path) if not again else self._here.path)
            else:
                path = name if self.naming == "perfkit" else self._by_class(called)
                self._owner.setdefault(called, path)
                self._begin(path)

        module.register_forward_pre_hook(before, prepend=True)
        module.register_forward_hook(lambda *_: self._end(), always_call=True)

    def _by_class(self, module: nn.Module) -> str:
        """As torch.profiler names module frames: the class, and the order of first calls among its objects."""
        same = self._classes[type(module).__name__]
        if module not in same:
            same.append(module)
        own = f"{type(module).__name__}_{same.index(module)}"
        return f"{self._here.path}/{own}" if self._here.path else own

    def _follow_gradient(self, parameter: nn.Parameter, module: nn.Module, name: str) -> None:
        """Say inside each gradient accumulation whose parameter it is."""
        if not parameter.requires_grad or hasattr(parameter, "followed"):
            return
        parameter.followed = True  # type: ignore[attr-defined]  # tied: the first owner in named_modules() has it

        def after(_: torch.Tensor) -> None:
            owner = self._owner.get(module) if self.naming != "perfkit" else name
            with _fast_range(GRADIENT + (owner or "")):
                pass

        parameter.register_post_accumulate_grad_hook(after)

    @contextmanager
    def scope(self, name: str, phase: str | None = None) -> Iterator[None]:
        """Something runs that is no hooked module. In the user's own naming it is a range of his, and nests."""
        own = record_function(name) if self.naming == "annotation" else nullcontext()
        joined = self.naming == "annotation" and self._here.path
        with own:
            self._begin(f"{self._here.path}/{name}" if joined else name, phase)
            try:
                yield
            finally:
                self._end()

    def _begin(self, path: str | None, phase: str | None = None) -> None:
        here = self._here
        phase = phase or ("forward" if torch._C._current_graph_task_id() < 0 else "recompute")
        self.calls[path, phase] += 1
        opened = _fast_range(f"{RANGE}{path or ''}::{phase}")
        opened.__enter__()
        here.running.append((path, opened))
        here.note(path)

    def _end(self) -> None:
        here = self._here
        _, opened = here.running.pop()
        opened.__exit__(None, None, None)
        here.note(here.path)

    def sign_thread(self) -> None:
        """Leave a range on the running thread that says whose log is its own."""
        with _fast_range(f"{THREAD}{self._here.number}"):
            pass

    @contextmanager
    def nodes_make_nodes(self, root: torch.Tensor) -> Iterator[None]:
        """Backward that is itself recorded: what a node's own run makes belongs to that node's module.

        Including what the engine adds up after it: a node counts as running until the next one begins.
        """
        waiting, met = [root.grad_fn], set()
        removes = []
        while waiting:
            node = waiting.pop()
            if node is None or node in met:
                continue
            met.add(node)
            waiting += [following for following, _ in node.next_functions]
            if node.name() != "torch::autograd::AccumulateGrad":
                path = self.maker(self._here.number, node._sequence_nr())
                removes.append(node.register_prehook(lambda _, path=path: self._here.note(path)))
        yield
        self._here.note(self._here.path)
        for remove in removes:
            remove.remove()

    @contextmanager
    def updates(self, optimizer: torch.optim.Optimizer, *, one_by_one: bool) -> Iterator[None]:
        """An optimizer's step: each operation is for the module whose parameter, gradient or state it was given, or
        something made of them. Where it does not go from parameter to parameter, and where perfkit puts no ranges, all
        of it is the optimizer's own. The witness looks at what every operation is called with, and so needs no
        knowledge of how the optimizer goes about it.
        """
        self._begin("optimizer", "optimizer")
        try:
            with _Updates(self._owners(optimizer) if one_by_one and self.naming == "perfkit" else {}):
                yield
        finally:
            self._end()

    def _owners(self, optimizer: torch.optim.Optimizer) -> dict[int, str]:
        """id of each parameter, its gradient and its states -> path of its module."""
        owners: dict[int, str] = {}
        for parameter, path in self._parameters.items():
            tensors = [parameter, parameter.grad, *optimizer.state.get(parameter, {}).values()]
            owners |= {id(tensor): path for tensor in tensors if tensor is not None}
        return owners

    # -- what it says ----------------------------------------------------------------------------------

    def maker(self, thread: int, sequence: int) -> str | None:
        """Path of what made the node of that number on that thread; None outside everything."""
        log = self._logs[thread]
        return log[bisect_right(log, sequence, key=lambda change: change[0]) - 1][1]


class _Updates(TorchFunctionMode):
    """Puts each call that knows one owner inside a range that says so."""

    def __init__(self, owners: dict[int, str]) -> None:
        super().__init__()
        self._owners = owners
        self._made: list[Any] = []
        """What calls returned, kept so that no later tensor has its id."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_leaves((args, kwargs or {}))
        owners = {self._owners[id(tensor)] for tensor in given if id(tensor) in self._owners}
        owner = owners.pop() if len(owners) == 1 else None
        with _fast_range(f"{RANGE}{owner}::optimizer") if owner else nullcontext():
            made = func(*args, **(kwargs or {}))
        if owner and isinstance(made, torch.Tensor):
            self._owners[id(made)] = owner
            self._made.append(made)
        return made
