"""Units: the outermost operators of a trace, one for each call that the program made, and what each of them is.

`aten::linear` is one, `aten::addmm` inside it is not. In backward the units are the operators right inside a node.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec
import numpy as np

from perfkit.analysis.attribution.host_view import HostView, present
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at, nearest, strictly_above
from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.categories import of_kernel, of_operator
from perfkit.regex import Regex

_DISPATCHED = Regex(r"[A-Za-z_]\w*::\w")
_NO_OPERATORS = ("autograd::", "torch::autograd::", "perfkit::")
"""The engine's ranges and perfkit's own, which hold operators."""
_INNER = ("copy_", "bmm", "baddbmm")
"""Operators that say of a unit what it does: whether `to` copied, and whether `matmul` was a batched one."""


class Kind(IntEnum):
    """What a unit is, as far as fusing goes."""

    VIEW = 0
    """Moves no data."""
    POINTWISE = 1
    """Arithmetic on each element: activations, masks, dropout."""
    COPY = 2
    """Casts, copies into another layout, tensors put together."""
    REDUCTION = 3
    """Sums, means, norms over elements."""
    FILL = 4
    """Makes a tensor of constants."""
    SOFTMAX = 5
    BATCHED_MATMUL = 6
    OTHER = 7


_VIEWS = Regex(
    r"view|reshape|transpose|t|permute|expand|expand_as|unsqueeze|squeeze|select|slice|narrow|split|chunk"
    r"|unbind|split_with_sizes|detach|alias|as_strided|unflatten|flatten|movedim|swapaxes|swapdims|view_as"
    r"|_unsafe_view|diagonal|empty|empty_like|empty_strided|new_empty|new_empty_strided|resize|result_type"
    r"|resolve_conj|resolve_neg|lift_fresh|contiguous|to|type_as|requires_grad|set|size|numel|is_same_size"
    r"|real|imag|view_as_real|view_as_complex|broadcast_to|broadcast_tensors|ravel|matrix_H|mT|mH|numpy_T"
    r"|adjoint|unsafe_chunk|unsafe_split|float|half|double|is_pinned|pin_memory|lift|lift_fresh_copy|retain_grad"
    r"|_reshape_alias|item"
)
"""Operators that move no data, some of them only where there is no copy inside."""
_REDUCTIONS = Regex(r"mean|sum|var|std|var_mean|std_mean|amax|amin|norm|linalg_vector_norm|prod|logsumexp")
_FILLS = Regex(r"(new_)?(ones|zeros|full)|(ones|zeros|full)_like|fill|zero|arange|scalar_tensor")
_OF_CATEGORY = {kinds.ELEMENTWISE: Kind.POINTWISE, kinds.CAST: Kind.COPY}
_OF_NAME = (
    (Kind.VIEW, _VIEWS),
    (Kind.OTHER, Regex("einsum")),  # a batched matmul where it holds one
    (Kind.SOFTMAX, Regex(r"_?softmax")),
    (Kind.REDUCTION, _REDUCTIONS),
    (Kind.FILL, _FILLS),
    (Kind.POINTWISE, Regex(r"(native_|feature_)?dropout")),
    (Kind.BATCHED_MATMUL, Regex(r"bmm|baddbmm")),
)


class Units(msgspec.Struct, frozen=True):
    """One row a unit, thread by thread in order of time."""

    row: Ints
    """Its row in the forest."""
    of: Ints
    """Of each row of the forest, the unit that it is or is in; NONE outside."""
    names: tuple[str, ...]
    """Names of operators without namespace."""
    name: Ints
    """Index into names."""
    thread: Ints
    start: Ints
    end: Ints
    kind: Ints
    """Kind."""
    copies: Bools
    """There is a copy in it."""

    def __len__(self) -> int:
        return len(self.row)

    def named(self, *names: str) -> Bools:
        """Units of these names, without namespace."""
        wanted = [index for index, name in enumerate(self.names) if name in names]
        return np.isin(self.name, wanted)


def base(name: str) -> str:
    """`aten::mul_` -> `mul_`; what NVTX ranges of autograd append (`, seq = 5`) is cut off."""
    return name.partition(",")[0].rpartition("::")[2]


def find_units(host: HostView) -> Units:
    """The outermost operators of all threads."""
    parent = host.forest.parent
    dispatched = np.zeros(len(host.names), dtype=bool)
    for index in present(host.name):
        text = host.names[index]
        is_operators = _DISPATCHED.match(text) is not None and not text.startswith(_NO_OPERATORS)
        dispatched[index] = is_operators and index not in host.own_names
    is_operator = dispatched[host.name] & ~host.is_runtime
    is_unit = is_operator & (strictly_above(parent, nearest(parent, is_operator)) == NONE)
    row = np.flatnonzero(is_unit)
    number = np.full(len(parent), NONE, dtype=np.int64)
    number[row] = np.arange(len(row))
    of = at(number, nearest(parent, is_unit), absent=NONE)
    texts, name = _base_names(host, row)
    holds = {inner: _holding(host, of, len(row), inner) for inner in _INNER}
    kind: Ints = np.array([kind_of(text) for text in texts] or [Kind.OTHER], dtype=np.int64)[name]
    kind = np.where((kind == Kind.VIEW) & holds["copy_"], Kind.COPY, kind)
    kind = np.where(holds["bmm"] | holds["baddbmm"], np.where(kind == Kind.OTHER, Kind.BATCHED_MATMUL, kind), kind)
    return Units(
        row, of, texts, name, host.thread[row], host.start[row], host.end[row], kind, copies=holds["copy_"]
    )  # fmt: skip


def _base_names(host: HostView, row: Ints) -> tuple[tuple[str, ...], Ints]:
    texts: dict[str, int] = {}
    codes = np.full(len(host.names), NONE, dtype=np.int64)
    for index in present(host.name[row]) if len(row) else ():
        codes[index] = texts.setdefault(base(host.names[index]), len(texts))
    return tuple(texts), codes[host.name[row]] if len(row) else np.empty(0, np.int64)


def _holding(host: HostView, of: Ints, units: int, inner: str) -> Bools:
    """Units that are or contain an operator of this name."""
    found = of[np.flatnonzero(host.matching(lambda name: name.endswith(inner) and base(name) == inner))]
    holds = np.zeros(units, dtype=bool)
    holds[found[found != NONE]] = True
    return holds


def kind_of(name: str) -> Kind:
    """What an operator is by its name without namespace, as far as that says it."""
    plain = name.rstrip("_") or name
    named = next((kind for kind, names in _OF_NAME if names.fullmatch(plain)), None)
    return _OF_CATEGORY.get(of_operator(f"aten::{name}") or "", Kind.OTHER) if named is None else named


_OF_KERNEL = {
    kinds.MATMUL: Kind.BATCHED_MATMUL,
    kinds.SOFTMAX: Kind.SOFTMAX,
    kinds.ELEMENTWISE: Kind.POINTWISE,
    kinds.RANDOM: Kind.POINTWISE,
    kinds.CAST: Kind.COPY,
    kinds.MEMSET: Kind.FILL,
}


def kind_of_kernel(name: str) -> Kind:
    """What a kernel is by its name, which does not tell a batched matmul from others."""
    return _OF_KERNEL.get(of_kernel(name) or "", Kind.OTHER)


def is_view(name: str) -> bool:
    """Whether an operator of this name moves no data, but for a copy inside it."""
    return _DISPATCHED.match(name) is not None and kind_of(base(name)) is Kind.VIEW


_LONGEST = 12
"""Operators between a matmul of attention and its softmax: scale, mask, bias, cast, cap, and what makes the mask."""


def find_attention(kind: Ints, lane: Ints) -> Bools:
    """Work between two batched matmuls, if some of it is a softmax and the rest only scales, masks, casts or drops.

    This is attention written out: scores, softmax, weighted sum. `kind` is what each piece of work is, and `lane` the
    thread or stream that it is on, one after the other.
    """
    found = np.zeros(len(kind), dtype=bool)
    if not len(kind):
        return found
    is_between = np.isin(kind, (Kind.POINTWISE, Kind.COPY, Kind.FILL, Kind.SOFTMAX))
    place = np.arange(len(kind))
    before = np.maximum.accumulate(np.where(is_between, NONE, place))
    after = np.minimum.accumulate(np.where(is_between, len(kind), place)[::-1])[::-1]
    softmax = np.flatnonzero(kind == Kind.SOFTMAX)
    first, last = before[softmax], after[softmax]
    near = (first != NONE) & (last < len(kind)) & (softmax - first <= _LONGEST) & (last - softmax <= _LONGEST)
    first, last = first[near], last[near]
    is_matmul = kind == Kind.BATCHED_MATMUL
    both = is_matmul[first] & is_matmul[last] & (lane[first] == lane[last])
    for begin, end in zip(first[both].tolist(), last[both].tolist(), strict=True):
        found[begin + 1 : end] = True
    return found


SHORTEST_CHAIN = 3
"""Operations in a row. A pair (gelu and a residual, silu and a product) is the healthy case."""


def find_chains(units: Units, works: Bools, wanted: Bools) -> Ints:
    """The chain of each unit, by number: wanted units in a row of which three do arithmetic. NONE for no chain."""
    chain = np.full(len(units), NONE, dtype=np.int64)
    rows = np.flatnonzero(works)
    kind = units.kind[rows]
    is_link = np.isin(kind, (Kind.POINTWISE, Kind.COPY, Kind.REDUCTION, Kind.FILL)) & wanted[rows]
    arithmetic = np.append(0, np.cumsum(is_link & (kind == Kind.POINTWISE)))
    begins, ends = runs(is_link, units.thread[rows])
    long = arithmetic[ends] - arithmetic[begins] >= SHORTEST_CHAIN
    for number, (begin, end) in enumerate(zip(begins[long].tolist(), ends[long].tolist(), strict=True)):
        chain[rows[begin:end]] = number
    return chain


def runs(flags: Bools, thread: Ints) -> tuple[Ints, Ints]:
    """First and last (exclusive) place of each stretch of flagged rows of one thread."""
    if not len(flags):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    begins = flags & ~(np.append(False, flags[:-1] & (thread[1:] == thread[:-1])))
    ends = flags & ~(np.append(flags[1:] & (thread[1:] == thread[:-1]), False))
    return np.flatnonzero(begins), np.flatnonzero(ends) + 1
