"""Scopes of the nodes of CUDA graphs, which the launch of a graph does not have (docs/attribution.md, CUDA graphs)."""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analysis.attribution.captures import Replays
from perfkit.analysis.attribution.intervals import Bools, Ints
from perfkit.analysis.attribution.scopes import How
from perfkit.regex import Regex
from perfkit.schema import range_names
from perfkit.trace.columns import MISSING, Trace

_OF_A_LAYER = Regex(r"(\w+\.)+\d+(\.\w+)*")
"""A qualified module name with a number in it, as in layers.0.attn."""


class Scoped(msgspec.Struct, frozen=True):
    """Scopes of device events: path is an index into paths, NONE for none; how says where it is from (How)."""

    path: Ints
    how: Ints
    paths: tuple[str, ...]

    def moved(self, rows: Ints, texts: list[str], how: How) -> Scoped:
        """With the scopes of some rows replaced by those of these names."""
        numbers = {text: number for number, text in enumerate(self.paths)}
        path, hows = self.path.copy(), self.how.copy()
        path[rows] = [numbers.setdefault(text, len(numbers)) for text in texts]
        hows[rows] = how
        return Scoped(path, hows, tuple(numbers))


def by_annotation(trace: Trace, scoped: Scoped, movable: Bools) -> Scoped:
    """Move nodes to the scope that PyTorch noted at capture, and wrote into the file."""
    annotation = trace.device.annotation
    noted = np.flatnonzero((annotation != MISSING) & movable)
    if not len(noted):
        return scoped
    names = {index: _scope(trace.names[index]) for index in np.unique(annotation[noted]).tolist()}
    return scoped.moved(noted, [names[index] for index in annotation[noted].tolist()], How.GRAPH)


def _scope(annotation: str) -> str:
    own = range_names.parse_trace(annotation)
    return own.label if own else annotation


def names_modules(trace: Trace) -> bool:
    """Whether the annotations are qualified module names: layers.0.attn and the like."""
    annotation = trace.device.annotation
    return any(_OF_A_LAYER.fullmatch(trace.names[index]) for index in np.unique(annotation[annotation != MISSING]))


def by_capture(scoped: Scoped, replays: Replays, movable: Bools) -> Scoped:
    """Move nodes to the scope of their launch in the trace of the capture."""
    rows = [row for row, text in enumerate(replays.scope) if text and movable[row]]
    return scoped.moved(np.array(rows, dtype=np.int64), [replays.scope[row] or "" for row in rows], How.GRAPH)
