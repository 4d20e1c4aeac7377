"""Outermost modules: what runs in each, and whether several models share the names of their modules.

`annotate(model)` names modules from the model's root on, and the root by its class, so that the root's name is no front
of the others'. Two models annotated so have names in common; `annotate(model, root="G")` keeps them apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, nearest, strictly_above
from perfkit.analysis.attribution.links import Links
from perfkit.trace.columns import HostKind


class Roots(msgspec.Struct, frozen=True):
    """What is known of the outermost modules of a trace with qualified names."""

    inside: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Outermost module -> modules that run in it although their names do not begin with its own."""
    shared: tuple[str, ...] = ()
    """Names that belong to modules of several models, as far as the trace shows it."""


def find_roots(host: HostView, links: Links, is_module: Bools, path: Ints, paths: tuple[str, ...]) -> Roots:
    """`is_module`: ranges of modules; `path`: index of their names in `paths`."""
    module = nearest(host.forest.parent, is_module)
    is_top = is_module & (strictly_above(host.forest.parent, module) == NONE) & (links.node == NONE)
    top = nearest(host.forest.parent, is_top)
    rows = np.flatnonzero(is_module & (top != NONE))
    pairs = np.unique(np.stack((path[top[rows]], path[rows])), axis=1)
    inside: dict[str, list[str]] = defaultdict(list)
    for outer, inner in pairs.T.tolist():
        if outer != inner and not paths[inner].startswith(paths[outer] + "."):
            inside[paths[outer]].append(paths[inner])
    runs = np.unique(np.stack((path[rows], top[rows])), axis=1)  # a column for each module in each run of a root
    runs = runs[:, np.isin(runs[1], _runs_of_two_models(host, links, module, top, path))]
    number, count = np.unique(runs[0], return_counts=True)
    names = _in_two(inside) | {paths[index] for index in number[count > 1]}
    return Roots({root: tuple(sorted(inner)) for root, inner in inside.items()}, tuple(sorted(names)))


def _in_two(inside: Mapping[str, list[str]]) -> set[str]:
    """Modules in two models: in two outermost modules of which neither is a part of the other."""
    roots = {root: set(names) for root, names in inside.items()}
    first: dict[str, str] = {}
    shared = set()
    for root, names in roots.items():
        for name in names - roots.keys():
            other = first.setdefault(name, root)
            if other != root and root not in roots[other] and other not in names:
                shared.add(name)
    return shared


def _runs_of_two_models(host: HostView, links: Links, module: Ints, top: Ints, path: Ints) -> Ints:
    """Runs of outermost modules for which one backward pass accumulates gradients of a module of the same name.

    The engine accumulates a parameter's gradient once a pass, after the last node that adds to it. So in one model that
    was called twice, all of a module's accumulations follow nodes of one call.
    """
    accumulations = np.flatnonzero(links.by_accumulation & (links.target != NONE))
    accumulations = accumulations[host.forest.parent[accumulations] == NONE]
    target = links.target[accumulations]
    of = at(path, module[target], absent=NONE)
    known = (of != NONE) & (top[target] != NONE)
    each = np.stack((of, _backward_passes(host, links)[accumulations], top[target]))[:, known]
    each = np.unique(each, axis=1)
    _, place, runs = np.unique(each[:2], axis=1, return_inverse=True, return_counts=True)
    return np.unique(each[2, runs[place.reshape(-1)] > 1])


def _backward_passes(host: HostView, links: Links) -> Ints:
    """Number of the backward pass of each row: another one after an operator outside every node, or a larger number.

    Within a pass the engine runs nodes in descending order of their sequence numbers.
    """
    outside = np.sort(host.start[(host.kind == HostKind.OP) & (links.node == NONE)])
    nodes = np.flatnonzero(links.is_node & (host.forest.parent == NONE) & (host.sequence >= 0))
    same = host.thread[nodes][1:] == host.thread[nodes][:-1]
    larger = nodes[1:][~same | (host.sequence[nodes][1:] > host.sequence[nodes][:-1])]
    begins = np.zeros(len(host.name), dtype=np.int64)
    begins[larger] = 1
    passes: Ints = np.cumsum(begins) + np.searchsorted(outside, host.start, side="right") * (len(begins) + 1)
    return passes
