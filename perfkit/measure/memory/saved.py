"""What a step keeps for backward, by PyTorch's saved-tensor hooks: exact, without a recording.

Autograd calls the hook as it saves a tensor, while the module's forward runs: that gives the module. It does not say
for which operation. But the operation's node was made just before, and has the latest sequence number of this thread;
its name is found later, when backward is called with the graph.

Under a checkpoint only what it keeps itself comes here: the inputs of its function. It keeps them just before the
first module of that function runs, and they go by that module.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.autograd.graph import Node, saved_tensors_hooks
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from perfkit.measure.memory import inventory
from perfkit.schema.memory.notes import SavedOperation
from perfkit.workload import annotate
from perfkit.workload.protocol import Workload

CHECKPOINT = "checkpoint"
"""In place of an operation: torch.utils.checkpoint keeps it, to compute its function again."""
_UNKNOWN = "unknown"
_LAST = 2**63
"""A sequence number greater than all others; AccumulateGrad nodes have one."""


def saved_by(workload: Workload, device: str) -> tuple[SavedOperation, ...]:
    """Run one step, and return what its forward and loss keep for backward: each storage once, in order.

    What lives before the step is left out: parameters, buffers, the batch. What no module's forward keeps goes by
    the phase (`loss`).
    """
    lived = {held.address for held in inventory.held(workload, device) if held.kind in _LIVE_ON}
    hooks = _Hooks(lived, {module: inventory.plain(name) for name, module in workload.model.named_modules()})
    entering = register_module_forward_pre_hook(hooks.enter)
    try:
        with workload.annotate(gradients=False, backward=False), saved_tensors_hooks(hooks.pack, _unpack), hooks.graph:
            workload.step(hooks.begin)
    finally:
        entering.remove()
    return tuple(hooks.named())


_LIVE_ON = ("parameters", "batch and constants")
"""Gradients do not: what backward needs may come to lie where they did."""


def _unpack(tensor: Tensor) -> Tensor:
    return tensor


class _Graph(TorchFunctionMode):
    """Notes the names of the nodes that each call of `backward` starts from."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[int, str] = {}
        """Sequence number -> name."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.backward and args[0].grad_fn is not None:
            self._note(args[0].grad_fn)
        return func(*args, **(kwargs or {}))

    def _note(self, root: Node) -> None:
        seen, waiting = {root}, [root]
        while waiting:
            node = waiting.pop()
            number = node._sequence_nr()
            if number < _LAST:
                self.names[number] = node.name()
            fresh = {following for following, _ in node.next_functions if following is not None} - seen
            seen |= fresh
            waiting += fresh


class _Hooks:
    """What was saved so far."""

    def __init__(self, lived: set[int], modules: dict[nn.Module, str]) -> None:
        self.graph = _Graph()
        self._seen, self._modules = lived, modules
        self._phase = ""
        self._rows: list[tuple[int, SavedOperation]] = []
        """(sequence number of the node, what it keeps)."""

    def begin(self, phase: str) -> None:
        """A phase of the step begins."""
        self._phase = phase

    def enter(self, module: nn.Module, _: object) -> None:
        """A module's forward begins: what a checkpoint kept since the last is its input."""
        for place in range(len(self._rows) - 1, -1, -1):
            number, kept = self._rows[place]
            if kept.operation != CHECKPOINT or kept.scope:
                break
            self._rows[place] = number, replace(kept, scope=self._modules.get(module, ""))

    def pack(self, tensor: Tensor) -> Tensor:
        """Note a tensor that autograd saves, where its storage is new."""
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if size and address not in self._seen:
            self._seen.add(address)
            by_checkpoint = sys._getframe(1).f_globals.get("__name__") == torch.utils.checkpoint.__name__
            kept = SavedOperation(
                scope="" if by_checkpoint else annotate.running() or self._phase,
                operation=CHECKPOINT if by_checkpoint else _UNKNOWN,
                shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."),
                size=size,
                address=address,
            )
            self._rows.append((torch._C._autograd._get_sequence_nr() - 1, kept))
        return tensor

    def named(self) -> list[SavedOperation]:
        """What was saved, with the names of the operations."""
        names = self.graph.names
        return [
            kept if kept.operation == CHECKPOINT else replace(kept, operation=names.get(number, _UNKNOWN))
            for number, kept in self._rows
        ]
