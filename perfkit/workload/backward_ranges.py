"""Ranges around the backward nodes that each module's forward made, by hooks on autograd's nodes.

Autograd runs backward on its own threads (on CUDA), where only the node itself tells which module made it. A node
carries the value that its forward thread's counter had when the node was made, and this module reads that counter
whenever a module begins or ends. So when the outermost module has ended, one walk over the graph from its outputs
finds every new node and its innermost module, and adds two hooks that open and close a range wherever it runs.

The walk stops at nodes older than the outermost module and at nodes that it has visited, so it visits each once.
Nothing here keeps a node or a tensor alive: hooks hold the range, a node's own dictionary holds the mark "met".

PyTorch frees a chain of nodes that Python has seen recursively, on the C++ stack: a stack of 8 MiB overflows at
between 40,000 and 60,000 nodes (2.13), which ends the process. So the walk goes no deeper than MAX_DEPTH.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import threading
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

_MET = "perfkit"
"""Key in a node's dictionary (`Node.metadata`, kept as long as the node is): the last walk that visited it."""
_UNNUMBERED = 2**64 - 1
"""The sequence number of gradient accumulation, which belongs to a parameter and not to a place in the forward."""

MAX_DEPTH = 10_000
"""Longest chain of live nodes with ranges, over all live graphs. A transformer has some 60 a layer."""

_next_number = torch._C._autograd._get_sequence_nr


class Maker(Protocol):
    """The module whose forward made a node: opens and closes the node's range."""

    def open(self, *_: Any) -> None:
        """Hook before the node."""

    def close(self, *_: Any) -> None:
        """Hook after the node."""


class _Log(threading.local):
    """Which module ran on this thread from which value of its counter on, since the outermost module began."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.makers: list[Maker | None] = []


_log = _Log()


class Nodes:
    """Finds and hooks the nodes of the modules whose begin and end are reported to it."""

    def __init__(self) -> None:
        self.active = True
        """False once the annotation is removed: hooks on nodes that are still alive then do nothing."""
        self.opened = 0
        """Ranges opened so far."""
        self.owners: Any = WeakIdKeyDictionary()
        """Parameter -> Maker of its module."""
        self.depth = 0
        """Bound on the length of any chain of live hooked nodes."""
        self._lasting = _Walk(self)
        """Mark of gradient accumulations, which may outlive the graph."""

    def __reduce__(self) -> tuple[type[Nodes], tuple[()]]:
        return Nodes, ()  # the owners are parameters of the original

    def begin(self, maker: Maker, *, outermost: bool) -> None:
        """From now on `maker` makes the nodes of this thread. Outermost: discard what was noted before."""
        if outermost:
            _log.numbers.clear()
            _log.makers.clear()
        _log.numbers.append(_next_number())
        _log.makers.append(maker)

    def end(self, outer: Maker | None) -> None:
        """From now on `outer` makes the nodes again; None for no module."""
        _log.numbers.append(_next_number())
        _log.makers.append(outer)

    def hook(self, outputs: object) -> None:
        """Hook every node behind the tensors in `outputs` that was made since the outermost module began."""
        if not _log.numbers:
            return
        waiting, walk = _Waiting(), _Walk(self)
        for root in _roots(outputs):
            waiting.add(root, 1, None)
        while waiting.heap:
            node, number, depth, user = waiting.pop()
            if number < _log.numbers[0] or getattr(node.metadata.get(_MET), "owner", None) is self:
                continue
            if not walk.reach(depth):
                _warn_of_depth()
                break
            node.metadata[_MET] = self._lasting if number == _UNNUMBERED else walk
            maker = self.owners.get(node.variable, user) if number == _UNNUMBERED else _maker(number)
            if maker is not None:
                node.register_prehook(maker.open)
                node.register_hook(maker.close)
            for behind, _ in node.next_functions:
                if behind is not None:
                    waiting.add(behind, depth + 1, maker)


class _Walk:
    """One walk; it lives as long as the nodes that it visited."""

    __slots__ = ("depth", "owner")

    def __init__(self, owner: Nodes) -> None:
        self.owner, self.depth = owner, 0

    def reach(self, depth: int) -> bool:
        """Allow this depth; return False where it is too deep."""
        more = max(depth - self.depth, 0)
        if self.owner.depth + more > MAX_DEPTH:
            return False
        self.depth += more
        self.owner.depth += more
        return True

    def __del__(self) -> None:
        self.owner.depth -= self.depth


class _Waiting:
    """Nodes to visit, the latest first: a node comes after all that lead to it, so its depth is known."""

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Any, Maker | None]] = []
        self._depths: dict[int, int] = {}
        self._added = itertools.count()

    def add(self, node: Any, depth: int, user: Maker | None) -> None:
        number = node._sequence_nr()
        self._depths[number] = max(depth, self._depths.get(number, 0))
        heapq.heappush(self.heap, (-number, next(self._added), node, user))

    def pop(self) -> tuple[Any, int, int, Maker | None]:
        """Node, number, depth, and the maker of the node that led to it."""
        negative, _, node, user = heapq.heappop(self.heap)
        return node, -negative, self._depths[-negative], user


def _warn_of_depth() -> None:
    text = f"perfkit: the autograd graph is deeper than {MAX_DEPTH:,} nodes; deeper nodes get no backward ranges"
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def _maker(number: int) -> Maker | None:
    return _log.makers[bisect_right(_log.numbers, number) - 1]


def _roots(outputs: object) -> list[Any]:
    return [tensor.grad_fn for tensor in _tensors(outputs, set()) if tensor.grad_fn is not None]


def _tensors(value: object, met: set[int]) -> Iterator[Tensor]:
    """Yield the tensors in what a module may return: nested sequences, mappings, dataclasses."""
    if isinstance(value, Tensor):
        yield value
        return
    if id(value) in met:
        return
    met.add(id(value))
    if isinstance(value, Mapping):
        inner: Any = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, entry.name, None) for entry in dataclasses.fields(value)]
    else:
        return
    for entry in inner:
        yield from _tensors(entry, met)
