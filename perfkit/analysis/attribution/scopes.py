"""Scopes: the ranges that stand for modules, and the path of each (rules 9, 11 and 12 of docs/attribution.md)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, auto

import msgspec
import numpy as np
from msgspec.structs import replace

from perfkit.analysis.attribution.host_view import HostView, present
from perfkit.analysis.attribution.intervals import NONE, ROW, Bools, Ints, nearest, strictly_above
from perfkit.analysis.attribution.links import Links, run_again
from perfkit.analysis.attribution.paths import Numbered, joined_paths, mended_paths, plain_paths
from perfkit.analysis.attribution.roots import Roots, find_roots
from perfkit.analysis.attribution.tree import Fit, fit
from perfkit.analysis.attribution.user_ranges import is_of_user
from perfkit.trace.columns import HostKind

_MODULE_PREFIX = "nn.Module: "
_MAX_HOPS = 8
"""Backward of backward of a checkpoint inside a checkpoint takes four; more means a cycle in a damaged file."""

_MAX_NESTING = 64
"""Scopes inside each other that are looked through for the one that called a checkpoint."""

_PHASE_SCOPES = ("loss",)
"""Phases of perfkit's step that run outside every module and so are scopes of their own (optimizers: optimizers.py)."""


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
    GUESSED = auto()
    """Through a backward node whose own number tells nothing, to the operation that the numbers next to it tell."""
    PIECE = auto()
    """A piece of a piecewise CUDA graph, or what runs between two: by its place in the order of launches."""
    ANNOTATION = auto()
    """Outside every module: by the user's annotations that it stands in, or that the node's operation stands in."""
    OPTIMIZER = auto()
    """Directly in an optimizer's range, which is no scope of the recording's own kind."""


class Naming(msgspec.Struct, frozen=True):
    """What is known of the names of a trace's scopes."""

    annotations: frozenset[str] = frozenset()
    """Paths, always joined ones, of annotations that are scopes beside those of a better kind."""
    tree_problem: str = ""
    """What speaks against the given tree, in words; empty where nothing does, or no tree was given."""
    roots: Roots = Roots()


class Scopes(msgspec.Struct, frozen=True):
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
    naming: Naming = Naming()


def find_scopes(host: HostView, links: Links, source: object, modules: Mapping[str, str]) -> Scopes:
    """Choose the scope ranges and name them. `source` is a ScopeSource, or "auto" for the first kind the file has.

    `modules` is the model's tree, path -> class in the order of first calls; empty where it is not known.
    """
    kind = source if isinstance(source, ScopeSource) else _best_source(host)
    labels = _labels(host, kind)
    tree = _fit(host, links, kind, labels, modules)
    qualified = kind is ScopeSource.PERFKIT or bool(tree.labels)
    scopes = _scopes_of(host, links, kind, tree.labels or labels, qualified=qualified)
    roots = Roots()
    if qualified:
        roots = find_roots(host, links, _is_module(host, kind) & (scopes.path != NONE), scopes.path, scopes.paths)
    scopes = scopes if kind is ScopeSource.ANNOTATION else _with_annotations(host, links, scopes)
    return replace(scopes, naming=replace(scopes.naming, tree_problem=tree.problem, roots=roots))


def _is_module(host: HostView, kind: ScopeSource) -> Bools:
    """Of scopes, those that are a module's forward: no phases, no marks, and nothing that runs again."""
    return host.own("module") if kind is ScopeSource.PERFKIT else _right_kind(host, kind)


def _fit(host: HostView, links: Links, kind: ScopeSource, labels: dict[int, str], modules: Mapping[str, str]) -> Fit:
    """Names by the tree for module frames; perfkit's ranges have theirs."""
    if kind is ScopeSource.PERFKIT:
        return Fit()
    frames = labels if kind is ScopeSource.MODULE else {}
    return fit(host, frames, _is_scope(host, kind, frames), links.node, modules)


def _is_scope(host: HostView, kind: ScopeSource, labels: dict[int, str]) -> Bools:
    usable = np.zeros(len(host.names), dtype=bool)
    usable[list(labels)] = True
    return usable[host.name] & ~host.is_runtime & _right_kind(host, kind)


def _scopes_of(host: HostView, links: Links, kind: ScopeSource, labels: dict[int, str], *, qualified: bool) -> Scopes:
    """The scopes of one kind alone."""
    is_scope = _is_scope(host, kind, labels)
    if kind is ScopeSource.ANNOTATION:  # a module's range, by contrast, is opened only by its forward
        is_scope &= ~_backward_only(host, links, is_scope)
    scope = nearest(host.forest.parent, is_scope)
    owner = links.owner if kind is ScopeSource.PERFKIT else np.full(len(scope), NONE, dtype=ROW)
    resolved, how = resolve(links, scope, owner)
    resolved = _around_checkpoint(host, links, is_scope, scope, resolved)
    rows = np.flatnonzero(is_scope)
    if qualified:
        marks = {index: own.label for index, own in host.own_names.items() if own.kind in ("grad", "backward")}
        path, paths = plain_paths(host, np.union1d(rows, owner[owner != NONE]), labels | marks)
    else:
        path, paths = joined_paths(host, links, rows, scope, labels)
        path, paths = mended_paths(links, rows, resolved, path, paths)
    return Scopes(kind, scope, resolved, how, path, tuple(paths), qualified)


def _with_annotations(host: HostView, links: Links, scopes: Scopes) -> Scopes:
    """Rule 9: what is outside every scope has the user's annotations that it stands in, if any; rule 11 holds there."""
    bare = scopes.resolved == NONE
    labels = _labels(host, ScopeSource.ANNOTATION)
    if not labels or not bare.any():
        return scopes
    found = _scopes_of(host, links, ScopeSource.ANNOTATION, labels, qualified=False)
    taken = bare & (found.resolved != NONE)
    paths = Numbered(list(scopes.paths))
    number = np.array([paths.number(text) for text in found.paths], dtype=ROW)
    rows = np.flatnonzero(found.path != NONE)  # no range is a scope of both kinds
    path = scopes.path.copy()
    path[rows] = number[found.path[rows]]
    return replace(
        scopes,
        resolved=np.where(taken, found.resolved, scopes.resolved),
        how=np.where(taken, How.ANNOTATION, scopes.how),
        path=path,
        paths=tuple(paths.texts),
        naming=replace(scopes.naming, annotations=frozenset(found.paths) - frozenset(scopes.paths)),
    )


def _best_source(host: HostView) -> ScopeSource:
    """The first kind that the file has any ranges of; the last kind where it has none."""
    return next((kind for kind in ScopeSource if _labels(host, kind)), ScopeSource.ANNOTATION)


def resolve(links: Links, scope: Ints, owner: Ints) -> tuple[Ints, Ints]:
    """Rule 11: the scope inside the nearest backward node, else the scope of the operation that made the node.

    A gradient's accumulation takes the scope of its mark, where it has one; a node without a link that of its range.
    """
    if not links.is_node.any():
        return scope, np.where(scope == NONE, np.uint8(How.NONE), np.uint8(How.SCOPE))
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
            by_number = np.where(links.guessed[node[going]], How.GUESSED, How.SEQUENCE)
            how[waiting[going]] = np.where(links.by_accumulation[node[going]], How.ACCUMULATE, by_number)
        here[waiting[going]] = target[going]
        waiting = waiting[going]
    return resolved, how


def _around_checkpoint(host: HostView, links: Links, is_scope: Bools, scope: Ints, resolved: Ints) -> Ints:
    """Rule 11 for recomputed work outside the scopes that open again with it: part of a checkpointed plain function.

    The node that it runs in is only the first that asked for a tensor. Of that node's scope and those around it, the
    nearest that does not open again inside the node is the one that called the checkpoint.
    """
    inside = np.flatnonzero(is_scope & (links.node != NONE))
    if not len(inside):
        return resolved
    bare = run_again(host, links) & (scope <= links.node)
    rows = np.flatnonzero(bare & (resolved != NONE))
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
    return {index: host.names[index] for index in names if is_of_user(host.names[index])}


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
    if not inside.any():
        return inside
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
