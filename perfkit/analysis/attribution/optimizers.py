"""Scopes of what optimizers do, which runs outside every module (rule 11 of docs/attribution.md)."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, at, nearest
from perfkit.analysis.attribution.links import Links, in_closure
from perfkit.analysis.attribution.scopes import How, Scopes
from perfkit.schema import range_names

_PHASES = (range_names.phase("optimizer"), range_names.phase("zero_grad"))
_STARTS = {"Optimizer.step": "optimizer", "Optimizer.zero_grad": "zero_grad"}
"""How the names of torch.profiler's own ranges begin."""


def with_optimizers(host: HostView, links: Links, scopes: Scopes) -> Scopes:
    """Give what stands directly in an optimizer's range its scope: the module whose parameter is updated, where
    perfkit's range says so; else, only for what has no other scope in there, `optimizer` or `zero_grad`.

    A forward operation, a backward node or a scope inside the range is no work of the optimizer's: a closure's.
    """
    labels = _labels(host)
    if not labels:
        return scopes
    named = np.zeros(len(host.names), dtype=bool)
    named[list(labels)] = True
    own = nearest(host.forest.parent, named[host.name])
    closure = np.where(in_closure(host, links, own), links.operation, NONE)
    direct = (own != NONE) & (links.node <= own) & (closure <= own) & (scopes.scope <= own)
    outside = (scopes.how == How.ANNOTATION) & (at(own, scopes.resolved, absent=NONE) != own)  # round the whole step
    rows = np.flatnonzero(direct & (host.own("update")[own] | (scopes.resolved == NONE) | outside))
    if not len(rows):
        return scopes
    numbers = {text: number for number, text in enumerate(scopes.paths)}
    used, place = np.unique(host.name[own[rows]], return_inverse=True)
    codes = [numbers.setdefault(labels[int(index)], len(numbers)) for index in used]
    resolved, how, path = scopes.resolved.copy(), scopes.how.copy(), scopes.path.copy()
    resolved[rows], how[rows] = own[rows], How.OPTIMIZER
    path[own[rows]] = np.array(codes, dtype=path.dtype)[place]
    return replace(scopes, resolved=resolved, how=how, path=path, paths=tuple(numbers))


def _labels(host: HostView) -> dict[int, str]:
    """Name index -> scope, for the names of optimizers' ranges."""
    own = {i: name.label for i, name in host.own_names.items() if name.kind == "update" or name in _PHASES}
    starts = ((i, start) for i in host.present_names for start in _STARTS if host.names[i].startswith(start))
    return own | {i: _STARTS[start] for i, start in starts}
