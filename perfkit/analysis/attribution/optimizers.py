"""Scopes of what optimizers do, which runs outside every module (rule 11 of docs/attribution.md)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, nearest
from perfkit.analysis.attribution.links import Links, in_closure
from perfkit.analysis.attribution.scopes import How, Scopes
from perfkit.schema import range_names

_PHASES = (range_names.phase("optimizer"), range_names.phase("zero_grad"))
_STARTS = {"Optimizer.step": "optimizer", "Optimizer.zero_grad": "zero_grad"}
"""How the names of torch.profiler's own ranges begin."""


def with_optimizers(host: HostView, links: Links, scopes: Scopes) -> Scopes:
    """Give what stands directly in an optimizer's range its scope: the module whose parameter is updated, where
    perfkit's range says so; else, only for what has no other scope, `optimizer` or `zero_grad`.

    A forward operation, a backward node or a scope inside the range is no work of the optimizer's: a closure's.
    """
    own = nearest(host.forest.parent, host.matching(lambda name: _label(name) is not None))
    closure = np.where(in_closure(host, links, own), links.operation, NONE)
    direct = (own != NONE) & (links.node <= own) & (closure <= own) & (scopes.scope <= own)
    rows = np.flatnonzero(direct & (host.own("update")[own] | (scopes.resolved == NONE)))
    if not len(rows):
        return scopes
    numbers = {text: number for number, text in enumerate(scopes.paths)}
    used, place = np.unique(host.name[own[rows]], return_inverse=True)
    codes = [numbers.setdefault(_label(host.names[index]) or "", len(numbers)) for index in used]
    resolved, how, path = scopes.resolved.copy(), scopes.how.copy(), scopes.path.copy()
    resolved[rows], how[rows] = own[rows], How.OPTIMIZER
    path[own[rows]] = np.array(codes, dtype=path.dtype)[place]
    return replace(scopes, resolved=resolved, how=how, path=path, paths=tuple(numbers))


def _label(text: str) -> str | None:
    """The scope of an optimizer's range; None for any other range."""
    own = range_names.parse_trace(text)
    if own is not None:
        return own.label if own.kind == "update" or own in _PHASES else None
    return next((label for start, label in _STARTS.items() if text.startswith(start)), None)
