"""What make_trace.py records: a decoder-only Transformer's modules, operators, backward nodes and kernels, as data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Op:
    """An operator: what it calls, the kernel it launches, and the backward node that autograd makes for it."""

    name: str
    inner: tuple[Op, ...] = ()
    kernel: str | None = None
    """Key into KERNELS."""
    node: str | None = None
    peeks: bool = False
    """Whether it carries autograd's next sequence number without necessarily using it up."""


@dataclass(frozen=True, slots=True)
class Module:
    """An nn.Module: its Kineto name (class and number), the line of its forward, and what forward calls in order."""

    name: str
    number: int
    line: int
    children: tuple[Module | Op, ...]


KERNELS = dict(line.split("\t", 1) for line in Path(__file__).with_name("kernel_names.txt").read_text().splitlines())
"""Kernel names as real traces have them, by short keys."""

_VIEW = Op("aten::as_strided")
_ALLOCATE = Op("aten::empty_strided")
_TRANSPOSE = Op("aten::t", (Op("aten::transpose", (_VIEW,), peeks=True),), node="TBackward0", peeks=True)
_LINEAR = Op(
    "aten::linear",
    (
        _TRANSPOSE,
        Op("aten::view"),
        Op("aten::mm", (Op("aten::empty"),), kernel="gemm", node="MmBackward0", peeks=True),
        Op("aten::_unsafe_view", node="UnsafeViewBackward0", peeks=True),
    ),
    peeks=True,
)


def _simple(name: str, node: str, kernel: str) -> Op:
    return Op(name, (_ALLOCATE,), kernel=kernel, node=node, peeks=True)


_MUL = _simple("aten::mul", "MulBackward0", "mul")
_ADD = _simple("aten::add", "AddBackward0", "add")
_BMM = Op("aten::bmm", (Op("aten::empty"),), kernel="gemm", node="BmmBackward0", peeks=True)
_SPLIT_HEADS = Op("aten::permute", (_VIEW,), node="PermuteBackward0", peeks=True)
_EINSUM = Op("aten::einsum", (_SPLIT_HEADS, Op("aten::reshape", (Op("aten::view"),)), _BMM), peeks=True)
_NORM = (
    _simple("aten::pow", "PowBackward0", "mul"),
    _simple("aten::mean", "MeanBackward1", "mean"),
    _simple("aten::rsqrt", "RsqrtBackward0", "rsqrt"),
    _MUL,
    _MUL,
)

LOSS = (
    Op(
        "aten::cross_entropy_loss",
        (
            _simple("aten::log_softmax", "LogSoftmaxBackward0", "log_softmax"),
            _simple("aten::nll_loss_nd", "NllLossBackward0", "nll"),
        ),
        peeks=True,
    ),
)
OPTIMIZER = tuple(
    Op(f"aten::_foreach_{name}", kernel="adam")
    for name in ("add_", "lerp_", "mul_", "addcmul_", "sqrt", "div_", "add_", "addcdiv_")
    for _ in range(12)
)

_PLAIN_MUL, _PLAIN_SUM = Op("aten::mul", (_ALLOCATE,), kernel="mul"), Op("aten::sum", kernel="mean")
_PLAIN_MM = Op("aten::mm", (Op("aten::empty"),), kernel="gemm_backward")
_PLAIN_BMM = Op("aten::bmm", (Op("aten::empty"),), kernel="gemm_backward")
_PLAIN_T = Op("aten::t", (Op("aten::transpose", (_VIEW,)),))

BACKWARD: dict[str, tuple[Op, ...]] = {
    "TBackward0": (_PLAIN_T,),
    "MmBackward0": (_PLAIN_T, _PLAIN_MM, _PLAIN_T, _PLAIN_MM),
    "UnsafeViewBackward0": (Op("aten::reshape", (Op("aten::view"),)),),
    "MulBackward0": (_PLAIN_MUL, _PLAIN_MUL),
    "AddBackward0": (),
    "BmmBackward0": (_PLAIN_T, _PLAIN_BMM, _PLAIN_T, _PLAIN_BMM),
    "PermuteBackward0": (Op("aten::permute", (_VIEW,)),),
    "PowBackward0": (_PLAIN_MUL, _PLAIN_MUL),
    "MeanBackward1": (Op("aten::expand", (_VIEW,)), Op("aten::div", kernel="mul")),
    "RsqrtBackward0": (_PLAIN_MUL, _PLAIN_MUL),
    "SoftmaxBackward0": (Op("aten::_softmax_backward_data", kernel="softmax_backward"),),
    "MaskedFillBackward0": (Op("aten::masked_fill", (Op("aten::clone"),), kernel="masked_fill"),),
    "SiluBackward0": (Op("aten::silu_backward", kernel="silu"),),
    "EmbeddingBackward0": (Op("aten::embedding_dense_backward", kernel="embedding_backward"),),
    "LogSoftmaxBackward0": (Op("aten::_log_softmax_backward_data", kernel="log_softmax"),),
    "NllLossBackward0": (Op("aten::nll_loss_backward", kernel="nll"), _PLAIN_SUM),
}
"""Node -> the operators that it runs."""
ACCUMULATES = frozenset({"TBackward0", "EmbeddingBackward0"})
"""Nodes after which a parameter's gradient is accumulated."""


class _Numbering:
    """Numbers modules as Kineto does: per class, in the order of their first calls."""

    def __init__(self) -> None:
        self._classes: Counter[str] = Counter()
        self._all = 0

    def module(self, cls: str, line: int, *children: Module | Op) -> Module:
        number = self._classes[cls]
        self._classes[cls] += 1
        self._all += 1
        return Module(f"{cls}_{number}", self._all, line, children)


def transformer(layers: int) -> Module:
    """The model, with `layers` blocks."""
    make = _Numbering()

    def linear() -> Module:
        return make.module("Linear", 125, _LINEAR)

    def block() -> Module:
        norms = make.module("RMSNorm", 31, *_NORM), make.module("RMSNorm", 31, *_NORM)
        projections = linear(), linear(), linear()
        rope = make.module("RotaryEmbedding", 52, _MUL, _MUL, _ADD)
        scores = make.module(
            "AttentionScores", 71, _EINSUM, _MUL, _simple("aten::masked_fill", "MaskedFillBackward0", "masked_fill")
        )
        softmax = make.module("AttentionSoftmax", 84, _simple("aten::softmax", "SoftmaxBackward0", "softmax"))
        weighted = make.module("WeightedSum", 92, _EINSUM)
        attention = make.module(
            "Attention", 118, *projections, _SPLIT_HEADS, rope, scores, softmax, weighted, _SPLIT_HEADS, linear()
        )  # fmt: skip
        mlp = make.module(
            "SwiGLU", 160, linear(), _simple("aten::silu", "SiluBackward0", "silu"), linear(), _MUL, linear()
        )
        return make.module("Block", 181, norms[0], attention, _ADD, norms[1], mlp, _ADD)

    embedding = make.module("Embedding", 190, _simple("aten::embedding", "EmbeddingBackward0", "embedding"))
    blocks = tuple(block() for _ in range(layers))
    return make.module("Transformer", 212, embedding, *blocks, make.module("RMSNorm", 31, *_NORM), linear())
