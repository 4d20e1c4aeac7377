"""Ranges round the backward nodes that each module's forward made: hooks on autograd's own nodes.

Autograd runs backward on threads of its own (on CUDA), where nothing but the node itself tells whose it is. A node
carries the number that its forward thread's counter had when it was made, and that counter is read whenever a module
begins or ends. So when the outermost module has ended, one walk over the graph from its outputs finds every new node
and its innermost module, and hangs two hooks on it that open and close a range wherever the engine runs it.

The walk ends at nodes older than the outermost module and at nodes that it has met before, so that each is met once.
Nothing here keeps a node or a tensor alive: hooks hold the range, a node's own dictionary holds the mark "met".
"""

from __future__ import annotations

import dataclasses
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

_MET = "perfkit"
"""Key in a node's dictionary (`Node.metadata`, kept as long as the node is): the Nodes that met it last."""
_UNNUMBERED = 2**64 - 1
"""What gradient accumulation has for a number: it belongs to a parameter, not to a place in the forward."""

_next_number = torch._C._autograd._get_sequence_nr


class Maker(Protocol):
    """Whose forward made a node: opens and closes the node's range."""

    def open(self, *_: Any) -> None:
        """Hook before the node."""

    def close(self, *_: Any) -> None:
        """Hook after the node."""


class _Log(threading.local):
    """Who was running on this thread from which number of its counter on, since the outermost module began."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.makers: list[Maker | None] = []


_log = _Log()


class Nodes:
    """Finds the nodes of the modules that are told to begin and end, and hooks them."""

    def __init__(self) -> None:
        self.active = True
        """False once the annotation is removed: hooks on nodes that still live then do nothing."""
        self.opened = 0
        """Ranges opened so far."""
        self.owners: Any = WeakIdKeyDictionary()
        """Parameter -> Maker of its module."""

    def __reduce__(self) -> tuple[type[Nodes], tuple[()]]:
        return Nodes, ()  # the owners are parameters of the original

    def begin(self, maker: Maker, *, outermost: bool) -> None:
        """From now on `maker` makes the nodes of this thread. Outermost: what came before is over."""
        if outermost:
            _log.numbers.clear()
            _log.makers.clear()
        _log.numbers.append(_next_number())
        _log.makers.append(maker)

    def end(self, outer: Maker | None) -> None:
        """From now on it is `outer` again, None for nobody."""
        _log.numbers.append(_next_number())
        _log.makers.append(outer)

    def hook(self, outputs: object) -> None:
        """Hook every node behind the tensors in `outputs` that was made since the outermost module began."""
        if not _log.numbers:
            return
        waiting: list[tuple[Any, Maker | None]] = [(node, None) for node in _roots(outputs)]
        while waiting:
            node, user = waiting.pop()
            number = node._sequence_nr()
            if number < _log.numbers[0] or node.metadata.get(_MET) is self:
                continue
            node.metadata[_MET] = self
            maker = self.owners.get(node.variable, user) if number == _UNNUMBERED else _maker(number)
            if maker is not None:
                node.register_prehook(maker.open)
                node.register_hook(maker.close)
            waiting += [(behind, maker) for behind, _ in node.next_functions if behind is not None]


def _maker(number: int) -> Maker | None:
    return _log.makers[bisect_right(_log.numbers, number) - 1]


def _roots(outputs: object) -> list[Any]:
    return [tensor.grad_fn for tensor in _tensors(outputs, set()) if tensor.grad_fn is not None]


def _tensors(value: object, met: set[int]) -> Iterator[Tensor]:
    """Tensors in what a module may return: nested sequences, mappings, dataclasses."""
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
