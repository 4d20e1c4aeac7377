"""Ranges named by module: in NVTX (domain `perfkit`, for nsys) and in torch.profiler traces.

`annotate(model)` installs a hook before and after every module's forward; removing it leaves the model as it was.
A module that torch.compile owns is wrapped at its compiled call and never hooked inside: inner hooks would break
the graph into pieces (docs/attribution.md). A forward that runs again in backward is named as such.

Under torch.profiler backward needs no hook: autograd's sequence numbers link each backward kernel to the forward
operation, and so to the module, that made it. Only gradient accumulation has no number, so
`gradients=True` marks each with its parameter's module. NVTX has no such numbers, so under nsys `backward=True`
puts ranges round the backward nodes themselves (backward_ranges.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import nvtx
import torch
from torch import nn

from perfkit.schema import range_names
from perfkit.schema.range_names import RangeName
from perfkit.workload.backward_ranges import Maker, Nodes

_fast_record_function: Any = torch._C._profiler._RecordFunctionFast
"""It costs 0.3 us per range, torch.profiler.record_function 6 us; in a trace it is a cpu_op of the given name."""


class _OpenRanges(threading.local):
    """The ranges open on this thread, innermost last: (the hook that opened it, its profiler range)."""

    def __init__(self) -> None:
        self.stack: list[tuple[_Range, Any]] = []


_open = _OpenRanges()


def _close_last() -> None:
    owner, recorded = _open.stack.pop()
    owner.nvtx_range.__exit__(None, None, None)
    recorded.__exit__(None, None, None)


def _innermost_module() -> _ModuleRange | None:
    return next((owner for owner, _ in reversed(_open.stack) if isinstance(owner, _ModuleRange)), None)


class _Range:
    """A named range that can be opened and closed again and again; its two methods serve as hooks."""

    __slots__ = ("nvtx_range", "text")

    def __init__(self, name: RangeName) -> None:
        self.text = name.trace_text
        # It has no state after construction: each enter pushes the same registered string, each exit pops.
        self.nvtx_range = nvtx.annotate(message=name.nvtx_text, domain=range_names.NVTX_DOMAIN)

    def open(self, *_: Any) -> None:
        recorded = _fast_record_function(self.text)
        recorded.__enter__()
        self.nvtx_range.__enter__()
        _open.stack.append((self, recorded))

    def close(self, *_: Any) -> None:
        """Close this range, after any inner one that an exception left open."""
        if any(owner is self for owner, _ in _open.stack):
            while _open.stack[-1][0] is not self:
                _close_last()
            _close_last()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Range:
        return self  # a copied model keeps its names; nothing here belongs to the original


class _NodeRange(_Range):
    """The range of one module's backward nodes, which outlive the annotation that hooked them."""

    __slots__ = ("nodes",)

    def __init__(self, label: str, nodes: Nodes) -> None:
        super().__init__(range_names.backward(label))
        self.nodes = nodes

    def open(self, *_: Any) -> None:
        if self.nodes.active:
            self.nodes.opened += 1
            super().open()


class _ModuleRange(_Range):
    """The range of a module's forward; with backward ranges, it also records which module makes the nodes."""

    __slots__ = ("again", "maker", "nodes")

    def __init__(self, path: str, nodes: Nodes | None) -> None:
        super().__init__(range_names.module(path))
        self.again = _Range(range_names.recompute(path))
        self.nodes = nodes
        self.maker: Maker | None = _NodeRange(path, nodes) if nodes else None

    def open(self, *_: Any) -> None:
        if self.nodes and self.maker:
            self.nodes.begin(self.maker, outermost=_innermost_module() is None)
        shown = self.again if torch._C._current_graph_task_id() >= 0 else self
        recorded = _fast_record_function(shown.text)
        recorded.__enter__()
        shown.nvtx_range.__enter__()
        _open.stack.append((self, recorded))

    def close(self, *hooked: Any) -> None:
        """Close the range; the last of a forward hook's arguments is what the module returned, None if it raised."""
        super().close()
        if self.nodes:
            outer = _innermost_module()
            if outer is None and hooked:
                with annotated(range_names.HOOKS):
                    self.nodes.hook(hooked[-1])
            self.nodes.end(outer.maker if outer else None)


@contextmanager
def annotated(name: RangeName) -> Iterator[None]:
    """Put the body inside a range: for phases and steps, where a context manager's cost does not matter."""
    opened = _Range(name)
    opened.open()
    try:
        yield
    finally:
        opened.close()


@dataclass(slots=True)
class Annotation:
    """The changes that `annotate` made to a model; undoes them. Usable as a context manager."""

    modules: dict[str, str]
    """Module path -> class name, in the order of `named_modules()`; complete even below compiled modules."""
    hooked: int
    """Modules that have ranges of their own."""
    _undo: list[Callable[[], None]] = field(default_factory=list)
    _ranges: list[_Range] = field(default_factory=list)
    _nodes: Nodes | None = None

    @property
    def nodes(self) -> int:
        """Ranges of backward nodes opened so far."""
        return self._nodes.opened if self._nodes else 0

    @contextmanager
    def phase(self, name: str) -> Iterator[Callable[[object], None]]:
        """Put the body inside the range of a phase. Tensors given to what is yielded are what the body made.

        With backward ranges, the nodes that the body made behind them get the phase's name, and any of the last
        forward's that its outputs did not lead to (an auxiliary loss kept in a module) that of their module.
        """
        made: list[object] = []
        with annotated(range_names.phase(name)):
            if self._nodes:
                self._nodes.begin(_NodeRange(name, self._nodes), outermost=False)
            yield made.append
            if self._nodes:
                self._nodes.hook(made)
                self._nodes.end(None)

    def remove(self) -> None:
        """Remove every hook and wrapper. Calling it twice is harmless.

        Ranges that are still open on this thread (Ctrl-C in a forward leaves them open) are closed.
        """
        while self._undo:
            self._undo.pop()()
        if self._nodes:
            self._nodes.active = False
            self._nodes.owners.clear()
        while any(self._opened(owner) for owner, _ in _open.stack):
            _close_last()

    def _opened(self, owner: _Range) -> bool:
        return owner in self._ranges or (isinstance(owner, _NodeRange) and owner.nodes is self._nodes)

    def __enter__(self) -> Annotation:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def annotate(
    model: nn.Module, *, root: str | None = None, gradients: bool = False, backward: bool = False
) -> Annotation:
    """Put every module's forward of `model` inside a range named by its fully qualified name.

    `root` names the outermost module, which has no qualified name; default: its class name. A module that is
    used in several places goes by the first of its names, as `named_modules()` has it. `gradients` also leaves
    a mark inside the accumulation of each gradient that is wanted now: the module its parameter belongs to.
    `backward` puts a range, with the module's name, round each backward node that a module's forward made and round
    each accumulation of its parameters' gradients, on whatever thread they run; needed under nsys only.
    """
    root = root or type(_unwrapped(model)).__name__
    annotation = Annotation(modules=module_tree(model, root=root), hooked=0, _nodes=Nodes() if backward else None)
    _annotate_tree(model, "", root, annotation, seen=set(), gradients=gradients)
    return annotation


def module_tree(model: nn.Module, *, root: str | None = None) -> dict[str, str]:
    """Return module path -> class name for a whole model; compiled wrappers are looked through."""
    root = root or type(_unwrapped(model)).__name__
    tree: dict[str, str] = {}
    for path, module in _unwrapped(model).named_modules():
        clean = ".".join(name for name in path.split(".") if name != "_orig_mod")
        tree[clean or root] = type(_unwrapped(module)).__name__
    return tree


def _unwrapped(module: nn.Module) -> nn.Module:
    inner = getattr(module, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else module


def _is_opaque(module: nn.Module) -> bool:
    """True for a module whose submodules must not be hooked (compiled) or cannot be (TorchScript)."""
    compiled = _unwrapped(module) is not module or getattr(module, "_compiled_call_impl", None) is not None
    return compiled or isinstance(module, torch.jit.ScriptModule)


def _takes_hooks(module: nn.Module) -> bool:
    """False for a ModuleList, which is never called, and for TorchScript, which refuses them."""
    if isinstance(module, torch.jit.ScriptModule):
        return False
    return _unwrapped(module) is not module or type(module).forward is not nn.Module.forward


def _annotate_tree(
    module: nn.Module, path: str, root: str, annotation: Annotation, seen: set[object], *, gradients: bool
) -> None:
    if module in seen:
        return
    seen.add(module)
    hooks = _ModuleRange(path or root, annotation._nodes)
    if getattr(module, "_compiled_call_impl", None) is not None:
        annotation._undo.append(_wrap_compiled_call(module, hooks))
        annotation.hooked += 1
        annotation._ranges.append(hooks)
    elif _takes_hooks(module):
        before = module.register_forward_pre_hook(hooks.open, prepend=True)
        after = module.register_forward_hook(hooks.close, always_call=True)
        annotation._undo += [before.remove, after.remove]
        annotation.hooked += 1
        annotation._ranges.append(hooks)
    _own_parameters(module, path or root, hooks, annotation, seen, gradients=gradients)
    if not _is_opaque(module):
        for name, child in module.named_children():
            _annotate_tree(child, f"{path}.{name}" if path else name, root, annotation, seen, gradients=gradients)


def _own_parameters(
    module: nn.Module,
    path: str,
    hooks: _ModuleRange,
    annotation: Annotation,
    seen: set[object],
    *,
    gradients: bool,
) -> None:
    """Mark the accumulation of gradients with the module; it owns all parameters inside it that have no inner range."""
    for parameter in module.parameters(recurse=_is_opaque(module)):
        if parameter.requires_grad and parameter not in seen:  # a tied parameter belongs to its first owner
            seen.add(parameter)
            if hooks.nodes:
                hooks.nodes.owners[parameter] = hooks.maker
            if gradients:
                annotation._undo.append(_mark_gradient(parameter, path))


def _mark_gradient(parameter: nn.Parameter, path: str) -> Callable[[], None]:
    mark = _Range(range_names.gradient(path))

    def leave(_: torch.Tensor) -> None:
        mark.open()
        mark.close()

    handle = parameter.register_post_accumulate_grad_hook(leave)  # type: ignore[no-untyped-call]
    return handle.remove


def _wrap_compiled_call(module: nn.Module, hooks: _ModuleRange) -> Callable[[], None]:
    """Put a range round the compiled call of `module.compile()`, whose hooks would be traced into the graph."""
    compiled: Any = module._compiled_call_impl

    def ranged(*args: Any, **kwargs: Any) -> Any:
        hooks.open()
        made = None
        try:
            made = compiled(*args, **kwargs)
            return made
        finally:
            hooks.close(made)

    module._compiled_call_impl = ranged

    def undo() -> None:
        module._compiled_call_impl = compiled

    return undo
