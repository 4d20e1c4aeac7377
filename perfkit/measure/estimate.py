"""The peak memory of a step that never runs: the real model and the real step, on fake tensors.

FakeTensorMode computes shapes and no values, so that any size is followed in seconds and without memory. Under it a
dispatch mode sees every storage that comes into being, and a weak reference tells when it goes: the allocator's
history without an allocator. The fakes are CPU tensors whatever the device asked for: a fake CUDA tensor ends the
process of a PyTorch that was built without CUDA. What CUDA does differently is imitated where it is known (`_twin`).

Not seen: what a kernel allocates inside itself, and everything an allocator adds (rounding, fragmentation).
"""

from __future__ import annotations

import bisect
import weakref
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from perfkit.errors import UsageError
from perfkit.measure import memory_limit
from perfkit.schema import memory_estimate
from perfkit.schema.config import RunConfig
from perfkit.schema.memory_estimate import MemoryEstimate
from perfkit.workload import step
from perfkit.workload.model import AttentionSoftmax
from perfkit.workload.step import TransformerWorkload

_LAST = 2**63
"""A sequence number after every other: AccumulateGrad nodes have one."""


def estimate(
    config: RunConfig, build: Callable[[RunConfig], TransformerWorkload] = TransformerWorkload
) -> MemoryEstimate:
    """Follow one steady step of a resolved configuration. Allocates nothing to speak of; takes seconds.

    Raises UsageError where a tensor has more bytes than PyTorch can count.
    """
    try:
        return _traced(config, build)
    except RuntimeError as error:
        if not memory_limit.is_out_of_memory(error):
            raise
        raise UsageError("a tensor of this step needs more than 2^63 bytes: choose smaller sizes") from error


def _traced(config: RunConfig, build: Callable[[RunConfig], TransformerWorkload]) -> MemoryEstimate:
    history = _History()
    with FakeTensorMode(), history:
        workload = build(_twin(config))
        history.know(workload)
        _name_scopes(workload.model, history)
        if config.step.device != "cpu" and config.step.precision in ("bf16", "fp16"):
            _widen_softmax(workload.model)
        _make_state(workload)
        history.begin_step()
        workload.step(history.begin_phase)
        history.end_step(workload)
    return history.summary()


def choose_device(wanted: str, cuda: Any = torch.cuda) -> str:
    """The device to estimate for: a GPU that is asked for need not be here."""
    return step.choose_device(wanted, cuda) if wanted == "auto" or cuda.is_available() else wanted


def available(device: str, cuda: Any = torch.cuda, free: Callable[[str], int] = memory_limit.available) -> int | None:
    """Bytes free on a device; None where it is a GPU and there is none."""
    if device != "cpu" and not cuda.is_available():
        return None
    return free(device)


def _twin(config: RunConfig) -> RunConfig:
    """The configuration whose step on a CPU holds what `config` holds on its device.

    tf32 changes no tensor. Of the fused attention kernels the CPU has flash and math; efficient and cudnn save what
    flash saves: q, k, v, the output and one fp32 number a row. On CUDA PyTorch's own AdamW is the foreach one
    (`torch.optim.optimizer._default_to_fused_or_foreach`).
    """
    if config.step.device == "cpu":
        return config.changed(compile="off", num_threads=None)
    changes: dict[str, Any] = {"device": "cpu", "compile": "off", "num_threads": None}
    if config.step.precision == "tf32":
        changes["precision"] = "fp32"
    if config.transformer.sdpa_backend in ("efficient", "cudnn"):
        changes["sdpa_backend"] = "auto"
    if config.step.optimizer == "adamw" and config.step.pass_type == "train":
        changes["optimizer"] = "adamw-foreach"
    return config.changed(**changes)


def _widen_softmax(model: nn.Module) -> None:
    """On CUDA autocast computes softmax in fp32; on a CPU it does not."""
    for module in model.modules():
        if isinstance(module, AttentionSoftmax):
            module.register_forward_pre_hook(lambda _, arguments: (arguments[0].float(),))


def _make_state(workload: TransformerWorkload) -> None:
    """One optimizer step on gradients of no value, so that the step that is followed finds Adam's state."""
    if workload.optimizer is None:
        return
    for parameter in workload.model.parameters():
        parameter.grad = torch.empty_like(parameter)
    workload.optimizer.step()
    workload.optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True, slots=True)
class _Storage:
    """One storage that lived: its bytes, and where it was made."""

    size: int
    phase: str
    """Phase of the step; empty before the step."""
    scope: str
    """Module whose forward or backward made it."""
    in_forward: bool
    """False for what backward computes; True also for what a checkpoint computes again."""
    weight_copy: bool
    """Autocast's copy of a parameter."""


class _History(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Every storage that came and went, in order."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.storages: list[_Storage] = []
        self.timeline: list[tuple[int, int]] = []
        """(index of the storage, bytes it added or took away), in order."""
        self._live: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}
        self._phase = ""
        self._scopes = [""]
        self._marks: list[tuple[int, str]] = [(-1, "")]
        """From which autograd sequence number on which module's forward made the nodes."""
        self._owner: dict[int, str] = {}
        self._counts: set[int] = set()
        self._workload: TransformerWorkload | None = None
        self._from = 0
        self._optimizer_from: int | None = None
        self._parameters: set[int] = set()
        self._gradients: set[int] = set()
        self._state: set[int] = set()

    def know(self, workload: TransformerWorkload) -> None:
        """Learn which storages are parameters."""
        self._workload = workload
        self._parameters = {self.index(parameter) for parameter in workload.model.parameters()}

    def index(self, tensor: Tensor) -> int:
        """Which storage a live tensor has."""
        return self._live[tensor.untyped_storage()._cdata][0]

    def begin_step(self) -> None:
        """What exists now was there before; the history proper begins."""
        self._from = len(self.timeline)
        assert self._workload is not None
        if self._workload.optimizer is not None:
            states = self._workload.optimizer.state.values()
            self._state = {self.index(value) for state in states for value in state.values()}

    def begin_phase(self, phase: str) -> None:
        """A phase of the step begins."""
        self._phase = phase
        self._scopes = ["loss" if phase == "loss" else ""]
        self._mark()
        if phase == "optimizer":
            self._optimizer_from = len(self.timeline)

    def end_step(self, workload: TransformerWorkload) -> None:
        """Learn which storages became gradients."""
        self._gradients = {self.index(p.grad) for p in workload.model.parameters() if p.grad is not None}

    def enter(self, scope: str) -> None:
        """A module's forward begins."""
        self._scopes.append(scope)
        self._mark()

    def leave(self) -> None:
        """A module's forward ends."""
        self._scopes.pop()
        self._mark()

    def _mark(self) -> None:
        self._marks.append((torch._C._autograd._get_sequence_nr(), self._scopes[-1]))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return self._scalar(args[0])
        result = func(*args, **(kwargs or {}))
        copied = func is torch.ops.aten._to_copy.default and self._is_parameter(args[0])
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self._see(tensor, weight_copy=copied)
        return result

    def _scalar(self, tensor: Tensor) -> float:
        """A fake has no value, where some code asks for one: 1 for Adam's step count, 0 for "is anything wrong?"."""
        optimizer = self._workload.optimizer if self._workload else None
        if optimizer is not None and not self._counts:
            self._counts = {id(state["step"]) for state in optimizer.state.values()}
        return 1.0 if id(tensor) in self._counts else 0.0

    def _is_parameter(self, tensor: Tensor) -> bool:
        known = self._live.get(tensor.untyped_storage()._cdata)
        return known is not None and known[0] in self._parameters

    def _see(self, tensor: Tensor, *, weight_copy: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._live:
            return
        index, size = len(self.storages), storage.nbytes()
        scope, in_forward = self._place()
        self.storages.append(_Storage(size, self._phase, scope, in_forward, weight_copy))
        self.timeline.append((index, size))

        def gone(_: object) -> None:
            del self._live[key]
            self.timeline.append((index, -size))

        self._live[key] = (index, weakref.ref(storage, gone))

    def _place(self) -> tuple[str, bool]:
        """The module at work, and whether it is its forward."""
        node = torch._C._current_autograd_node()
        if node is None or len(self._scopes) > 1:  # the latter: a checkpoint's second forward
            return self._scopes[-1], len(self._scopes) > 1 or self._phase in ("", "forward", "loss")
        return self._scope_of(node), False

    def _scope_of(self, node: Any) -> str:
        number = node._sequence_nr()
        if number >= _LAST:
            return ""
        return self._marks[bisect.bisect_right(self._marks, number, key=lambda mark: mark[0]) - 1][1]

    def summary(self) -> MemoryEstimate:
        """The step's peak and what was live at it."""
        moment, peak = self._peak(self._from, len(self.timeline))
        live: set[int] = set()
        for index, change in self.timeline[: moment + 1]:
            (live.add if change > 0 else live.discard)(index)
        parts: dict[str, int] = defaultdict(int)
        for index in live:
            parts[self._part(index)] += self.storages[index].size
        assert sum(parts.values()) == peak, "storages at the peak do not add up to it"
        made = self.storages[self.timeline[moment][0]]
        return MemoryEstimate(
            method="traced",
            parts={part: parts[part] for part in memory_estimate.PARTS if parts.get(part)},
            phase=made.phase,
            module=made.scope,
            first_step=self._first_step(),
        )

    def _peak(self, start: int, stop: int) -> tuple[int, int]:
        """Position in the timeline and bytes of the peak between two positions."""
        total = moment = peak = 0
        for position, (_, change) in enumerate(self.timeline[:stop]):
            if position == start:
                moment, peak = max(0, position - 1), total  # what the stretch began with
            total += change
            if position >= start and total > peak:
                moment, peak = position, total
        if start >= stop:
            moment, peak = max(0, stop - 1), total
        return moment, peak

    def _first_step(self) -> int:
        """The first step is this one without the optimizer's state, until the optimizer makes it, first of all."""
        end = len(self.timeline)
        if self._optimizer_from is None:
            return self._peak(self._from, end)[1]
        state = sum(self.storages[index].size for index in self._state)
        before = self._peak(self._from, self._optimizer_from)[1] - state
        return max(before, self._peak(self._optimizer_from, end)[1])

    def _part(self, index: int) -> str:
        made = self.storages[index]
        if index in self._parameters:
            return memory_estimate.PARAMETERS
        if index in self._state:
            return memory_estimate.OPTIMIZER
        if index in self._gradients:
            return memory_estimate.GRADIENTS
        if not made.phase:
            return memory_estimate.CONSTANTS
        if made.weight_copy:
            return memory_estimate.WEIGHT_COPIES
        return memory_estimate.part_of(made.scope) if made.in_forward else memory_estimate.WORKING


def _name_scopes(model: nn.Module, history: _History) -> None:
    """Tell the history which module's forward is at work."""

    def opening(name: str) -> Callable[..., None]:
        return lambda *_: history.enter(name)

    for name, module in model.named_modules():
        if name and type(module).forward is not nn.Module.forward:
            module.register_forward_pre_hook(opening(name))
            module.register_forward_hook(lambda *_: history.leave(), always_call=True)
