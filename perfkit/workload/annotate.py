"""Ranges named by module: in NVTX (domain `perfkit`, for nsys) and in torch.profiler traces.

While a `with annotate(model)` is open, a hook before and after every module's forward opens and closes its range;
after it the model is as it was. A module that torch.compile owns is wrapped at its compiled call and never hooked
inside: inner hooks would break the graph into pieces (docs/attribution.md). A forward that runs again in backward
is named as such.

Under torch.profiler backward needs no hook: autograd's sequence numbers link each backward kernel to the forward
operation, and so to the module, that made it. Only gradient accumulation has no number, so
`gradients=True` marks each with its parameter's module. NVTX has no such numbers, so under nsys `backward=True`
puts ranges round the backward nodes themselves (backward_ranges.py). Optimizers have ranges too (optimizer_ranges.py).
"""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakIdKeyDictionary

from perfkit.schema import range_names
from perfkit.workload import optimizer_ranges
from perfkit.workload.backward_ranges import Maker, Nodes
from perfkit.workload.ranges import Range, annotated, close_all, innermost


class _NodeRange(Range):
    """The range of one module's backward nodes, which outlive the annotation that hooked them."""

    __slots__ = ("nodes",)

    def __init__(self, label: str, nodes: Nodes) -> None:
        super().__init__(range_names.backward(label))
        self.nodes = nodes

    def open(self, *_: Any) -> None:
        if self.nodes.active:
            self.nodes.opened += 1
            super().open()


class _ModuleRange(Range):
    """The range of a module's forward; with backward ranges, it also records which module makes the nodes.

    A copy of the module has the same hooks, and so the same object, which opens nothing once `shown` is off.
    """

    __slots__ = ("__weakref__", "again", "maker", "nodes", "path", "shown", "update")

    def __init__(self, path: str, nodes: Nodes | None = None) -> None:
        super().__init__(range_names.module(path))
        self.again = Range(range_names.recompute(path))
        self.update = Range(range_names.update(path))
        self.nodes = nodes
        self.maker: Maker | None = _NodeRange(path, nodes) if nodes else None
        self.path = path
        self.shown = False
        """False before and after the annotation, and where another annotation names the module."""

    def open(self, *_: Any) -> None:
        if torch.compiler.is_compiling() or not self.shown:
            return  # traced by a compiler that somebody called: ranges in the graph would break it into pieces
        if self.nodes and self.maker:
            self.nodes.begin(self.maker, outermost=_innermost_module() is None)
        self.open_as(self.again if torch._C._current_graph_task_id() >= 0 else self)

    def close(self, *hooked: Any) -> None:
        """Close the range; the last of a forward hook's arguments is what the module returned, None if it raised."""
        if torch.compiler.is_compiling() or not self.is_open():
            return
        super().close()
        if self.nodes:
            outer = _innermost_module()
            if outer is None and hooked:
                with annotated(range_names.HOOKS):
                    self.nodes.hook(hooked[-1])
            self.nodes.end(outer.maker if outer else None)

    def __deepcopy__(self, memo: dict[int, Any]) -> _ModuleRange:
        return self

    def __reduce__(self) -> tuple[Callable[[str, str], _ModuleRange], tuple[str, str]]:
        key = uuid.uuid4().hex
        _pickled[key] = self
        return _unpickled, (key, self.path)


_pickled: WeakValueDictionary[str, _ModuleRange] = WeakValueDictionary()
"""Ranges that were pickled in this process, by a key that is in the pickle."""


def _unpickled(key: str, path: str) -> _ModuleRange:
    return _pickled.get(key) or _ModuleRange(path)  # in another process it is never shown


def _innermost_module() -> _ModuleRange | None:
    found = innermost(lambda owner: isinstance(owner, _ModuleRange))
    return found if isinstance(found, _ModuleRange) else None


def running() -> str:
    """The path of the innermost annotated module whose forward runs on this thread; empty where none does."""
    module = _innermost_module()
    return module.path if module else ""


class Annotation:
    """Ranges of a model's modules, for as long as a `with` is open; it can be entered again and again."""

    def __init__(self, model: nn.Module, root: str | None, *, gradients: bool, backward: bool) -> None:
        self.model, self.root = model, root
        self.hooked = 0
        """Modules that have ranges of their own, as of the last time that hooks were installed."""
        self._gradients, self._backward = gradients, backward
        self._entered = 0
        self._used = False
        self._undo: list[Callable[[], None]] = []
        self._ranges: dict[nn.Module, _ModuleRange] = {}
        self._parameters: dict[nn.Parameter, _ModuleRange] = {}
        self._inside: set[nn.Module] = set()
        self._nodes: list[Nodes] = []

    @property
    def modules(self) -> dict[str, str]:
        """Module path -> class name, in the order of `named_modules()`; complete even below compiled modules."""
        self._used = True
        return module_tree(self.model, root=self.root)

    @property
    def nodes(self) -> int:
        """Ranges of backward nodes opened so far."""
        return sum(nodes.opened for nodes in self._nodes)

    @contextmanager
    def phase(self, name: str) -> Iterator[Callable[[object], None]]:
        """Put the body inside the range of a phase. Tensors given to what is yielded are what the body made.

        With backward ranges, the nodes that the body made behind them get the phase's name, and any of the last
        forward's that its outputs did not lead to (an auxiliary loss kept in a module) that of their module.
        """
        made: list[object] = []
        nodes = self._nodes[-1] if self._nodes and self._nodes[-1].active else None
        with annotated(range_names.phase(name)):
            if nodes:
                nodes.begin(_NodeRange(name, nodes), outermost=False)
            yield made.append
            if nodes:
                nodes.hook(made)
                nodes.end(None)

    def install(self) -> Annotation:
        """Install the hooks, as entering a `with` does, until `remove` is called; nothing where they are installed."""
        self._used = True
        if self in _installed:
            return self
        nodes = Nodes() if self._backward else None
        self._nodes += [nodes] if nodes else []
        self._inside = set(self.model.modules())
        self.hooked = 0
        _annotate_tree(self, self.model, self.root or "", nodes)
        if not _installed:
            _optimizers.append(optimizer_ranges.install(_update_of))
        _installed.append(self)
        _settle()
        if shared := _shared_names():
            warnings.warn(_advice(shared), RuntimeWarning, stacklevel=3)
        return self

    def remove(self) -> None:
        """Remove every hook and wrapper. Calling it twice is harmless.

        Ranges that are still open on this thread (Ctrl-C in a forward leaves them open) are closed.
        """
        self._entered = 0
        if self not in _installed:
            return
        _installed.remove(self)
        while self._undo:
            self._undo.pop()()
        if self._nodes:
            self._nodes[-1].active = False
            self._nodes[-1].owners.clear()
        own, nodes = set(self._ranges.values()), self._nodes
        for ranged in own:
            ranged.shown = False
        self._ranges, self._parameters, self._inside = {}, {}, set()
        _settle()
        if not _installed:
            _optimizers.pop()()
        close_all(lambda owner: owner in own or (isinstance(owner, _NodeRange) and owner.nodes in nodes))

    def __enter__(self) -> Annotation:
        self._entered += 1
        return self.install()

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if self._entered <= 0:
            self.remove()

    def __del__(self) -> None:
        if not self._used:
            text = "perfkit.annotate(model) put no range anywhere: use it as `with perfkit.annotate(model):`"
            warnings.warn(text, RuntimeWarning, stacklevel=2)


_installed: list[Annotation] = []
"""Those with hooks in place, in the order in which they were entered."""
_optimizers: list[Callable[[], None]] = []
"""What removes the ranges in optimizers, which all annotations share."""
_owners: Any = WeakIdKeyDictionary()
"""Parameter -> range of the module it belongs to."""


def _settle() -> None:
    """Let each module and parameter be named once: by the model that holds the others, else by the first entered."""
    taken: set[object] = set()
    _owners.clear()
    for annotation in sorted(_installed, key=lambda own: sum(own.model in other._inside for other in _installed)):
        for module, ranged in annotation._ranges.items():
            ranged.shown = module not in taken
        for parameter, ranged in annotation._parameters.items():
            _owners.setdefault(parameter, ranged)
        taken.update(annotation._ranges)


def _shared_names() -> list[str]:
    """Names that modules of several annotations have, other than one module in all of them."""
    names = [ranged.path for annotation in _installed for ranged in annotation._ranges.values() if ranged.shown]
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _update_of(parameter: Tensor) -> Range | None:
    owner = _owners.get(parameter)
    return owner.update if owner else None


def annotate(
    model: nn.Module, *, root: str | None = None, gradients: bool = False, backward: bool = False
) -> Annotation:
    """Put every module's forward of `model`, while a `with` is open, inside a range named by its qualified name.

    `root` goes before all names, as in `generator.layers.0`, and names the outermost module: give one to each model
    where several are annotated at once. Without it names are those of `named_modules()`, and the outermost module,
    which has none, goes by its class. A module that is used in several places goes by the first of its names. Where
    both a model and a part of it are annotated, the names and the settings of the whole model count.

    `gradients` also leaves a mark inside the accumulation of each gradient that is wanted when the `with` is entered:
    the module its parameter belongs to. `backward` puts a range, with the module's name, round each backward node
    that a module's forward made and round each accumulation of its parameters' gradients, on whatever thread they
    run; needed under nsys only. Steps of optimizers have ranges in any case, and those of PyTorch's optimizers that
    update one parameter after the other have one with the module's name round each update.

    Warns (RuntimeWarning) where two annotated models share names. Raises TypeError where `model` is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"annotate wants a torch.nn.Module, not {type(model).__name__}: pass the model itself")
    return Annotation(model, root, gradients=gradients, backward=backward)


def module_tree(model: nn.Module, *, root: str | None = None) -> dict[str, str]:
    """Return module path -> class name for a whole model, with the root first; compiled wrappers are looked through.

    `root` as in `annotate`.
    """
    tree: dict[str, str] = {}
    for path, module in _unwrapped(model).named_modules():
        parts = [name for name in path.split(".") if name not in ("", "_orig_mod")]
        label = ".".join([root, *parts] if root else parts)
        tree[label or type(_unwrapped(model)).__name__] = type(_unwrapped(module)).__name__
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


def enclose(module: nn.Module, before: Callable[..., None], after: Callable[..., None]) -> list[Callable[[], None]]:
    """Call `before` as each call of the module begins, and `after` when it has ended or raised, its result last.

    Returns what undoes it, the last first; nothing for a module that is never called, or takes no hooks. A module that
    `compile()` was called on is enclosed at its compiled call: its hooks would be traced into the graph.
    """
    if getattr(module, "_compiled_call_impl", None) is not None:
        return [_wrap_compiled_call(module, before, after)]
    if not _takes_hooks(module):
        return []
    opening = module.register_forward_pre_hook(before, prepend=True)
    closing = module.register_forward_hook(after, always_call=True)
    return [opening.remove, closing.remove]


def _annotate_tree(annotation: Annotation, module: nn.Module, path: str, nodes: Nodes | None) -> None:
    if module in annotation._ranges:
        return
    ranged = annotation._ranges[module] = _ModuleRange(path or type(_unwrapped(module)).__name__, nodes)
    enclosed = enclose(module, ranged.open, ranged.close)
    annotation._undo += enclosed
    annotation.hooked += bool(enclosed)
    _own_parameters(annotation, module, ranged)
    if not _is_opaque(module):
        for name, child in module.named_children():
            _annotate_tree(annotation, child, f"{path}.{name}" if path else name, nodes)


def _own_parameters(annotation: Annotation, module: nn.Module, ranged: _ModuleRange) -> None:
    """Give the module its parameters, and mark the accumulation of their gradients with it.

    All parameters inside it that have no inner range are its own. One that is tied belongs to its first owner.
    """
    for parameter in module.parameters(recurse=_is_opaque(module)):
        if parameter not in annotation._parameters:
            annotation._parameters[parameter] = ranged
            if ranged.nodes:
                ranged.nodes.owners[parameter] = ranged.maker
            if annotation._gradients and parameter.requires_grad and not is_lazy(parameter):
                annotation._undo.append(_mark_gradient(parameter, ranged))


def _mark_gradient(parameter: nn.Parameter, ranged: _ModuleRange) -> Callable[[], None]:
    mark = Range(range_names.gradient(ranged.path))

    def leave(accumulated: Tensor) -> None:
        if _owners.get(accumulated) is ranged:
            mark.open()
            mark.close()

    was_without: bool = parameter._post_accumulate_grad_hooks is None
    handle = parameter.register_post_accumulate_grad_hook(leave)  # type: ignore[no-untyped-call]

    def undo() -> None:
        handle.remove()
        if was_without and not parameter._post_accumulate_grad_hooks:
            parameter._post_accumulate_grad_hooks = None  # type: ignore[assignment]

    return undo


def _wrap_compiled_call(
    module: nn.Module, before: Callable[..., None], after: Callable[..., None]
) -> Callable[[], None]:
    """Put two calls round the compiled call of `module.compile()`, whose hooks would be traced into the graph."""
    compiled: Any = module._compiled_call_impl

    def call(*args: Any, **kwargs: Any) -> Any:
        before()
        made = None
        try:
            made = compiled(*args, **kwargs)
            return made
        finally:
            after(made)

    module._compiled_call_impl = call

    def undo() -> None:
        if module._compiled_call_impl is call:  # another annotation's may be around it
            module._compiled_call_impl = compiled

    return undo


def _advice(shared: list[str]) -> str:
    names = ", ".join(f"`{name}`" for name in shared[:3])
    more = f" and {len(shared) - 3:,} more" if len(shared) > 3 else ""
    return (
        f"perfkit: annotated models share the names {names}{more}, and the time of modules of one name is added up; "
        'give each model a root: annotate(model, root="generator")'
    )
