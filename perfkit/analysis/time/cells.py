"""Cells: the rows of an account, with equal rows added up. Nearly every table of a trace is a grouping of them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, pair_keys
from perfkit.analysis.attribution.scopes import How, ScopeSource
from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.categories import category
from perfkit.analysis.kernels.copies import direction
from perfkit.analysis.time.account import Account, is_operator, scope_numbers
from perfkit.analysis.time.partial import Fold, Partial, Rows, columns_of
from perfkit.schema.range_names import HOOKS
from perfkit.trace.columns import DeviceKind

REASONS = {
    "outside": "outside every scope",
    "unlinked": "in backward nodes that link to no forward operation in the file",
    "engine": "in backward between nodes: the autograd engine itself, or code it calls outside them",
    "nodeless": "in backward, on threads where the file has no autograd nodes, which would name the modules",
    "hooks": "perfkit's own search for the nodes that get backward ranges",
    "unlaunched": "launched before recording began, or its launch was not recorded",
    "unscoped": "in backward nodes made by a forward operation outside every scope",
}
"""Why time has no scope. The cells' `reason` counts in it."""

_REASONS = {reason: number for number, reason in enumerate(REASONS)}
_CATEGORIES = {kind: number for number, kind in enumerate(kinds.ALL)}


class Work(IntEnum):
    """What a row is."""

    KERNEL = DeviceKind.KERNEL
    MEMCPY = DeviceKind.MEMCPY
    MEMSET = DeviceKind.MEMSET
    OPERATOR = 3
    """Self time of an operator, on the host."""
    BETWEEN = 4
    """Self time of any other host range."""


def _rows(account: Account) -> Rows:
    steps = np.full(len(account.attribution.steps) + 1, NONE, dtype=np.int64)
    steps[list(account.steps)] = np.arange(len(account.steps))  # the last element belongs to NONE
    return {
        "name": account.name,
        "operator": account.operator,
        "phase": account.phase,
        "path": account.path_or_label,
        "step": steps[account.step],
        "reason": _reason(account),
        "work": _work(account),
        "device": account.device,
        "count": account.is_counted.astype(np.int64),
        "total_ns": account.total,
        "exclusive_ns": account.exclusive,
        "scoped_ns": np.where(_is_scoped(account), account.total, 0),
        "min_ns": account.total,
        "max_ns": account.total,
        "bytes": np.maximum(account.trace.device.bytes[account.row], 0) if account.on_device else account.total * 0,
    }


_KEYS = ("name", "operator", "phase", "path", "reason", "work", "device")
BY_STEP = Fold(
    "by step",
    _rows,
    keys=(*_KEYS, "step"),
    measures={
        "count": "sum",
        "total_ns": "sum",
        "exclusive_ns": "sum",
        "scoped_ns": "sum",
        "min_ns": "min",
        "max_ns": "max",
        "bytes": "sum",
    },
    texts={"name": "names", "operator": "names", "path": "paths", "device": "device_labels"},
    is_counted=True,
)
"""One row for each name, operator, phase, scope, reason for having no scope, kind of work, device, and step."""
CELLS = Fold(
    "cells",
    lambda account: columns_of(account.partial.of(BY_STEP)),
    _KEYS,
    BY_STEP.measures,
    BY_STEP.texts,
    is_counted=True,
)
"""The same without the steps: few, however many steps there are."""


def _work(account: Account) -> Ints:
    if account.on_device:
        return account.trace.device.kind[account.row]
    return np.where(is_operator(account.attribution)[account.row], Work.OPERATOR, Work.BETWEEN)


def _reason(account: Account) -> Ints:
    """Why each row has no scope; NONE where it has one, or needs none."""
    backward = (account.phase == Phase.BACKWARD) | (account.phase == Phase.RECOMPUTE)
    is_linked = np.isin(account.how, (How.SEQUENCE, How.ACCUMULATE, How.GUESSED))
    between = backward & _has_nodes(account)
    conditions = [
        account.how == How.UNLAUNCHED, is_linked, backward & account.in_node, between, backward, _in_hooks(account),
    ]  # fmt: skip
    names = ("unlaunched", "unscoped", "unlinked", "engine", "nodeless", "hooks")
    reasons = [_REASONS[reason] for reason in names]
    return np.where(account.unattributed, np.select(conditions, reasons, default=_REASONS["outside"]), NONE)


def _has_nodes(account: Account) -> Bools:
    """Rows on threads that run backward nodes."""
    host, links = account.attribution.host, account.attribution.links
    place = account.place
    if account.on_device:  # a call outside every range has a thread, too
        place = np.where(place == NONE, account.attribution.events.launch[account.row], place)
    threads = at(host.thread, place, absent=NONE)
    return np.isin(threads, host.thread[links.is_node])


def _is_scoped(account: Account) -> Bools:
    """Launched device work with a scope, communication aside.

    An optimizer's range that is no scope of the recording's own kind names what runs, not a part of the program.
    """
    if not account.on_device:
        return np.zeros(len(account), dtype=bool)
    counts: Bools = (account.path != NONE) & ~np.isin(account.phase, (Phase.COMMUNICATION, Phase.UNLAUNCHED))
    own = account.attribution.scope_source is ScopeSource.PERFKIT
    return counts if own else counts & (account.how != How.OPTIMIZER)


def _in_hooks(account: Account) -> Bools:
    """Host rows in perfkit's search for backward nodes, which launches nothing."""
    if account.on_device:
        return np.zeros(len(account), dtype=bool)
    return account.attribution.host.in_phase(HOOKS.label)[account.row]


def unattributed(partial: Partial) -> dict[str, int]:
    """Why time has no scope: reason -> ns, longest first. The reasons add up to the unattributed time."""
    cells = partial.of(CELLS)
    rest = cells[cells["reason"] != NONE].groupby("reason")["total_ns"].sum()
    times = {reason: int(rest.get(number, 0)) for reason, number in _REASONS.items() if rest.get(number, 0)}
    return dict(sorted(times.items(), key=lambda item: (-item[1], item[0])))


def scopes_of(partial: Partial, cells: pd.DataFrame) -> tuple[Ints, Any]:
    """The scope of cells, as an index into texts, and the texts: every path, and the two rest rows last."""
    paths = partial.facts.paths
    number = scope_numbers(cells["path"].to_numpy(), cells["phase"].to_numpy(), len(paths))
    return number, np.array((*paths, UNATTRIBUTED, COMMUNICATION), dtype=object)


def categories(partial: Partial, cells: pd.DataFrame) -> Ints:
    """Category of cells, as an index into kinds.ALL: of kernels by operator and name, of copies by direction."""
    if not len(cells):
        return np.empty(0, dtype=np.int64)
    name, operator, work = (cells[key].to_numpy() for key in ("name", "operator", "work"))
    in_optimizer = cells["phase"].to_numpy() == Phase.OPTIMIZER
    _, first, place = np.unique(pair_keys(name, operator, in_optimizer), return_index=True, return_inverse=True)
    names = partial.facts.names
    by_key = [
        category(
            names[name[row]],
            names[operator[row]] if operator[row] != NONE else None,
            in_optimizer=bool(in_optimizer[row]),
        )
        for row in first
    ]
    per_cell = np.array([_CATEGORIES[kind] for kind in by_key], dtype=np.int64)[place]
    copied = np.flatnonzero(work == Work.MEMCPY)
    per_cell[copied] = [_CATEGORIES[direction(names[index])] for index in name[copied]]
    per_cell[work == Work.MEMSET] = _CATEGORIES[kinds.MEMSET]
    per_cell[work == Work.BETWEEN] = _CATEGORIES[kinds.HOST]
    return per_cell
