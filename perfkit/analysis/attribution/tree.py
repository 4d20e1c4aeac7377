"""Names of module frames by the model's tree, and whether the trace contradicts it (rule 12 of docs/attribution.md)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, nearest, strictly_above


class Fit(msgspec.Struct, frozen=True):
    """How a tree names the frames of a trace."""

    labels: dict[int, str] = msgspec.field(default_factory=dict)
    """Name index -> path. Empty where the tree is not used."""
    problem: str = ""
    """What speaks against the tree, or against some of the names, in words; empty for nothing."""


def fit(host: HostView, frames: Mapping[int, str], is_frame: Bools, node: Ints, modules: Mapping[str, str]) -> Fit:
    """Qualified names for `Linear_7`: the eighth of its class in the tree.

    `frames`: name index -> class and counter, of the rows `is_frame`. `node`: nearest backward node of each row.
    """
    if not modules:
        return Fit()
    if not frames:
        return Fit(problem="the trace has no module frames that it could name")
    labels = {index: path for index, label in frames.items() if (path := _in_order(label, modules)) is not None}
    if strange := sorted(frames[index] for index in frames.keys() - labels.keys()):
        number = (
            f"{len(strange):,} module frames of the trace are" if len(strange) > 1 else "a module frame of the trace is"
        )
        return Fit(problem=f"{number} not in it: {strange[0]}")
    if swapped := _out_of_place(host, labels, is_frame, node, modules):
        return Fit(problem=f"modules are called in another order than it has them: {swapped}")
    return Fit(labels, _left_out(labels, modules))


def _in_order(label: str, modules: Mapping[str, str]) -> str | None:
    """The path of `Linear_7`; None where the tree has none."""
    name, _, number = label.rpartition("_")
    paths = [path for path, of in modules.items() if of == name]
    return paths[int(number)] if number.isdecimal() and int(number) < len(paths) else None


def _out_of_place(
    host: HostView, labels: Mapping[int, str], is_frame: Bools, node: Ints, modules: Mapping[str, str]
) -> str:
    """Say which frame ran where the tree has another module of its class, which itself ran elsewhere; empty for none.

    A module that is used outside its parent, such as a shared embedding, takes nobody's place and is no such sign.
    """
    root = next(iter(modules))
    called = set(labels.values())
    callers: dict[str, set[str]] = defaultdict(set)
    for outer, inner in _calls(host, is_frame, node):
        callers[labels[inner]].add(labels.get(outer, ""))
    homes = {path: _home(path, called, root) for path in called}
    absent = {(modules[path], homes[path]) for path in called if homes[path] not in callers[path]}
    for path in sorted(called):
        for caller in sorted(callers[path] - {homes[path]}):
            if (modules[path], caller) in absent:
                return f"{path} would run inside {caller or 'no other module'}"
    return ""


def _calls(host: HostView, is_frame: Bools, node: Ints) -> list[tuple[int, int]]:
    """Pairs of names, a frame's nearest outer frame and its own; NONE for outermost ones, as in a node."""
    above = strictly_above(host.forest.parent, nearest(host.forest.parent, is_frame))
    rows = np.flatnonzero(is_frame & (node == NONE))
    outer = np.where(above[rows] == NONE, NONE, host.name[above[rows]])
    pairs: list[tuple[int, int]] = np.unique(np.stack((outer, host.name[rows])), axis=1).T.tolist()
    return pairs


def _home(path: str, called: set[str], root: str) -> str:
    """The module that calls this one by the tree: the nearest above it that is called at all; empty for none."""
    while path:
        path = path.rpartition(".")[0]
        if path in called:
            return path
    return root if root in called else ""


def _left_out(labels: Mapping[int, str], modules: Mapping[str, str]) -> str:
    """Say of which classes only some modules were called, so that the counter may be that of a later one."""
    here, there = Counter(modules[path] for path in labels.values()), Counter(modules.values())
    partly = [f"{count:,} of {there[name]:,} {name}" for name, count in sorted(here.items()) if count < there[name]]
    if not partly:
        return ""
    return f"the trace has {', '.join(partly)}: if one before the last was not called, names after it are shifted"
