"""What kind of work a kernel does, by the operator that launched it and by its own name.

PyTorch's own operators decide before the kernel's name, for their kernels are general: the same elementwise kernel adds
and fills. For operators of others it is the other way round, since one of them may launch all there is in a layer.
"""

from __future__ import annotations

from functools import cache

from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.fused import of_fused
from perfkit.analysis.kernels.kernel_table import COLLECTIVE_WORDS, GENERAL, KERNELS, QUALIFIED
from perfkit.analysis.kernels.names import LOOKED_AT, parse
from perfkit.analysis.kernels.operator_table import COLLECTIVES, OPERATORS
from perfkit.analysis.kernels.patterns import first

_OWN_KIND = (kinds.CAST, kinds.MEMSET, kinds.REDUCTION)
"""Kernels that stay what they are inside a matmul or a convolution, whoever asked for them."""


@cache
def of_operator(name: str) -> str | None:
    """Category by the operator's name, None where the name has none."""
    namespace, _, base = name.rpartition("::")
    if name.startswith("autograd::engine"):
        return None
    if namespace in COLLECTIVES:
        return kinds.COMMUNICATION
    base = base.rstrip("_")
    named = None
    if not _is_own(name) and base.isidentifier():
        named = _of_word(parse(base).identifier)  # fbgemm::permute_2D_sparse_data: named as its kernels are
    return named or of_fused(base.lower()) or first(OPERATORS, base.lower())


@cache
def _is_own(operator: str) -> bool:
    """Whether an operator is PyTorch's, or a kernel that Inductor generated."""
    return operator.startswith(("aten::", "prims::")) or of_fused(operator.lower()) is not None


@cache
def of_kernel(name: str) -> str | None:
    """Category by the kernel's name, None for a name that is not known."""
    parts = parse(name)
    words = (parts.identifier, *parts.arguments)
    asked = (of_word(word) for of_word in (_of_word, _of_general_word) for word in words)
    return first(QUALIFIED, parts.qualified) or of_fused(parts.identifier) or next(filter(None, asked), None)


@cache
def _of_word(word: str) -> str | None:
    return first(KERNELS, word)  # cached: template arguments are the same few words in most names


@cache
def _of_general_word(word: str) -> str | None:
    return first(GENERAL, word)


def is_communication(name: str) -> bool:
    """Whether a kernel is a collective's: asked of every kernel, so that names with no such word are told quickly."""
    plain = name[:LOOKED_AT].lower().replace("_", "")
    return any(word in plain for word in COLLECTIVE_WORDS) and of_kernel(name) == kinds.COMMUNICATION


def category(kernel: str, operator: str | None, *, in_optimizer: bool) -> str:
    """Category of a kernel launched by an operator (None where the trace has none).

    Inside the optimizer's step everything is the optimizer's: its additions are not the model's. Without a device the
    operator is all there is, and stands for the kernel too.
    """
    if in_optimizer:
        return kinds.OPTIMIZER
    return _known(kernel, operator) or kinds.OTHER


def is_known(kernel: str, operator: str | None) -> bool:
    """False for a kernel that no table places: it counts as `other` because no pattern matches."""
    return _known(kernel, operator) is not None


def _known(kernel: str, operator: str | None) -> str | None:
    by_operator = of_operator(operator) if operator else None
    if kernel == operator:
        return by_operator
    by_kernel = of_kernel(kernel)
    if by_kernel == kinds.COMMUNICATION or operator is None or not _is_own(operator):
        return by_kernel or by_operator
    if by_operator in (kinds.MATMUL, kinds.CONVOLUTION) and by_kernel in _OWN_KIND:
        return by_kernel
    return by_operator or by_kernel
