"""Operators on lists of tensors: foreach arithmetic, and fused optimizers.

A trace gives the shape of each tensor in a list, and no type. Optimizers work on parameters and gradients, so the type
is the one that the file's gradient accumulations have, if that is one (`Call.listed`).
"""

from __future__ import annotations

from perfkit.analysis.costs.flops.call import Call, NotToldError, Tensor
from perfkit.analysis.costs.flops.formula import Count, Counted, Formula, Level, total
from perfkit.analysis.costs.flops.tensors import BINARY, UNARY
from perfkit.analysis.kernels import kinds


def _foreach(lists: int, flops: int) -> Count:
    """`flops` for each element of the first list; up to `lists` lists are read, and one is written."""

    def count(call: Call) -> Counted:
        first = call.listed(0)
        others = [tensor for place in range(1, lists) for tensor in _if_listed(call, place)]
        return Counted(
            flops * sum(tensor.size for tensor in first), total(tensor.bytes for tensor in (*first, *first, *others))
        )

    return count


def _if_listed(call: Call, place: int) -> list[Tensor]:
    try:
        return call.listed(place)
    except NotToldError:  # a number for all, or one tensor
        return []


def _copied(call: Call) -> Counted:
    written, read = call.listed(0), call.listed(1)
    return Counted(0, total(tensor.bytes for tensor in (*written, *read)))


def _filled(call: Call) -> Counted:
    return Counted(0, total(tensor.bytes for tensor in call.listed(0)))


def _normed(call: Call) -> Counted:
    given = call.listed(0)
    return Counted(2 * sum(tensor.size for tensor in given), total(tensor.bytes for tensor in given))


def _fused(flops: int, states: int) -> Count:
    """Parameters, gradients and `states` lists as large are read; all but the gradients are written."""

    def count(call: Call) -> Counted:
        parameters = call.listed(0)
        lists = [parameters, *(_if_listed(call, place) for place in range(1, 2 + states))]
        moved = [*(lists[0] + lists[1]), *(tensor for tensors in lists[2:] for tensor in tensors)]
        written = [*parameters, *(tensor for tensors in lists[2:] for tensor in tensors)]
        return Counted(flops * sum(p.size for p in parameters), total(t.bytes for t in (*moved, *written)))

    return count


def _formula(count: Count, level: Level = Level.ARITHMETIC) -> Formula:
    return Formula(kinds.OPTIMIZER, level, count)


FORMULAS: dict[str, Formula] = {
    **{f"aten::_foreach_{name}": _formula(_foreach(1, 1)) for name in UNARY.split()},
    **{f"aten::_foreach_{name}": _formula(_foreach(2, 1)) for name in BINARY.split()},
    **{f"aten::_foreach_{name}": _formula(_foreach(3, 3)) for name in ("addcmul", "addcdiv", "lerp")},
    "aten::_foreach_norm": _formula(_normed),
    "aten::_foreach_copy": _formula(_copied, Level.MOVEMENT),
    "aten::_foreach_zero": _formula(_filled, Level.MOVEMENT),
    # whether each is finite, and times the scale's inverse
    "aten::_amp_foreach_non_finite_check_and_unscale": _formula(_foreach(1, 2)),
    # first moment 3 (Kingma and Ba 2015: an interpolation), second 4, its root, correction and epsilon 3, update 3;
    # weight decay 1 (Loshchilov and Hutter 2019: a factor) or 2 (added to the gradient)
    "aten::_fused_adamw": _formula(_fused(14, 2)),
    "aten::_fused_adam": _formula(_fused(15, 2)),
    # weight decay 2, momentum 3, update 2
    "aten::_fused_sgd": _formula(_fused(7, 1)),
    # weight decay 2, sum of squares 2, root and epsilon 2, update 3
    "aten::_fused_adagrad": _formula(_fused(9, 1)),
}
"""By operator, without the trailing underscore of those in place."""
