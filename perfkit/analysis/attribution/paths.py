"""Paths of scopes: whole labels, or the labels of nested scopes joined (rule 12 of docs/attribution.md)."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from perfkit.analysis.attribution.host_view import HostView
from perfkit.analysis.attribution.intervals import NONE, ROW, Ints, at, depths
from perfkit.analysis.attribution.links import Links

SEPARATOR = "/"
"""Joins the names of nested foreign scopes. perfkit's own names are whole paths already."""

LONGEST_PATH = 4096
"""Characters of a path of joined names, where those of models have hundreds: what is nested deeper belongs to the scope
around it. Otherwise ranges nested 10,000 deep would have a GiB of paths."""


def plain_paths(host: HostView, rows: Ints, labels: dict[int, str]) -> tuple[Ints, list[str]]:
    """Where a scope's label is its whole path. Paths are numbered; rows that are no scope have NONE."""
    path = np.full(len(host.name), NONE, dtype=ROW)
    used, place = np.unique(host.name[rows], return_inverse=True)
    paths = list(dict.fromkeys(labels[int(index)] for index in used))
    numbers = {text: number for number, text in enumerate(paths)}
    path[rows] = np.array([numbers[labels[int(index)]] for index in used], dtype=np.int64)[place]
    return path, paths


def joined_paths(
    host: HostView, links: Links, rows: Ints, scope: Ints, labels: dict[int, str]
) -> tuple[Ints, list[str]]:
    """Join nested names, level by level; a chain stops at a backward node, where a recomputed part begins.

    Ranges that are named as steps name only what is in no scope inside them.
    """
    outer = at(scope, host.forest.parent[rows], absent=NONE)
    above = np.full(len(scope), NONE, dtype=ROW)
    above[rows] = np.where(outer > links.node[rows], outer, NONE)
    if host.step_source.is_named:
        in_step = rows[at(host.is_step, above[rows], absent=False)]
        above[in_step] = above[above[in_step]]
    level = depths(above)[rows]
    levels = np.split(rows[np.argsort(level, kind="stable")], np.cumsum(np.bincount(level))[:-1])
    path = np.full(len(host.name), NONE, dtype=ROW)
    paths = Numbered()
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


def mended_paths(links: Links, rows: Ints, resolved: Ints, path: Ints, texts: list[str]) -> tuple[Ints, list[str]]:
    """Rule 12: give a recomputed chain the front that it had in forward.

    The front comes from the scope of the operation that made the enclosing node; where that one is recomputed
    too (a checkpoint in a checkpoint), its own front comes first.
    """
    paths = Numbered(texts)
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


class Numbered:
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
