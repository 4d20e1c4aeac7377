"""TracedCall: an operator's call in a traced step, with what a trace's record of it would say of its arguments."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Sizes: TypeAlias = tuple[int, ...]
Operand: TypeAlias = Sizes | tuple[Sizes, ...]
"""Of a tensor, or of each tensor of a list; empty for what is neither."""


class TracedCall(NamedTuple):
    """One call. Arguments are in the order of the operator's schema."""

    phase: str
    """Of the step: forward, loss, backward, optimizer, zero_grad."""
    name: str
    """`aten::mm`."""
    shapes: tuple[Operand, ...]
    dtypes: tuple[str, ...]
    """The type of each argument that is a tensor, in C++: `float`, `c10::BFloat16`; empty for others."""
    strides: tuple[Operand, ...]
    """In elements."""
    values: tuple[str, ...]
    """Numbers, truths and lists of them as text; else empty."""
