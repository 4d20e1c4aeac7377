"""Read what a trace says of operators' arguments: the texts in its columns, as shapes, types, strides and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple
from typing import Any, TypeVar

import msgspec
import numpy as np

from perfkit.trace.chrome.events import DECODE_ERRORS
from perfkit.trace.chrome.recording import integer
from perfkit.trace.columns import MISSING, Trace
from perfkit.trace.detail_columns import Operand, Operands, Sizes

_T = TypeVar("_T")


def has_operands(trace: Trace) -> bool:
    """Whether the file says anything of operators' arguments."""
    return bool(trace.arguments)


def operands_of(trace: Trace) -> Operands:
    """The arguments of each host range. Each different text is decoded once."""
    texts = [astuple(arguments) for arguments in trace.arguments]
    columns: dict[str, Any] = {}
    for place, (name, parse) in enumerate(_PARSERS.items()):
        values: dict[Any, int] = {}
        parsed = [parse(_decoded(text[place])) for text in texts]
        codes = [MISSING if value is None else values.setdefault(value, len(values)) for value in parsed]
        columns[name] = np.array([*codes, MISSING], np.int32)[trace.host.arguments]  # MISSING is the last
        columns[f"all_{name}"] = tuple(values)
    return Operands(**columns)


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text) if text else None
    except DECODE_ERRORS:
        return None


def _operands(value: Any) -> tuple[Operand, ...] | None:
    """The sizes of each argument: a list of numbers, or for a list of tensors a list of such lists."""
    return _all_or_none(map(_operand, value)) if isinstance(value, list) else None


def _operand(value: Any) -> Operand | None:
    sizes = _tensor(value)
    return _all_or_none(map(_tensor, value)) if sizes is None and isinstance(value, list) else sizes


def _tensor(value: Any) -> Sizes | None:
    return _all_or_none(map(integer, value)) if isinstance(value, list) else None


def _all_or_none(values: Iterable[_T | None]) -> tuple[_T, ...] | None:
    every = tuple(values)
    kept = tuple(value for value in every if value is not None)
    return kept if len(kept) == len(every) else None


def _words(value: Any) -> tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "shapes": _operands, "dtypes": _words, "strides": _operands, "values": _words,
}  # fmt: skip
"""Columns of Operands, and what their texts mean."""
