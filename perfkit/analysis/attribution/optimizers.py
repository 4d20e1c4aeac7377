"""Scopes of what optimizers do, which runs outside every module (rule 11 of docs/attribution.md)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.attribution.links import Links
from perfkit.analysis.attribution.scopes import How, Scopes


def with_optimizers(host: HostView, links: Links, scopes: Scopes) -> Scopes:
    """Give what stands directly in an optimizer's range its scope: the module whose parameter is updated, where
    perfkit's range says so; else, only for what has no other scope, `optimizer` or `zero_grad`.

    A forward operation, a backward node or a scope inside the range is no work of the optimizer's: a closure's.
    """
    own = host.optimizer
    direct = (own != NONE) & (links.node <= own) & (links.operation <= own) & (scopes.scope <= own)
    rows = np.flatnonzero(direct & (host.own("update")[own] | (scopes.resolved == NONE)))
    if not len(rows):
        return scopes
    numbers = {text: number for number, text in enumerate(scopes.paths)}
    used, place = np.unique(host.name[own[rows]], return_inverse=True)
    codes = [numbers.setdefault(_label(host, int(index)), len(numbers)) for index in used]
    resolved, how, path = scopes.resolved.copy(), scopes.how.copy(), scopes.path.copy()
    resolved[rows], how[rows] = own[rows], How.OPTIMIZER
    path[own[rows]] = np.array(codes, dtype=path.dtype)[place]
    return replace(scopes, resolved=resolved, how=how, path=path, paths=tuple(numbers))


def _label(host: HostView, index: int) -> str:
    own = host.own_names.get(index)
    if own is not None:
        return own.label
    return "zero_grad" if host.names[index].startswith("Optimizer.zero_grad") else "optimizer"
