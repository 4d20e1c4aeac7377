"""What attention alone costs by its shape: FLOPs, bytes, memory.

With B batch, S sequence, d head width, e bytes an element:

    scores n = B S^2 e                      one such tensor is written out, or none
    rows   t = B S d e                      each of q, k, v, the result and their gradients
    FLOPs  forward 4 B S^2 d                two products, q k^T and weights v; a multiply-add is 2
           backward 8 B S^2 d               four: of the weights, v, q and k
    causal S (S + 1) / 2 pairs instead of S^2, whatever an implementation executes

Written out, a step holds and moves what the operations of `workload.attention.eager` do, which tests compare with what
was allocated. A fused kernel holds no scores, and moves each row once at best.
"""

from __future__ import annotations

from dataclasses import dataclass

from perfkit.schema.parts.attention import COMPILED, EAGER, ELEMENT_BYTES, FUNCTION, Cell

MATH = "sdpa-math"
FLOPS_FORMULA = "FLOPs: 4 B S^2 d forward, 8 B S^2 d backward (causal: S (S + 1) / 2 instead of S^2)"
BYTES_FORMULA = (
    "bytes: scores n = B S^2 e are written out by eager (15 n forward and backward, 19 n causal) and sdpa-math; of the"
    " others only rows t = B S d e count (12 t), the least there is"
)
_LOG_SUM = 4
"""Bytes of a row's log-sum, which fused kernels keep in fp32."""


@dataclass(frozen=True, slots=True)
class Part:
    """Forward, or backward."""

    flops: int
    bytes: int
    """Least: of what is written out, by its operations; else each row read and written once."""

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.bytes

    def __add__(self, other: Part) -> Part:
        return Part(self.flops + other.flops, self.bytes + other.bytes)


def scores_bytes(cell: Cell) -> int:
    """n: the score matrices of all sequences of a batch, once."""
    return cell.batch * cell.sequence**2 * ELEMENT_BYTES[cell.precision]


def rows_bytes(cell: Cell) -> int:
    """t: q, k, v or the result."""
    return cell.batch * cell.sequence * cell.width * ELEMENT_BYTES[cell.precision]


def _written(cell: Cell) -> int:
    """Bytes of scores that are known to be written out, once: PyTorch's plain form has bf16 and fp16 in fp32."""
    if cell.implementation == MATH:
        return cell.batch * cell.sequence**2 * 4
    return scores_bytes(cell) if cell.implementation == EAGER else 0


def _is_half(cell: Cell) -> bool:
    return ELEMENT_BYTES[cell.precision] == 2


def forward(cell: Cell) -> Part:
    """FLOPs and bytes of forward.

    Written out: scores are written (n), scaled (2n), masked (2n) where causal, made weights (2n), and read (n).
    """
    n, t = _written(cell), rows_bytes(cell)
    return Part(4 * _pairs(cell) * cell.width, 4 * t + (8 if cell.causal else 6) * n)


def backward(cell: Cell) -> Part:
    """FLOPs and bytes of backward.

    Written out: the gradient of the weights is written (n), weights are read for that of v (n), softmax reads two and
    writes one (3n), masking (2n) where causal, scaling (2n), and the products for q and k read (2n).
    """
    n, t = _written(cell), rows_bytes(cell)
    return Part(8 * _pairs(cell) * cell.width, 8 * t + (11 if cell.causal else 9) * n)


def held(cell: Cell) -> int | None:
    """Bytes in tensors as backward begins; None where nobody knows what is kept, as of a compiler's choice.

    q, k, v, the result and its gradient are 5t. Eager keeps the weights, n, and the mask; PyTorch's plain form also
    keeps scaled q and k (2t), of bf16 and fp16 all three in fp32 (6t); a fused kernel keeps a log-sum of each row.
    """
    n, t = _written(cell), rows_bytes(cell)
    if cell.implementation in (COMPILED, FUNCTION):
        return None
    if cell.implementation == EAGER:
        return n + 5 * t + _mask(cell)
    if cell.implementation == MATH:
        return n + (11 if _is_half(cell) else 7) * t
    return 5 * t + cell.batch * cell.sequence * _LOG_SUM


def peak(cell: Cell) -> int | None:
    """Peak bytes in tensors; None as in `held`.

    The peak of what is written out is softmax's backward: weights, their gradient and that of the scores, 3n, beside
    q, k, v, the result, its gradient and that of v. A fused kernel's has three gradients and some of its own: about 9t,
    and a CPU's has blocks of scores for each thread beside it, below a megabyte.
    """
    n, t = _written(cell), rows_bytes(cell)
    if cell.implementation in (COMPILED, FUNCTION):
        return None
    if cell.implementation == EAGER:
        return 3 * n + 6 * t + _mask(cell)
    return 3 * n + (11 if _is_half(cell) else 8) * t if cell.implementation == MATH else 9 * t


def _pairs(cell: Cell) -> int:
    """Pairs of a query and a key that it sees, in all sequences."""
    each = cell.sequence * (cell.sequence + 1) // 2 if cell.causal else cell.sequence**2
    return cell.batch * each


def _mask(cell: Cell) -> int:
    """The mask of all sequences, one byte a pair."""
    return cell.sequence**2 if cell.causal else 0
