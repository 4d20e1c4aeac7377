"""One call of an operator as a trace recorded it, and what a formula may ask of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeVar

import msgspec

from perfkit.regex import Regex
from perfkit.trace.detail_columns import Operand

_T = TypeVar("_T")
_BYTES = {
    "bool": 1, "signed char": 1, "unsigned char": 1, "char": 1, "byte": 1,
    "short": 2, "short int": 2, "unsigned short": 2, "half": 2, "c10::half": 2, "c10::bfloat16": 2,
    "int": 4, "unsigned int": 4, "float": 4, "c10::complex<c10::half>": 4,
    "long": 8, "long int": 8, "unsigned long": 8, "double": 8, "c10::complex<float>": 8,
    "c10::complex<double>": 16,
}  # fmt: skip
"""Bytes of an element, by the C++ name of its type in lower case (caffe2::TypeMeta)."""
_SMALL = Regex(r"c10::(float8|float4|q?u?int8|quint4x2|quint2x4)")
_NO_TENSORS = frozenset(
    ("", "Scalar", "ScalarList", "TensorList", "GenericList", "Int", "Double", "Bool", "String", "None", "Device")
)
"""What the profiler writes for arguments that are no tensor; since 2021 and before."""
_INTEGERS = Regex(r"\[?[-\d, ]*\]?")


class NotToldError(Exception):
    """The trace lacks an argument that the formula needs."""


class Tensor(msgspec.Struct, frozen=True):
    """A tensor argument."""

    shape: tuple[int, ...]
    item: int | None
    """Bytes of an element; None where the trace does not say the type."""
    is_float: bool = True
    stored: int = -1
    """Elements that lie in memory, where an expanded tensor has each of them many times; -1 for all of them."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int | None:
        """Bytes that it takes up in memory."""
        return None if self.item is None else self.item * (self.size if self.stored < 0 else self.stored)

    def like(self, shape: tuple[int, ...]) -> Tensor:
        """A tensor of the same type and another shape."""
        return Tensor(shape, self.item, self.is_float)


class Call(msgspec.Struct, frozen=True):
    """The arguments of one call, in the order of the operator's schema; columns may be empty."""

    shapes: tuple[Operand, ...]
    dtypes: tuple[str, ...] = ()
    strides: tuple[Operand, ...] = ()
    values: tuple[str, ...] = ()
    in_place: bool = False
    """The operator's name ends in `_`: it writes into its first argument."""
    list_dtype: str = ""
    """The type of tensors in lists, of which traces say none; empty where it cannot be told."""

    def tensor(self, place: int) -> Tensor:
        """The tensor at a place. Raises NotToldError where there is none."""
        found = self.optional(place)
        if found is None:
            raise NotToldError
        return found

    def optional(self, place: int) -> Tensor | None:
        """The tensor at a place; None where the argument is none, or is not there.

        Where the trace lacks types (PyTorch 1.9), a tensor of no dimension looks like a number, and counts as one.
        """
        dtype = _of(self.dtypes, place, "")
        shape = _of(self.shapes, place, ())
        if dtype in _NO_TENSORS and (self.dtypes or not shape):
            return None
        return _tensor(shape, dtype, _of(self.strides, place, ()))

    def listed(self, place: int) -> list[Tensor]:
        """The tensors of a list. Raises NotToldError where the trace does not give each one's shape."""
        shapes = _of(self.shapes, place, ())
        if not shapes or not isinstance(shapes[0], tuple):
            raise NotToldError
        strides = _of(self.strides, place, ())
        return [_tensor(shape, self.list_dtype, _of(strides, at, ())) for at, shape in enumerate(shapes)]

    def integers(self, place: int) -> tuple[int, ...]:
        """The numbers of an argument such as [1, 1] or 4. Raises NotToldError where the trace does not say them."""
        text = _of(self.values, place, "")
        if not text or not _INTEGERS.fullmatch(text):
            raise NotToldError
        return tuple(int(number) for number in text.strip("[]").replace(" ", "").split(",") if number)

    def flags(self, place: int) -> tuple[bool, ...]:
        """The truths of an argument such as False, [True, False] or 1. Raises NotToldError where it says none."""
        words = _of(self.values, place, "").strip("[]").replace(" ", "").split(",")
        if not all(word in ("True", "False") or word.isdecimal() for word in words):
            raise NotToldError
        return tuple(word not in ("False", "0") for word in words)


def _of(column: Sequence[_T], place: int, absent: _T) -> _T:
    return column[place] if place < len(column) else absent


def _tensor(shape: object, dtype: str, strides: object) -> Tensor:
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise NotToldError
    kind = dtype.lower()
    item = 1 if _SMALL.match(kind) else _BYTES.get(kind)
    is_float = any(word in kind for word in ("float", "half", "double", "complex"))
    stored = -1
    if isinstance(strides, tuple) and len(strides) == len(shape) and 0 in strides:
        stored = prod(size for size, stride in zip(shape, strides, strict=True) if stride != 0)
    return Tensor(shape, item, is_float, stored)
