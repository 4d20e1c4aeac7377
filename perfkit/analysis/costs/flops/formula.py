"""What a formula is: operations and bytes of one call, from its arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import TypeAlias

import msgspec

from perfkit.analysis.costs.flops.call import Call, Tensor


class Level(IntEnum):
    """How an operator counts that calls others: only where none inside it has its level or a higher one.

    So a linear layer leaves its work to the matmul inside it, and a mean to the sum; but an addition keeps its own
    although it first copied its arguments to another type.
    """

    MOVEMENT = 0
    """It moves data: copies, fills, gathers."""
    ARITHMETIC = 1
    """It does arithmetic on elements, rows or lists of tensors."""
    PRODUCT = 2
    """Matmul, attention, convolution."""
    BESIDE = 3
    """What is counted is its own, beside what the operators count that it calls."""


class Counted(msgspec.Struct, frozen=True):
    """Of one call."""

    flops: int
    """Operations; a multiply and the add behind it are two."""
    bytes: int | None
    """Each argument read once and each result written once: the least that has to be moved. None where the trace does
    not say the types."""
    masked: int = 0
    """Operations in `flops` whose result a causal mask hides: a kernel may leave them out, and fused ones do."""
    repeated: int = 0
    """Operations in `flops` that the forward operator did before: fused attention's backward computes scores again."""


Count: TypeAlias = Callable[[Call], Counted]


class Formula(msgspec.Struct, frozen=True):
    """How a kind of operator is counted."""

    kind: str
    """One of analysis.kernels.kinds."""
    level: Level
    count: Count
    """Raises NotToldError, IndexError or ValueError for arguments that do not tell enough."""


def moved(*tensors: Tensor | None) -> int | None:
    """Bytes of all tensors; None where the type of one is not known. An argument that is not there moves nothing."""
    return total(tensor.bytes for tensor in tensors if tensor is not None)


def total(parts: Iterable[int | None]) -> int | None:
    """The sum; None where a part is not known."""
    known = 0
    for part in parts:
        if part is None:
            return None
        known += part
    return known
