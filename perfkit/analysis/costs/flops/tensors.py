"""Work on elements and rows: elementwise, reductions, softmax, norms, losses, copies, gathers.

A function of an element counts as one operation, whatever the function; what is made of several steps counts them, as
its definition has them (the numbers below). Such operators are limited by the bytes that they move.
"""

from __future__ import annotations

from perfkit.analysis.costs.flops.call import Call, NotToldError, Tensor
from perfkit.analysis.costs.flops.formula import Count, Counted, Formula, Level, moved, total
from perfkit.analysis.costs.flops.matmuls import broadcast
from perfkit.analysis.kernels import kinds

_COMPARISONS = (
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "logical_xor", "isnan", "isinf",
    "isfinite",
)  # fmt: skip
"""Their results are truths, a byte each."""


def elementwise(arguments: int, flops: int, *, is_truth: bool = False) -> Count:
    """`flops` for each element of the result, whose shape the first `arguments` tensors broadcast to."""

    def count(call: Call) -> Counted:
        given = [tensor for place in range(arguments) if (tensor := call.optional(place)) is not None]
        if not given:
            raise NotToldError
        result = given[0] if call.in_place else _result(given)
        result = Tensor(result.shape, 1, is_float=False) if is_truth else result
        return Counted(flops * result.size, moved(*given, result))

    return count


def _result(given: list[Tensor]) -> Tensor:
    """The result of elementwise arithmetic: as precise as the most precise argument, of those with dimensions."""
    shape = broadcast(*(tensor.shape for tensor in given))
    telling = [tensor for tensor in given if tensor.shape] or given
    telling = [tensor for tensor in telling if tensor.is_float] or telling
    items = [tensor.item for tensor in telling if tensor.item is not None]
    return Tensor(shape, max(items) if len(items) == len(telling) else None, telling[0].is_float)


def _reduced(flops: int) -> Count:
    """`flops` for each element that is given; the second argument says the dimensions, all where it says none."""

    def count(call: Call) -> Counted:
        given = call.tensor(0)
        try:
            dims = {dim % len(given.shape) for dim in call.integers(1)} if given.shape else set()
        except NotToldError:
            dims = set()
        left = tuple(size for place, size in enumerate(given.shape) if place not in dims) if dims else ()
        return Counted(flops * given.size, moved(given, given.like(left)))

    return count


def _rows(flops: int, reads: tuple[int, ...], writes: tuple[int, ...] = (0,), shape_of: int = 0) -> Count:
    """`flops` for each element of the argument `shape_of`; other arguments are read, or written as large as others."""

    def count(call: Call) -> Counted:
        read, written = [call.optional(place) for place in reads], [call.optional(place) for place in writes]
        return Counted(flops * call.tensor(shape_of).size, moved(*read, *written))

    return count


def _copy(call: Call) -> Counted:
    return Counted(0, moved(call.tensor(0), call.tensor(1)))


def _cat(call: Call) -> Counted:
    """The types of tensors in a list are not in the trace."""
    return Counted(0, total(2 * tensor.bytes if tensor.bytes is not None else None for tensor in call.listed(0)))


def _fill(call: Call) -> Counted:
    return Counted(0, call.tensor(0).bytes)


def _gathered(indices: int, source: int = 0, *, whole_rows: bool = False) -> Count:
    """What the indices point to, elements or whole rows, is read and written."""

    def count(call: Call) -> Counted:
        given, index = call.tensor(source), call.tensor(indices)
        result = given.like((*index.shape, *given.shape[1:]) if whole_rows else index.shape)
        return Counted(0, moved(index, result, result))

    return count


def _selected(call: Call) -> Counted:
    """index_select(self, dim, index)."""
    given, index = call.tensor(0), call.tensor(2)
    dim = call.integers(1)[0] % max(len(given.shape), 1)
    result = given.like((*given.shape[:dim], index.size, *given.shape[dim + 1 :]))
    return Counted(0, moved(index, result, result))


def _embedding_backward(call: Call) -> Counted:
    """Rows of the gradient are added up into a table of as many rows as there are words."""
    gradient, indices = call.tensor(0), call.tensor(1)
    table = gradient.like((call.integers(2)[0], gradient.shape[-1]))
    return Counted(gradient.size, moved(gradient, indices, table))


def _dropout(call: Call) -> Counted:
    """A factor for each element, and the mask that says which stay."""
    given = call.tensor(0)
    return Counted(2 * given.size, moved(given, given, Tensor(given.shape, 1, is_float=False)))


def _softmax(call: Call) -> Counted:
    """Maximum, difference, exp, sum, division; its logarithm likewise. The last argument: fp16 in, fp32 out."""
    given = call.tensor(0)
    widened = given.item == 2 and call.flags(2)[0]
    return Counted(5 * given.size, moved(given, Tensor(given.shape, 4) if widened else given))


def _arithmetic(kind: str, names: str, count: Count, level: Level = Level.ARITHMETIC) -> dict[str, Formula]:
    return {f"aten::{name}": Formula(kind, level, count) for name in names.split()}


def _movement(kind: str, names: str, count: Count) -> dict[str, Formula]:
    return _arithmetic(kind, names, count, Level.MOVEMENT)


def _of_elements(names: str, arguments: int, flops: int) -> dict[str, Formula]:
    return {
        f"aten::{name}": Formula(
            kinds.ELEMENTWISE, Level.ARITHMETIC, elementwise(arguments, flops, is_truth=name in _COMPARISONS)
        )
        for name in names.split()
    }


UNARY = """
    abs neg sgn sign exp exp2 expm1 log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan sinh
    cosh tanh sigmoid silu gelu relu relu6 elu selu celu leaky_relu hardswish hardsigmoid hardtanh mish softplus
    log_sigmoid_forward erf erfc erfinv floor ceil round trunc frac clamp clamp_min clamp_max threshold logical_not
    bitwise_not isnan isinf isfinite nan_to_num logit
"""
BINARY = """
    add sub rsub mul div true_divide floor_divide remainder fmod pow atan2 hypot xlogy copysign maximum minimum fmax
    fmin eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor prelu
    threshold_backward tanh_backward sigmoid_backward silu_backward gelu_backward elu_backward leaky_relu_backward
    hardtanh_backward hardswish_backward hardsigmoid_backward softplus_backward logit_backward mish_backward
    log_sigmoid_backward
"""
_BATCH_NORMS = """
    native_batch_norm cudnn_batch_norm miopen_batch_norm _batch_norm_with_update _batch_norm_with_update_functional
    _native_batch_norm_legit _native_batch_norm_legit_functional
"""
_BATCH_NORMS_BACKWARD = "native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward"
_REDUCTIONS = "sum nansum mean max min amax amin argmax argmin prod any all cumsum cumprod"

_ELEMENTWISE = {
    **_of_elements(UNARY, 1, 1),
    **_of_elements(BINARY, 2, 1),
    **_of_elements("addcmul addcdiv lerp", 3, 3),
    **_of_elements("where masked_fill", 3, 0),
    **_of_elements("native_dropout_backward _masked_scale", 2, 2),
    **_arithmetic(kinds.ELEMENTWISE, "tril triu", _rows(0, (0,))),
    **_arithmetic(kinds.ELEMENTWISE, "native_dropout _fused_dropout", _dropout),
}
_OF_ROWS = {
    **_arithmetic(kinds.REDUCTION, _REDUCTIONS, _reduced(1)),
    **_arithmetic(kinds.REDUCTION, "norm linalg_vector_norm logsumexp count_nonzero", _reduced(2)),
    # sum; difference, square, sum
    **_arithmetic(kinds.REDUCTION, "var std var_mean std_mean", _reduced(4)),
    **_arithmetic(kinds.SOFTMAX, "_softmax _log_softmax", _softmax),
    # gradient times result, its sum, the difference, times the result
    **_arithmetic(kinds.SOFTMAX, "_softmax_backward_data _log_softmax_backward_data", _rows(4, (0, 1), (1,), 1)),
}
_NORMS = {
    # sum; difference, square, sum; difference, times deviation; times weight, plus bias
    **_arithmetic(kinds.NORMALISATION, "native_layer_norm", _rows(8, (0, 2, 3))),
    **_arithmetic(kinds.NORMALISATION, f"{_BATCH_NORMS} native_group_norm", _rows(8, (0, 1, 2))),
    # the last four of these
    **_arithmetic(kinds.NORMALISATION, "_native_batch_norm_legit_no_training", _rows(4, (0, 1, 2, 3, 4))),
    # normalised again 2; gradient times weight, its sum, times normalised, its sum; three terms and a factor 4;
    # gradients of weight 2 and bias 1
    **_arithmetic(kinds.NORMALISATION, "native_layer_norm_backward", _rows(13, (0, 1, 3, 4, 5), (1, 5, 6))),
    **_arithmetic(kinds.NORMALISATION, "native_group_norm_backward", _rows(13, (0, 1, 4), (1, 4, 4))),
    **_arithmetic(kinds.NORMALISATION, _BATCH_NORMS_BACKWARD, _rows(13, (0, 1, 2), (0, 2, 2))),
    # square, sum, times deviation, times weight
    **_arithmetic(kinds.NORMALISATION, "_fused_rms_norm", _rows(4, (0, 2))),
    # normalised again; gradient times weight, times normalised, its sum; a term, the difference, times deviation;
    # gradient of the weight 2
    **_arithmetic(kinds.NORMALISATION, "_fused_rms_norm_backward", _rows(9, (0, 1, 4), (1, 4))),
}
_LOSSES = {
    **_arithmetic(kinds.LOSS, "mse_loss smooth_l1_loss huber_loss", elementwise(2, 2), Level.BESIDE),
    **_arithmetic(
        kinds.LOSS, "mse_loss_backward smooth_l1_loss_backward huber_loss_backward", _rows(3, (1, 2), (1,), 1)
    ),
    # two logarithms, a difference, two products, their sum
    **_arithmetic(kinds.LOSS, "binary_cross_entropy", elementwise(2, 6), Level.BESIDE),
    **_arithmetic(kinds.LOSS, "binary_cross_entropy_backward", _rows(5, (1, 2), (1,), 1)),
    **_arithmetic(kinds.LOSS, "nll_loss_forward nll_loss2d_forward", _gathered(1)),
    **_arithmetic(kinds.LOSS, "nll_loss_backward nll_loss2d_backward", _rows(0, (2,), (1,), 1)),
}
_MOVEMENTS = {
    **_movement(kinds.EMBEDDING, "embedding", _gathered(1, whole_rows=True)),
    **_arithmetic(kinds.EMBEDDING, "embedding_dense_backward", _embedding_backward),
    **_movement(kinds.EMBEDDING, "index_select", _selected),
    **_movement(kinds.EMBEDDING, "gather", _gathered(2)),
    **_movement(kinds.CAST, "copy", _copy),
    **_movement(kinds.CAST, "cat", _cat),
    **_movement(kinds.MEMSET, "fill zero", _fill),
}
FORMULAS = {**_ELEMENTWISE, **_OF_ROWS, **_NORMS, **_LOSSES, **_MOVEMENTS}
"""By operator, without the trailing underscore of those in place."""
