"""Estimates a step's peak memory without running it: the real model and the real step, on fake tensors.

FakeTensorMode computes shapes but no values, so a step of any size is traced in seconds and without memory. Under it,
a dispatch mode sees every storage that is created, and a weak reference reports when it is freed: the allocator's
history without an allocator. The fakes are CPU tensors whatever the device requested, because a fake CUDA tensor ends
the process of a PyTorch that was built without CUDA. `_twin` imitates the known differences of CUDA.

The estimate excludes what a kernel allocates internally (but for copies of operands, see `_see_casts`).
"""

from __future__ import annotations

import bisect
import functools
import warnings
import weakref
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from perfkit.errors import PerfkitError, UsageError
from perfkit.measure import memory_limit
from perfkit.measure.calls import Calls
from perfkit.measure.fakes import fake_tensors
from perfkit.schema.config import RunConfig
from perfkit.schema.memory import estimate as memory_estimate
from perfkit.schema.memory.estimate import Beside, MemoryEstimate, Timeline
from perfkit.schema.parts.workloads import Own
from perfkit.workload import step
from perfkit.workload.built import BuiltWorkload, StepFailsError
from perfkit.workload.model import AttentionSoftmax
from perfkit.workload.step import StepWorkload, TransformerWorkload

_LAST = 2**63
"""A sequence number greater than all others; AccumulateGrad nodes have one."""


def estimate(
    config: RunConfig,
    build: Callable[[RunConfig], StepWorkload] | None = None,
    beside: Callable[[Timeline], Beside] | None = None,
    calls: Calls | None = None,
) -> MemoryEstimate:
    """Trace one steady-state step of a resolved configuration. Allocates almost nothing; takes seconds.

    `build` makes the workload, by default what the configuration names. `beside` says what a GPU's allocator adds to
    the step's allocations; for a CPU it is not asked. `calls` hears of each operator of the step.
    Raises UsageError if a tensor has more bytes than PyTorch can count, or if an own model does not run on fakes.
    """
    is_own = isinstance(config.workload, Own)
    build = build or (BuiltWorkload if is_own else TransformerWorkload)
    try:
        return _traced(config, build, None if config.step.device == "cpu" else beside, calls)
    except Exception as caught:
        cause = caught.__cause__ if isinstance(caught, StepFailsError) else None
        error = cause if isinstance(cause, Exception) else caught  # of sys.exit it says all
        if isinstance(error, PerfkitError):
            raise
        if isinstance(error, RuntimeError) and memory_limit.is_out_of_memory(error):
            raise UsageError("a tensor of this step needs more than 2^63 bytes: choose smaller sizes") from error
        if not is_own:
            raise
        said = str(error).strip().splitlines() or [""]
        raise UsageError(
            f"--estimate runs the step on tensors without values, and the model fails on them: {type(error).__name__}:"
            f" {said[0]}; measure it with --profiler memory instead (--debug shows where)"
        ) from error


def _traced(
    config: RunConfig,
    build: Callable[[RunConfig], StepWorkload],
    beside: Callable[[Timeline], Beside] | None,
    calls: Calls | None,
) -> MemoryEstimate:
    is_own = isinstance(config.workload, Own)
    history = _History(
        casts_inside=config.step.device == "cpu", part_of=_own_part if is_own else memory_estimate.part_of
    )

    def begin(phase: str) -> None:
        history.begin_phase(phase)
        if calls is not None:
            calls.begin_phase(phase)

    with warnings.catch_warnings(), fake_tensors(of_any_model=is_own), history, calls or nullcontext():
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # copying a module does
        workload = build(_twin(config))
        if isinstance(workload, BuiltWorkload):
            workload.load_here(config.step.device)
        history.know(workload)
        _name_scopes(workload.model, history)
        if config.step.device != "cpu" and config.step.precision in ("bf16", "fp16"):
            _widen_softmax(workload.model)
        _make_state(workload)
        history.begin_step()
        workload.step(begin)
        history.end_step(workload)
    return history.summary(beside)


def _own_part(_: str) -> str:
    """The part of what an own model's forward makes: nothing is known of its modules."""
    return memory_estimate.ACTIVATIONS


def choose_device(wanted: str, cuda: Any = torch.cuda) -> str:
    """The device to estimate for; a requested GPU need not be present."""
    return step.choose_device(wanted, cuda) if wanted == "auto" or cuda.is_available() else wanted


def available(device: str, cuda: Any = torch.cuda, free: Callable[[str], int] = memory_limit.available) -> int | None:
    """Bytes free on a device; None for a GPU if there is none."""
    if device != "cpu" and not cuda.is_available():
        return None
    return free(device)


def capability(cuda: Any = torch.cuda) -> tuple[int, int] | None:
    """Compute capability of the GPU that is here; None without one."""
    return cuda.get_device_capability() if cuda.is_available() else None


def _twin(config: RunConfig) -> RunConfig:
    """The configuration whose step on a CPU keeps the same tensors as `config` on its device.

    tf32 changes no tensor. Of the fused attention kernels the CPU has flash and math; efficient and cudnn save what
    flash saves: q, k, v, the output and one fp32 number a row. On CUDA PyTorch's own AdamW is the foreach one
    (`torch.optim.optimizer._default_to_fused_or_foreach`).
    """
    if config.step.device == "cpu":
        return config.changed(compile="off", compile_mode="default", num_threads=None)
    changes: dict[str, Any] = {"device": "cpu", "compile": "off", "compile_mode": "default", "num_threads": None}
    if config.step.precision == "tf32":
        changes["precision"] = "fp32"
    if config.value("sdpa_backend") in ("efficient", "cudnn"):
        changes["sdpa_backend"] = "auto"
    if config.step.optimizer == "adamw" and config.step.pass_type == "train":
        changes["optimizer"] = "adamw-foreach"
    return config.changed(**changes)


def _widen_softmax(model: nn.Module) -> None:
    """Compute softmax in fp32: autocast does so on CUDA but not on a CPU."""
    for module in model.modules():
        if isinstance(module, AttentionSoftmax):
            module.register_forward_pre_hook(lambda _, arguments: (arguments[0].float(),))


def _make_state(workload: StepWorkload) -> None:
    """Run a step before the traced one, so that Adam's state exists, of what gets a gradient; an own model's is run.

    Of perfkit's Transformer every parameter gets one, so that only the optimizer runs, on gradients without values.
    """
    if workload.optimizer is None:
        return
    if isinstance(workload, TransformerWorkload):
        for parameter in workload.model.parameters():
            parameter.grad = torch.empty_like(parameter)
        workload.optimizer.step()
    else:
        workload.step(lambda _: None)
    workload.optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True, slots=True)
class _Storage:
    """One storage that existed: its bytes, and where it was created."""

    size: int
    phase: str
    """Phase of the step; empty before the step."""
    scope: str
    """Module whose forward or backward created it."""
    in_forward: bool
    """False for what backward computes; True also for what a checkpoint recomputes."""
    weight_copy: bool
    """Whether it is autocast's copy of a parameter."""


class _History(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every storage that was created or freed, in order."""

    def __init__(self, *, casts_inside: bool = False, part_of: Callable[[str], str] = memory_estimate.part_of) -> None:
        """`part_of`: the part of what the forward of a module made, by the module's name."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._casts_inside, self._part_of = casts_inside, part_of
        self.guesses = 0
        """Values that the step read, of which fakes have none."""
        self.storages: list[_Storage] = []
        self.timeline: list[tuple[int, int]] = []
        """(index of the storage, bytes it added or freed), in order."""
        self._live: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}
        self._phase = ""
        self._scopes = [""]
        self._marks: list[tuple[int, str]] = [(-1, "")]
        """(first autograd sequence number, module whose forward created the nodes from there on)."""
        self._owner: dict[int, str] = {}
        self._counts: set[int] = set()
        self._workload: StepWorkload | None = None
        self._from = 0
        self._optimizer_from: int | None = None
        self._parameters: set[int] = set()
        self._gradients: set[int] = set()
        self._state: set[int] = set()

    def know(self, workload: StepWorkload) -> None:
        """Record which storages are parameters; those that were no fakes are seen here first."""
        self._workload = workload
        for parameter in workload.model.parameters():
            self._see(parameter, weight_copy=False)
            self._parameters.add(self.index(parameter))

    def index(self, tensor: Tensor) -> int:
        """The index of a live tensor's storage."""
        return self._live[tensor.untyped_storage()._cdata][0]

    def begin_step(self) -> None:
        """Begin the history; the storages that exist now predate it."""
        self._from = len(self.timeline)
        assert self._workload is not None
        if self._workload.optimizer is not None:
            states = self._workload.optimizer.state.values()
            self._state = {self.index(value) for state in states for value in state.values()}
        self.guesses = 0

    def begin_phase(self, phase: str) -> None:
        """Note that a phase of the step begins."""
        self._phase = phase
        self._scopes = ["loss" if phase == "loss" else ""]
        self._mark()
        if phase == "optimizer":
            self._optimizer_from = len(self.timeline)

    def end_step(self, workload: StepWorkload) -> None:
        """Record which storages became gradients."""
        self._gradients = {self.index(p.grad) for p in workload.model.parameters() if p.grad is not None}

    def enter(self, scope: str) -> None:
        """Note that a module's forward begins."""
        self._scopes.append(scope)
        self._mark()

    def leave(self) -> None:
        """Note that a module's forward ends."""
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
        if self._casts_inside and torch.Tag.pointwise in func.tags:
            self._see_casts(args)
        return result

    def _see_casts(self, operands: Any) -> None:
        """On a CPU, an operation on tensors of two floating types copies one into the other's type, inside itself.

        `TensorIteratorBase::compute_types` does it, below dispatch; CUDA's kernels convert element by element.
        """
        tensors = [one for one in tree_iter(operands) if isinstance(one, Tensor) and one.is_floating_point()]
        if len({one.dtype for one in tensors}) < 2:
            return
        common = functools.reduce(torch.promote_types, (one.dtype for one in tensors if one.dim()))
        scope, in_forward = self._place()
        for one in tensors:
            if one.dim() and one.dtype != common:
                index, size = len(self.storages), one.numel() * common.itemsize
                self.storages.append(_Storage(size, self._phase, scope, in_forward, weight_copy=False))
                self.timeline += [(index, size), (index, -size)]

    def _scalar(self, tensor: Tensor) -> float:
        """Value for code that reads one; fakes have none: 1 for Adam's step count, 0 for "is anything wrong?"."""
        optimizer = self._workload.optimizer if self._workload else None
        if optimizer is not None and not self._counts:
            self._counts = {id(state["step"]) for state in optimizer.state.values()}
        if id(tensor) in self._counts:
            return 1.0
        if self._phase in ("forward", "loss"):
            self.guesses += 1
        return 0.0 if tensor.is_floating_point() else False if tensor.dtype == torch.bool else 0

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
        """The module that is running, and whether it runs its forward."""
        node = torch._C._current_autograd_node()
        if node is None or len(self._scopes) > 1:  # more scopes: a checkpoint's recomputation
            return self._scopes[-1], len(self._scopes) > 1 or self._phase in ("", "forward", "loss")
        return self._scope_of(node), False

    def _scope_of(self, node: Any) -> str:
        number = node._sequence_nr()
        if number >= _LAST:
            return ""
        return self._marks[bisect.bisect_right(self._marks, number, key=lambda mark: mark[0]) - 1][1]

    def summary(self, beside: Callable[[Timeline], Beside] | None = None) -> MemoryEstimate:
        """The step's peak and what was live at the peak."""
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
            guesses=self.guesses,
            beside=beside and beside(Timeline(self.timeline, self._from, moment, {i: self._part(i) for i in live})),
        )

    def _peak(self, start: int, stop: int) -> tuple[int, int]:
        """Position in the timeline and bytes of the peak between two positions."""
        total = moment = peak = 0
        for position, (_, change) in enumerate(self.timeline[:stop]):
            if position == start:
                moment, peak = max(0, position - 1), total  # bytes live at the start
            total += change
            if position >= start and total > peak:
                moment, peak = position, total
        if start >= stop:
            moment, peak = max(0, stop - 1), total
        return moment, peak

    def _first_step(self) -> int:
        """Peak of the first step: this step, but without the optimizer's state until the optimizer phase creates it."""
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
        if made.phase in ("", "data"):
            return memory_estimate.CONSTANTS
        if made.weight_copy:
            return memory_estimate.WEIGHT_COPIES
        return self._part_of(made.scope) if made.in_forward else memory_estimate.WORKING


def _name_scopes(model: nn.Module, history: _History) -> None:
    """Tell the history which module's forward is running."""

    def opening(name: str) -> Callable[..., None]:
        return lambda *_: history.enter(name)

    for name, module in model.named_modules():
        if name and type(module).forward is not nn.Module.forward:
            module.register_forward_pre_hook(opening(name))
            module.register_forward_hook(lambda *_: history.leave(), always_call=True)
