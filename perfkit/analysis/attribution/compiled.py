"""Attribute kernels of torch.compile'd graphs to modules, by what Inductor recorded when it compiled them.

A compiled graph runs as one range, inside which the ordinary rules find no module. A run with
--experimental-provenance leaves the kernel calls of each graph in the trace, with their modules: the k-th kernel of a
name below a graph's range is the k-th call of that name in its code. A kernel of several modules, fused, is
attributed to their common ancestor.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import takewhile

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, nearest, strictly_above
from perfkit.regex import Regex
from perfkit.schema.provenance import CompiledGraph, KernelCall
from perfkit.trace.columns import HostKind, Trace

_GRAPH = Regex(r"## Call CompiledFxGraph (\S+) ##")
_GRAPH_NUMBER = Regex(r"graph_\d+_")


class Compiled(msgspec.Struct, frozen=True):
    """What runs inside compiled graphs. Rows are host ranges in the forest's order."""

    graph: Ints
    """Nearest self-or-enclosing range of a compiled graph, NONE outside."""
    kernel: Ints
    """Nearest self-or-enclosing kernel of a compiled graph; NONE outside every kernel."""
    path: Ints
    """Inside a kernel whose modules are known: index into paths. NONE on other rows."""
    paths: tuple[str, ...]
    """The given paths, followed by those that only kernels have."""
    fused: Bools
    """Rows inside a kernel that does the work of several modules."""
    sources: dict[int, tuple[str, ...]]
    """Kernel's row -> paths of its modules, where there are several."""
    problem: str
    """Why some graphs, or all, have no provenance; empty where none is missing."""


def find_compiled(trace: Trace, host: HostView, path: Ints, paths: tuple[str, ...]) -> Compiled | None:
    """Map the kernels of compiled graphs. `path` is the scope of each host range by the ordinary rules, in `paths`.

    Returns None for a trace that carries no provenance.
    """
    recorded = trace.recording.own
    if recorded is None or recorded.provenance is None:
        return None
    said = recorded.provenance
    parent = host.forest.parent
    is_graph, is_kernel, outer = _kernels(host)
    namer = _Namer(recorded.modules, paths)
    own, sources = np.full(len(parent), NONE, dtype=np.int64), {}
    for graph, rows in _groups(outer, np.flatnonzero(is_kernel)):
        match = _GRAPH.fullmatch(host.name_of(graph))
        known = said.graphs.get(match[1]) if match else None
        calls = known.calls if known and namer.fits(int(path[graph]), known) else ()
        for row, call in zip(rows, matched(calls, [host.name_of(row) for row in rows]), strict=True):
            if call is None or not call.modules:
                continue
            modules = namer.absolute(int(path[graph]), call.modules)
            own[row] = namer.number(common_ancestor(modules))
            if len(modules) > 1:
                sources[row] = tuple(module or namer.root for module in modules)
    kernel = nearest(parent, is_kernel)
    fused = np.zeros(len(own), dtype=bool)
    fused[list(sources)] = True
    return Compiled(
        graph=nearest(parent, is_graph),
        kernel=kernel,
        path=at(own, kernel, absent=NONE),
        paths=tuple(namer.paths),
        fused=at(fused, kernel, absent=False),
        sources=sources,
        problem=said.problem,
    )


def _kernels(host: HostView) -> tuple[Bools, Bools, Ints]:
    """Ranges of graphs; operations right below them, Python frames and perfkit's ranges aside; what each is below."""
    own = np.zeros(len(host.names), dtype=bool)
    own[list(host.own_names)] = True
    visible = np.isin(host.kind, [HostKind.OP, HostKind.ANNOTATION]) & ~own[host.name]
    is_graph = visible & host.matching(lambda name: _GRAPH.fullmatch(name) is not None)
    outer = strictly_above(host.forest.parent, nearest(host.forest.parent, visible))
    is_kernel = visible & ~is_graph & at(is_graph, outer, absent=False)
    return is_graph, is_kernel, outer


def _groups(outer: Ints, rows: Ints) -> list[tuple[int, list[int]]]:
    """Rows by what they are below, in order of time."""
    groups: dict[int, list[int]] = defaultdict(list)
    for row, above in zip(rows.tolist(), outer[rows].tolist(), strict=True):
        groups[above].append(row)
    return list(groups.items())


class _Namer:
    """Module paths to numbers, by the run's own module tree. The root, whose path is empty, goes by its name there."""

    def __init__(self, tree: dict[str, str], paths: tuple[str, ...]) -> None:
        self.tree = tree
        self.root = next(iter(self.tree), "")
        self.paths = list(paths)
        self.numbers = {text: number for number, text in enumerate(paths)}

    def fits(self, scope: int, graph: CompiledGraph) -> bool:
        """Whether a graph has only modules below this scope; if not, another module was compiled."""
        if scope == NONE or self.paths[scope] not in self.tree:
            return False
        modules = {module for call in graph.calls for module in call.modules}
        return all((path or self.root) in self.tree for path in self.absolute(scope, sorted(modules)))

    def absolute(self, scope: int, modules: Sequence[str]) -> list[str]:
        """Paths below a scope as paths below the root."""
        front = "" if self.paths[scope] == self.root else self.paths[scope]
        return [".".join(part for part in (front, module) if part) for module in modules]

    def number(self, path: str) -> int:
        """The number of a path, a new one at its first use."""
        text = path or self.root
        number = self.numbers.setdefault(text, len(self.paths))
        if number == len(self.paths):
            self.paths.append(text)
        return number


def matched(calls: Sequence[KernelCall], events: Sequence[str]) -> list[KernelCall | None]:
    """The call that each event is: the k-th of its name, where the code has as many calls of that name as events."""
    by_name: dict[str, list[KernelCall]] = defaultdict(list)
    for call in calls:
        by_name[_called(call.kernel)].append(call)
    names = [_ran(event) for event in events]
    count = Counter(names)
    turn = {name: iter(by_name[name]) for name in count if len(by_name[name]) == count[name]}
    return [next(turn[name]) if name in turn else None for name in names]


def _called(kernel: str) -> str:
    """The bare name in generated code: `extern_kernels.mm` is mm, `torch.ops.aten.sort.stable` is sort."""
    parts = kernel.removeprefix("torch.ops.").split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def _ran(event: str) -> str:
    """The bare name in a trace: `aten::mm` is mm, `graph_0_cpp_fused_add_0` is cpp_fused_add_0."""
    bare = event.rpartition("::")[2]
    number = _GRAPH_NUMBER.match(bare)
    return bare[number.end() :] if number else bare


def common_ancestor(modules: Sequence[str]) -> str:
    """The innermost module that holds them all; the empty path is the root."""
    columns = zip(*(module.split(".") for module in modules), strict=False)
    return ".".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))
