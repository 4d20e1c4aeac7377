"""Which modules each kernel of a compiled model comes from, recorded while Inductor compiles (experimental).

Inductor can record which nodes of its graph went into each kernel, and a node knows the modules it was traced in.
Both are read at `CompiledFxGraph.post_compile`, which runs once for every graph, forward and backward. All of this is
private to PyTorch (written for 2.13). If another version lacks any of it, perfkit reports that, and the run goes on.
"""

from __future__ import annotations

import importlib
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from typing import Any

import torch

from perfkit.measure.loop import Observer
from perfkit.schema.provenance import CompiledGraph, KernelCall, Provenance

_NEEDED = {
    "torch._inductor.config": ("patch", "trace.provenance_tracking_level", "cpp.enable_kernel_profile"),
    "torch._inductor.debug": ("_inductor_triton_kernel_to_post_grad_node_info",),
    "torch._inductor.output_code": ("CompiledFxGraph.post_compile",),
    "torch.compiler.config": ("patch", "cache_key_tag"),
}
"""The names needed, by module. All but the last are private."""

_HANDLE = re.compile(r"\[Provenance debug handles\] (\S+):(\d+)$", re.MULTILINE)
"""Matches the comment above each kernel call in generated code: the kernel and the number of the call."""

_STEP = re.compile(r"\.?(\w+)|\[(?:'([^']*)'|\"([^\"]*)\"|(\d+))\]")
"""One component of a path in Dynamo's notation: `.name`, `.0`, `['name']` or `[0]`."""

_SELF = "L['self']"
"""Dynamo's name for the module whose forward it traces."""

_WRAPPERS = ("_modules", "_orig_mod")


class CompiledKernels(Observer):
    """Records in `provenance` every graph that is compiled until the observer is closed.

    `graphs` is Inductor's class of compiled graphs, and `nodes_of` returns its table of the nodes behind each kernel
    call. By default both are PyTorch's own.
    """

    def __init__(self, graphs: Any = None, nodes_of: Callable[[], dict[str, list[str]]] | None = None) -> None:
        self.provenance = Provenance()
        self._undo = ExitStack()
        if missing := _missing():
            self.provenance.problem = f"PyTorch {torch.__version__} has no {missing}"
            return
        inductor = importlib.import_module("torch._inductor.config")
        compiler = importlib.import_module("torch.compiler.config")
        # Level 2 only records the nodes of each kernel. Without profiling code, C++ kernels emit no event.
        level = {"trace.provenance_tracking_level": 2, "cpp.enable_kernel_profile": True}
        self._undo.enter_context(inductor.patch(level))
        self._undo.enter_context(compiler.patch({"cache_key_tag": _tag()}))
        graphs = graphs or importlib.import_module("torch._inductor.output_code").CompiledFxGraph
        self._undo.enter_context(_noted(self.provenance, compiler, graphs, nodes_of or _nodes_of))

    def close(self) -> None:
        """Stop recording graphs and restore PyTorch."""
        self._undo.close()


def _tag() -> str:
    """Return a new tag for cache keys, because a graph from the cache does not know its modules."""
    return f"perfkit-{uuid.uuid4().hex}"


def _missing() -> str | None:
    """The first name needed that this version of PyTorch does not have."""
    for module, names in _NEEDED.items():
        try:
            there = importlib.import_module(module)
        except ImportError:
            return module
        for name in names:
            try:
                attrgetter(name)(there)
            except AttributeError:
                return f"{module}.{name}"
    return None


def _nodes_of() -> dict[str, list[str]]:
    """Inductor's current table; each compilation replaces it."""
    debug = importlib.import_module("torch._inductor.debug")
    return debug._inductor_triton_kernel_to_post_grad_node_info


@contextmanager
def _noted(
    provenance: Provenance, compiler: Any, graph_class: Any, nodes_of: Callable[[], dict[str, list[str]]]
) -> Iterator[None]:
    original = graph_class.post_compile

    def post_compile(compiled: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            _note(provenance, compiled, args, nodes_of())
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # differs from 2.13
            provenance.problem = f"PyTorch {torch.__version__} describes a graph in another way: {error!r}"
        compiler.cache_key_tag = _tag()  # the cache would merge layers of the same shape
        return original(compiled, *args, **kwargs)

    graph_class.post_compile = post_compile
    try:
        yield
    finally:
        graph_class.post_compile = original


def _note(provenance: Provenance, compiled: Any, args: tuple[Any, ...], nodes_of: dict[str, list[str]]) -> None:
    """Read one compiled graph. `args` are post_compile's: example inputs, constants with the graph, options."""
    key, code = getattr(compiled, "_fx_graph_cache_key", None), getattr(compiled, "source_code", None)
    graph = getattr(getattr(next(iter(args[1:2]), None), "gm", None), "graph", None)
    options = args[2] if len(args) > 2 and isinstance(args[2], dict) else {}
    if key is None:
        provenance.problem = "a graph that is not cached has no key to find it by in a trace"
        return
    if code is None or graph is None:
        provenance.problem = f"PyTorch {torch.__version__} keeps neither code nor graph where 2.13 does"
        return
    calls = kernel_calls(code, nodes_of, {node.name: node for node in graph.nodes})
    if key in provenance.graphs and provenance.graphs[key].calls != calls:
        calls = ()  # the key is ambiguous: record no calls
    provenance.graphs[key] = CompiledGraph(backward=bool(options.get("is_backward")), calls=calls)


def kernel_calls(code: str, nodes_of: dict[str, list[str]], nodes: dict[str, Any]) -> tuple[KernelCall, ...]:
    """The calls in generated code with their modules. `nodes_of` maps `kernel:number` to names of nodes."""
    handles = [(match[1], match[2]) for match in _HANDLE.finditer(code)]
    return tuple(
        KernelCall(kernel, _modules([nodes[name] for name in nodes_of.get(f"{kernel}:{number}", ()) if name in nodes]))
        for kernel, number in handles
    )


def _modules(nodes: list[Any]) -> tuple[str, ...]:
    """The modules of the nodes that do a kernel's work, or of all its nodes if none does."""
    working = {path for node in nodes if _works(node) and (path := _module(node)) is not None}
    return tuple(sorted(working or {path for node in nodes if (path := _module(node)) is not None}))


def _works(node: Any) -> bool:
    """False for a view of a tensor or a constant, which cost nothing and are often shared by modules."""
    is_view = getattr(node.target, "is_view", False) or str(node.target).startswith("aten._unsafe_view")
    return bool(node.all_input_nodes) and not is_view


def _module(node: Any) -> str | None:
    """The innermost module a node was traced in, relative to the compiled one.

    None if no module asked for it, as with the sum of the gradients of a tensor used twice.
    """
    for direction in ("", "fwd_"):
        if stack := node.meta.get(f"{direction}nn_module_stack"):
            path, *_ = list(stack.values())[-1]
            return module_path(path)
    own = any(node.meta.get(name) for name in ("source_fn_stack", "fwd_source_fn_stack"))
    return "" if own else None


def module_path(spelled: str) -> str | None:
    """Dynamo's `L['self']._modules['layers'][0].attn` as `named_modules()` writes it; None if it is no such path."""
    if not spelled.startswith(_SELF):
        return None
    rest, place, names = spelled[len(_SELF) :], 0, []
    while place < len(rest):
        match = _STEP.match(rest, place)
        if match is None:
            return None
        names.append(next(group for group in match.groups() if group is not None))
        place = match.end()
    return ".".join(name for name in names if name not in _WRAPPERS)
