"""Matrix products: 2 m k n operations, a multiply and an add for each element of m x k x n."""

from __future__ import annotations

from math import prod

from perfkit.analysis.costs.flops.call import Call, NotToldError, Tensor
from perfkit.analysis.costs.flops.formula import Count, Counted, Formula, Level, moved
from perfkit.analysis.kernels import kinds


def _product(left: Tensor, right: Tensor, *others: Tensor | None) -> Counted:
    """(..., m, k) by (..., k, n), whose leading dimensions broadcast. `others`: what else is read."""
    if len(left.shape) < 2 or len(right.shape) < 2 or left.shape[-1] != right.shape[-2]:
        raise NotToldError
    (m, k), n = left.shape[-2:], right.shape[-1]
    batch = broadcast(left.shape[:-2], right.shape[:-2])
    result = left.like((*batch, m, n))
    return Counted(2 * prod(batch) * m * k * n, moved(left, right, result, *others))


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the result where shapes are aligned at their ends and sizes of 1 repeat."""
    longest = max((len(shape) for shape in shapes), default=0)
    sizes = []
    for place in range(-longest, 0):
        there = {shape[place] for shape in shapes if len(shape) >= -place} - {1}
        if len(there) > 1:
            raise NotToldError
        sizes.append(there.pop() if there else 1)
    return tuple(sizes)


def _of_two(left: int, *others: int) -> Count:
    """The matrices are the arguments from `left` on; `others` are read too."""

    def count(call: Call) -> Counted:
        return _product(call.tensor(left), call.tensor(left + 1), *map(call.optional, others))

    return count


def _matmul(call: Call) -> Counted:
    """Vectors, matrices and batches of them (torch.matmul)."""
    left, right = call.tensor(0), call.tensor(1)
    if len(left.shape) == 1:
        left = left.like((1, *left.shape))
    if len(right.shape) == 1:
        right = right.like((*right.shape, 1))
    return _product(left, right)


def _linear(call: Call) -> Counted:
    """(..., k) by a weight (n, k)."""
    given, weight = call.tensor(0), call.tensor(1)
    n, k = weight.shape
    return _product(given.like((given.size // max(k, 1), k)), weight.like((k, n)), call.optional(2))


def _with_vector(call: Call) -> Counted:
    """A vector added to a matrix by a vector: addmv."""
    return _product(call.tensor(1), call.tensor(2).like((*call.tensor(2).shape, 1)), call.tensor(0))


def _linear_backward(call: Call) -> Counted:
    """Gradients of (..., k) and of the weight (n, k), as far as the mask asks for them."""
    given, weight = call.tensor(0), call.tensor(2)
    wanted = call.flags(3)[:2]
    each = 2 * given.size * weight.shape[0]
    written = [part for part, is_wanted in zip((given, weight), wanted, strict=True) if is_wanted]
    return Counted(each * sum(wanted), moved(given, call.tensor(1), weight, *written))


def _grouped(call: Call) -> Counted:
    """A product for each group (torch._grouped_mm), where groups are a third dimension or parts of rows or columns.

    (rows, k) by (groups, k, n), (groups, m, k) by (k, columns), (m, k) by (k, n) with groups in k; and batches. How
    long the groups are is data, not a shape: they are taken to fill the dimension that they divide.
    """
    left, right = call.tensor(0), call.tensor(1)
    if len(left.shape) == len(right.shape) == 2:
        groups = call.tensor(2).size  # the ends of the groups; groups in k: a matrix m x n for each
        whole = _product(left, right)
        result = left.like((max(groups - 1, 0), left.shape[0], right.shape[1])).bytes
        return Counted(whole.flops, None if whole.bytes is None or result is None else whole.bytes + result)
    if len(left.shape) == len(right.shape):
        return _product(left, right)
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    return Counted(2 * m * k * n, moved(left, right, left.like((m, n))))


def _packed(columns: tuple[int, int]) -> Count:
    """A weight packed to few bits; `columns` is the argument, and the dimension in it, that tells how many rows."""

    def count(call: Call) -> Counted:
        given = call.tensor(0)
        n = call.tensor(columns[0]).shape[columns[1]]
        rest = [call.optional(place) for place in range(1, len(call.shapes))]
        return Counted(2 * given.size * n, moved(given, *rest, given.like((*given.shape[:-1], n))))

    return count


def _formula(count: Count) -> Formula:
    return Formula(kinds.MATMUL, Level.PRODUCT, count)


_PLAIN = _formula(_of_two(0))
_ADDED = _formula(_of_two(1, 0))
FORMULAS = {
    "aten::mm": _PLAIN,
    "aten::bmm": _PLAIN,
    "aten::_int_mm": _PLAIN,
    "aten::_scaled_mm": _PLAIN,
    "aten::addmm": _ADDED,
    "aten::_addmm_activation": _ADDED,
    "aten::baddbmm": _ADDED,
    "aten::addbmm": _ADDED,
    "aten::matmul": _formula(_matmul),
    "aten::mv": _formula(_matmul),
    "aten::dot": _formula(_matmul),
    "aten::vdot": _formula(_matmul),
    "aten::addmv": _formula(_with_vector),
    "aten::linear": _formula(_linear),
    "aten::mkldnn_linear": _formula(_linear),
    "aten::linear_backward": _formula(_linear_backward),
    "aten::mkldnn_linear_backward": _formula(_linear_backward),
    "aten::_grouped_mm": _formula(_grouped),
    "aten::_scaled_grouped_mm": _formula(_grouped),
    "aten::_weight_int8pack_mm": _formula(_packed((1, 0))),
    "aten::_weight_int4pack_mm": _formula(_packed((3, 1))),
}
"""By operator, without the trailing underscore of those in place."""
