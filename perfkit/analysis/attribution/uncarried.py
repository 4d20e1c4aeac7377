"""Backward nodes whose number no operation carries by right, and the operation that made each (rule 7).

PyTorch gives a node its number from the thread's counter when it makes the node, and an operation carries the number
that the counter showed when it began. Two kinds of node are made without an operation of their own:

- an assignment to a view makes its node, and then, still inside the same operation, a `CopySlices` for the base and an
  `AsStridedBackward` for the view (torch/csrc/autograd/variable.cpp: rebase_history, grad_fn). Each takes the next
  number, which no operation saw, so the maker is the operation with the largest number below;
- TorchScript makes a `DifferentiableGraphBackward` before it runs the part of the graph that it differentiates itself
  (torch/csrc/jit/runtime/graph_executor.cpp: DifferentiableGraphOp), which is no dispatched operation. What carries the
  node's number began earlier and made no node, whatever it was. The first operation that carries the next number runs
  inside: it detaches an input. What runs in the range `<forward op>` works on detached inputs, and makes no node.

The engine itself makes a `GraphRoot`, for a backward of several losses: it has no forward operation, and no link.

For every other node an operation that is missing in the file is missing, and its number leads nowhere.
"""

from __future__ import annotations

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import EVALUATE, HostView, name_flags
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, last_at_or_before, nearest, pair_keys

_SCRIPT = frozenset(("<forward op>", "<foward op>"))
"""What PyTorch calls the range of such a part; until 2021 without the first r."""


def is_in_place(name: str) -> bool:
    """Whether a node, or the engine's range round it, is one that an operation makes after its own."""
    bare = _bare(name)
    return bare == "CopySlices" or bare.startswith("AsStridedBackward")


def is_scripted(name: str) -> bool:
    """Whether a node, or the engine's range round it, is the backward of a part of a TorchScript graph."""
    return _bare(name) == "DifferentiableGraphBackward"


def is_root(name: str) -> bool:
    """Whether a node, or the engine's range round it, is the engine's own, in front of several losses."""
    return _bare(name) == "GraphRoot"


def in_script(host: HostView) -> Bools:
    """Ranges inside the part of a TorchScript graph that it differentiates itself."""
    scripts = host.matching(_SCRIPT.__contains__)
    return nearest(host.forest.parent, scripts) != NONE if scripts.any() else scripts


def _bare(name: str) -> str:
    return name.removeprefix(EVALUATE).rpartition("::")[2]


class Operations(msgspec.Struct, frozen=True):
    """Forward operations in the order of the forest."""

    thread: Ints
    sequence: Ints
    time: Ints
    """Twice the start, and one more where it starts together with the node that it runs in."""


class Nodes(msgspec.Struct, frozen=True):
    """Backward nodes, and the engine's ranges round them, whose forward thread is known."""

    name: Ints
    thread: Ints
    """The forward thread."""
    sequence: Ints
    start: Ints
    carried: Bools
    """Some operation has the node's number and thread."""


def guess(host: HostView, operations: Operations, nodes: Nodes, made_by: Ints) -> tuple[Ints, Bools]:
    """Replace the makers of nodes of the two kinds by those that the number's neighbours tell.

    `made_by` has the place in `operations` of what carries a node's number, NONE for none. Returns the places, and
    for which nodes they are such a guess.
    """
    in_place = name_flags(host.names, nodes.name, is_in_place) & ~nodes.carried
    scripted = name_flags(host.names, nodes.name, is_scripted)
    if not (in_place | scripted).any():
        return made_by, in_place
    maker = made_by.copy()
    maker[scripted] = _first_with(operations, nodes.thread[scripted], nodes.sequence[scripted] + 1)
    maker[in_place] = _below(operations, nodes, in_place)
    kinds = in_place | scripted
    late = kinds & (maker != NONE) & (np.append(operations.time, 0)[maker] > 2 * nodes.start)
    maker[late] = NONE
    return maker, kinds & (maker != NONE)


def _first_with(operations: Operations, thread: Ints, sequence: Ints) -> Ints:
    """The first operation on a thread that carries a number."""
    count = len(operations.thread)
    keys = pair_keys(np.concatenate((operations.thread, thread)), np.concatenate((operations.sequence, sequence)))
    first = np.full(len(keys), NONE, dtype=np.int64)  # keys are dense
    first[keys[:count][::-1]] = np.arange(count)[::-1]  # the first is assigned last
    return first[keys[count:]]


def _below(operations: Operations, nodes: Nodes, wanted: Bools) -> Ints:
    """The last operation with the largest number below, where nothing suggests that a nearer one is missing.

    One is missing where a node of another kind has a number in between, and may be where the thread has no larger
    number: then the forward pass may lie outside the file.
    """
    thread, sequence = nodes.thread[wanted], nodes.sequence[wanted]
    others = ~wanted
    below = last_at_or_before(operations.thread, operations.sequence, thread, sequence)
    above = last_at_or_before(operations.thread, -operations.sequence, thread, -sequence)
    between = last_at_or_before(nodes.thread[others], nodes.sequence[others], thread, sequence)
    nearer = np.append(nodes.sequence[others], NONE)[between] > np.append(operations.sequence, NONE)[below]
    return np.where((below != NONE) & (above != NONE) & ~nearer, below, NONE)
