"""Checks of values that a file claims: types, signs, ranges. No value is walked into or printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perfkit.trace.columns import LONGEST_NAME, Int64s

LARGEST = 1 << 62
"""Limit of what sizes sum to, in bytes: half of int64's range."""


class ImplausibleError(ValueError):
    """A value is not what a snapshot has there. The message says which, and follows the file's name."""


def integers(values: Sequence[Any], what: str, *, least: int = 0) -> Int64s:
    """A column of integers. Raises ImplausibleError where one is none, below `least`, or beyond int64."""
    if set(map(type, values)) - {int}:
        kind = next(type(value).__name__ for value in values if type(value) is not int)
        raise ImplausibleError(f"{what} is a {kind}, not an integer")
    try:
        column = np.array(values, np.int64)
    except OverflowError as error:
        raise ImplausibleError(f"{what} does not fit into 64 bits") from error
    if len(column) and (smallest := int(column.min())) < least:
        raise ImplausibleError(f"{what} is {smallest}")
    return column


def integer(value: Any, what: str, *, least: int = 0) -> int:
    """One integer. Raises as `integers` does."""
    return int(integers((value,), what, least=least)[0])


def sizes(values: Sequence[Any], what: str) -> Int64s:
    """A column of bytes. Raises ImplausibleError as `integers` does, and where the sum is absurd."""
    column = integers(values, what)
    if (total := float(column.sum(dtype=np.float64))) > LARGEST:
        raise ImplausibleError(f"{what} sums to {total:.1e} bytes")
    return column


def items(value: Any, what: str) -> list[Any]:
    """A list. Raises ImplausibleError for anything else."""
    if type(value) is not list:
        raise ImplausibleError(f"{what} is a {type(value).__name__}, not a list")
    return value


def members(value: Any, what: str) -> dict[Any, Any]:
    """A dictionary. Raises ImplausibleError for anything else."""
    if type(value) is not dict:
        raise ImplausibleError(f"{what} is a {type(value).__name__}, not a dictionary")
    return value


class Cleaned(dict[str, str]):
    """Texts of a file, shortened, and as they can be printed and encoded; each made once, however often it is named."""

    def __missing__(self, raw: str) -> str:
        clean = self[raw] = raw[:LONGEST_NAME].encode("utf-8", "replace").decode("utf-8")
        return clean


def text(value: Any, what: str, cleaned: Cleaned) -> str:
    """A text of `cleaned`. Raises ImplausibleError for what is no text."""
    if type(value) is not str:
        raise ImplausibleError(f"{what} is a {type(value).__name__}, not a text")
    return cleaned[value]
