"""Scopes: the ranges that stand for modules, and the path of each (rules 9, 11 and 12 of docs/attribution.md)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from itertools import accumulate

import numpy as np

from perfkit.analysis.attribution.host_view import HostView, present
from perfkit.analysis.attribution.intervals import NONE, ROW, Bools, Ints, at, depths, nearest, strictly_above
from perfkit.analysis.attribution.links import Links, run_again
from perfkit.trace.columns import HostKind

SEPARATOR = "/"
"""Joins the names of nested foreign scopes. perfkit's own names are whole paths already."""

LONGEST_PATH = 4096
"""Characters of a path of joined names, where those of models have hundreds: what is nested deeper belongs to the scope
around it. Otherwise ranges nested 10,000 deep would have a GiB of paths."""

_MODULE_PREFIX = "nn.Module: "
_NOT_SCOPES = re.compile(
    r"ProfilerStep#|nccl:|gloo:|Optimizer\.|DistributedDataParallel|record_param_comms|Torch-Compiled Region"
    r"|## Call CompiledFxGraph|CompiledFunction|TorchDynamo|AOTDispatcher|Pregraph|perfkit[.:]"
)
_MAX_HOPS = 8
"""Backward of backward of a checkpoint inside a checkpoint takes four; more means a cycle in a damaged file."""

_MAX_NESTING = 64
"""Scopes inside each other that are looked through for the one that called a checkpoint."""

_PHASE_SCOPES = ("loss", "optimizer", "zero_grad")
"""Phases of perfkit's step that run outside every module and so are scopes of their own."""


class ScopeSource(Enum):
    """Which ranges serve as scopes: the best kind that the file has."""

    PERFKIT = "perfkit"
    """Ranges by `perfkit.annotate`: fully qualified module names."""
    MODULE = "nn.Module"
    """Module frames of a profile with Python stacks: class names with a counter."""
    ANNOTATION = "annotation"
    """Any other ranges that the user added."""


class How(IntEnum):
    """How a piece of work came to its scope, or why it has none."""

    SCOPE = auto()
    """It ran (or was launched) inside the scope."""
    SEQUENCE = auto()
    """Through a backward node's sequence number to the forward operation that made it (which may lie outside every
    scope: then the work is linked and still unattributed)."""
    ACCUMULATE = auto()
    """Gradient accumulation without a mark: with the backward node that ran before it."""
    NONE = auto()
    """Outside every scope, or in backward and linked to no forward operation in the file."""
    UNLAUNCHED = auto()
    """No launch in the file: launched before recording began, or its record was dropped."""
    PROVENANCE = auto()
    """A compiled kernel, by Inductor's provenance: to its module, or the common ancestor of its modules."""
    PARAMETER = auto()
    """Gradient accumulation: by the parameter's module, which perfkit's mark in it names."""
    GRAPH = auto()
    """A node of a CUDA graph: by the scope that was recorded when the graph was captured."""
    HOOK = auto()
    """A backward node: by perfkit's range round it, which names the module that made it."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """Rows are host ranges in the forest's order."""

    source: ScopeSource
    scope: Ints
    """Nearest self-or-enclosing scope; NONE outside."""
    resolved: Ints
    """Row of the scope that the range's time goes to, through backward nodes where need be; NONE for none. In a
    gradient's accumulation the row of perfkit's mark, and in a node without a link that of perfkit's range round
    it: neither is a scope, but both name one."""
    how: Ints
    """How."""
    path: Ints
    """On a scope, and a mark: index into paths; NONE on other rows."""
    paths: tuple[str, ...]
    qualified: bool
    """Paths are qualified module names (layers.3.attn), not joined names of nested ranges."""


def find_scopes(host: HostView, links: Links, source: object, modules: Mapping[str, str]) -> Scopes:
    """Choose the scope ranges and name them. `source` is a ScopeSource, or "auto" for the first kind the file has.

    `modules` is the model's tree, path -> class in the order of first calls; empty where it is not known.
    """
    kind = source if isinstance(source, ScopeSource) else _best_source(host)
    labels = _labels(host, kind)
    if kind is ScopeSource.MODULE and (mapped := _by_tree(labels, modules)):
        labels = mapped
    qualified = kind is ScopeSource.PERFKIT or (kind is ScopeSource.MODULE and bool(mapped))
    usable = np.zeros(len(host.names), dtype=bool)
    usable[list(labels)] = True
    is_scope = usable[host.name] & ~host.is_runtime & _right_kind(host, kind)
    if kind is ScopeSource.ANNOTATION:  # a module's range, by contrast, is opened only by its forward
        is_scope &= ~_backward_only(host, links, is_scope)
    scope = nearest(host.forest.parent, is_scope)
    owner = links.owner if kind is ScopeSource.PERFKIT else np.full(len(scope), NONE, dtype=ROW)
    resolved, how = _resolve(links, scope, owner)
    resolved = _around_checkpoint(host, links, is_scope, scope, resolved)
    rows = np.flatnonzero(is_scope)
    if qualified:
        marks = {index: own.label for index, own in host.own_names.items() if own.kind in ("grad", "backward")}
        path, paths = _plain_paths(host, np.union1d(rows, owner[owner != NONE]), labels | marks)
    else:
        path, paths = _joined_paths(host, links, rows, scope, labels)
        path, paths = _mended_paths(links, rows, resolved, path, paths)
    return Scopes(kind, scope, resolved, how, path, tuple(paths), qualified)


def _best_source(host: HostView) -> ScopeSource:
    """The first kind that the file has any ranges of; the last kind where it has none."""
    return next((kind for kind in ScopeSource if _labels(host, kind)), ScopeSource.ANNOTATION)


def _by_tree(labels: dict[int, str], modules: Mapping[str, str]) -> dict[int, str]:
    """Qualified names for `Linear_7`: the eighth of its class in the tree. Empty unless every name is in it."""
    of_class: dict[str, list[str]] = defaultdict(list)
    for path, name in modules.items():
        of_class[name].append(path)
    mapped = {}
    for index, label in labels.items():
        name, _, number = label.rpartition("_")
        paths = of_class.get(name, [])
        if not number.isdecimal() or int(number) >= len(paths):
            return {}
        mapped[index] = paths[int(number)]
    return mapped


def _resolve(links: Links, scope: Ints, owner: Ints) -> tuple[Ints, Ints]:
    """Rule 11: the scope inside the nearest backward node, else the scope of the operation that made the node.

    A gradient's accumulation takes the scope of its mark, where it has one; a node without a link that of its range.
    """
    count = len(scope)
    here = np.arange(count, dtype=ROW)
    waiting = here.copy()
    resolved = np.full(count, NONE, dtype=ROW)
    how = np.full(count, How.NONE, dtype=np.uint8)
    for hop in range(_MAX_HOPS + 1):
        own, node = scope[here[waiting]], links.node[here[waiting]]
        settled = own > node  # both hold the row: the later one is the inner one
        resolved[waiting[settled]] = own[settled]
        mark = np.where((node == NONE) | settled, NONE, owner[node])
        resolved[waiting[mark != NONE]] = mark[mark != NONE]
        target = np.where(node == NONE, NONE, links.target[node])
        going = ~settled & (mark == NONE) & (target != NONE)
        if hop == 0:
            how[waiting[settled]] = How.SCOPE
            how[waiting[mark != NONE]] = np.where(links.is_hooked[mark[mark != NONE]], How.HOOK, How.PARAMETER)
            how[waiting[going]] = np.where(links.by_accumulation[node[going]], How.ACCUMULATE, How.SEQUENCE)
        here[waiting[going]] = target[going]
        waiting = waiting[going]
    return resolved, how


def _around_checkpoint(host: HostView, links: Links, is_scope: Bools, scope: Ints, resolved: Ints) -> Ints:
    """Rule 11 for recomputed work outside the scopes that open again with it: part of a checkpointed plain function.

    The node that it runs in is only the first that asked for a tensor. Of that node's scope and those around it, the
    nearest that does not open again inside the node is the one that called the checkpoint.
    """
    bare = run_again(host, links) & (scope <= links.node)
    rows = np.flatnonzero(bare & (resolved != NONE))
    inside = np.flatnonzero(is_scope & (links.node != NONE))
    name = _forward_names(host)
    node = links.node.astype(np.int64) * len(host.names)  # rows times names does not fit into what rows are kept in
    opened = node[inside] + name[inside]
    parent = host.forest.parent
    result = resolved.copy()
    for _ in range(_MAX_NESTING):
        rows = rows[np.isin(node[rows] + name[result[rows]], opened)]
        if not len(rows):
            break
        outer = parent[result[rows]]
        result[rows] = np.where(outer == NONE, NONE, resolved[outer])
        rows = rows[result[rows] != NONE]
    return result


def _forward_names(host: HostView) -> Ints:
    """Names of all rows, a recomputed module's by the name that it had in forward."""
    forward = {own.label: index for index, own in host.own_names.items() if own.kind == "module"}
    names = np.arange(len(host.names))
    for index, own in host.own_names.items():
        if own.kind == "recompute":
            names[index] = forward.get(own.label, index)
    return names[host.name] if len(host.name) else host.name


def _labels(host: HostView, kind: ScopeSource) -> dict[int, str]:
    """Name index -> label, for names that make a range of some kind a scope."""
    if kind is ScopeSource.PERFKIT:
        kinds = ("module", "recompute")
        modules = {index: own.label for index, own in host.own_names.items() if own.kind in kinds}
        phases = {index: own.label for index, own in host.own_names.items() if own.kind == "phase"}
        return modules and modules | {index: label for index, label in phases.items() if label in _PHASE_SCOPES}
    names = present(host.name[_right_kind(host, kind)])
    if kind is ScopeSource.MODULE:
        return {
            index: host.names[index].removeprefix(_MODULE_PREFIX)
            for index in names
            if host.names[index].startswith(_MODULE_PREFIX)
        }
    return {index: host.names[index] for index in names if not _NOT_SCOPES.match(host.names[index])}


def _right_kind(host: HostView, kind: ScopeSource) -> Bools:
    kinds = {
        ScopeSource.PERFKIT: [HostKind.ANNOTATION, HostKind.OP],
        ScopeSource.MODULE: [HostKind.PYTHON],
        ScopeSource.ANNOTATION: [HostKind.ANNOTATION],
    }
    return np.isin(host.kind, kinds[kind])


def _backward_only(host: HostView, links: Links, is_scope: Bools) -> Bools:
    """Scopes inside a backward node that are no recomputation: annotations of backward, which hide no forward scope.

    A scope in there counts if its name also occurs outside every node and if it holds a forward-type operation, or
    if, inside the same node, it stands in one (a recomputed part without gradient) or in a scope that counts.
    """
    inside = is_scope & (links.node != NONE)
    outside_names = np.zeros(len(host.names), dtype=bool)
    outside_names[host.name[is_scope & (links.node == NONE)]] = True
    holds_forward = np.zeros(len(is_scope), dtype=bool)
    scope = nearest(host.forest.parent, is_scope)
    above = strictly_above(host.forest.parent, scope)
    reached = np.unique(scope[np.flatnonzero(links.is_forward_op & (links.node != NONE))])
    while len(reached := reached[reached != NONE]):
        reached = reached[~holds_forward[reached]]
        holds_forward[reached] = True
        reached = np.unique(above[reached])
    operation = links.operation
    in_forward = (operation != NONE) & links.is_forward_op[operation] & (operation > links.node)
    eligible = inside & outside_names[host.name]
    counts = eligible & (holds_forward | in_forward)
    outer = nearest(host.forest.parent, counts)
    counts |= eligible & (outer > links.node)
    return inside & ~counts


def _plain_paths(host: HostView, rows: Ints, labels: dict[int, str]) -> tuple[Ints, list[str]]:
    """Where a scope's label is its whole path. Paths are numbered; rows that are no scope have NONE."""
    path = np.full(len(host.name), NONE, dtype=ROW)
    used, place = np.unique(host.name[rows], return_inverse=True)
    paths = list(dict.fromkeys(labels[int(index)] for index in used))
    numbers = {text: number for number, text in enumerate(paths)}
    path[rows] = np.array([numbers[labels[int(index)]] for index in used], dtype=np.int64)[place]
    return path, paths


def _joined_paths(
    host: HostView, links: Links, rows: Ints, scope: Ints, labels: dict[int, str]
) -> tuple[Ints, list[str]]:
    """Join nested names, level by level; a chain stops at a backward node, where a recomputed part begins.

    Ranges that are named as steps name only what is in no scope inside them.
    """
    above = strictly_above(host.forest.parent, scope)
    above = np.where(above > links.node, above, NONE)
    if host.step_source.is_named:  # a step is no part of the path of what it contains
        in_step = at(host.is_step, above, absent=False)
        above[in_step] = above[above[in_step]]
    is_scope = np.zeros(len(host.name), dtype=bool)
    is_scope[rows] = True
    level = depths(np.where(is_scope, above, NONE))[rows]
    levels = np.split(rows[np.argsort(level, kind="stable")], np.cumsum(np.bincount(level))[:-1])
    path = np.full(len(host.name), NONE, dtype=ROW)
    paths = _Numbered()
    for here in levels if len(rows) else ():
        outer = np.where(above[here] == NONE, NONE, path[above[here]])
        pairs, place = np.unique(np.stack((outer, host.name[here])), axis=1, return_inverse=True)
        numbers = [
            paths.number(labels[name] if front == NONE else _inside(paths.texts[front], labels[name]))
            for front, name in pairs.T.tolist()
        ]
        path[here] = np.array(numbers, dtype=np.int64)[place.reshape(-1)]
    return path, paths.texts


def _inside(front: str, label: str) -> str:
    path = front + SEPARATOR + label
    return path if len(path) <= LONGEST_PATH else front


def _mended_paths(links: Links, rows: Ints, resolved: Ints, path: Ints, texts: list[str]) -> tuple[Ints, list[str]]:
    """Rule 12: give a recomputed chain the front that it had in forward.

    The front comes from the scope of the operation that made the enclosing node; where that one is recomputed
    too (a checkpoint in a checkpoint), its own front comes first.
    """
    paths = _Numbered(texts)
    inside = links.node[rows] != NONE
    forward_paths = {texts[number] for number in np.unique(path[rows[~inside]]).tolist()}
    waiting = rows[inside]
    target = links.target[links.node[waiting]]
    origin = np.where(target == NONE, NONE, resolved[target])
    mended = path.copy()
    pending = np.zeros(len(path), dtype=bool)
    pending[waiting] = True
    while len(waiting):
        ready = ~at(pending, origin, absent=False)
        if not ready.any():  # each waits for another: a damaged file
            ready[:] = True
        here, front = waiting[ready], origin[ready]
        front = np.where(at(pending, front, absent=True), NONE, mended[front])
        pairs, place = np.unique(np.stack((front, path[here])), axis=1, return_inverse=True)
        numbers = [
            paths.number(_full_path("" if f == NONE else paths.texts[f], texts[chain], forward_paths))
            for f, chain in pairs.T.tolist()
        ]
        mended[here] = np.array(numbers, dtype=np.int64)[place.reshape(-1)]
        pending[here] = False
        waiting, origin = waiting[~ready], origin[~ready]
    return mended, paths.texts


class _Numbered:
    """Texts numbered in order of first use."""

    def __init__(self, texts: list[str] | None = None) -> None:
        self.texts = list(texts or ())
        self._numbers = {text: number for number, text in enumerate(self.texts)}

    def number(self, text: str) -> int:
        """The text's number, a new one at its first use."""
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number


def _full_path(origin: str, chain: str, forward_paths: set[str]) -> str:
    """The longest front of `origin` that makes `chain` a known forward path, else the only path that ends so."""
    fronts = accumulate(origin.split(SEPARATOR), lambda front, part: front + SEPARATOR + part) if origin else ()
    candidates: list[str] = [chain, *(front + SEPARATOR + chain for front in fronts)]
    if known_paths := [path for path in candidates if path in forward_paths]:
        return known_paths[-1]
    endings = [known for known in forward_paths if known.endswith(SEPARATOR + chain)]
    return endings[0] if len(endings) == 1 else chain
