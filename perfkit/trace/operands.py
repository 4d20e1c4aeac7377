"""Read what a trace says of operators' arguments: the texts in its columns, as shapes, types, strides and values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import msgspec
import numpy as np

from perfkit.trace.chrome.events import DECODE_ERRORS
from perfkit.trace.chrome.recording import integer
from perfkit.trace.columns import MISSING, Trace
from perfkit.trace.detail_columns import Operand, Operands, Sizes

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Message:
    """What a collective moves, as the rank that was recorded sees it."""

    collective: str
    """PyTorch's name: allreduce, _allgather_base, all_to_allv, broadcast ..."""
    elements_in: int
    elements_out: int
    ranks: int
    dtype: str
    """PyTorch's name, without a namespace: Float, BFloat16."""
    group: str = ""
    """The process group: its name and its ranks as the file writes them, the same on all of them; empty where the file
    does not say."""


def has_shapes(trace: Trace) -> bool:
    """Whether the file says the shapes of any operator's arguments."""
    return any(arguments.shapes for arguments in trace.arguments)


def messages_of(trace: Trace) -> tuple[Message | None, ...]:
    """The message of each of `trace.arguments`; None of operators that are no collective, or of which too little is
    said."""
    return tuple(_message(_decoded(arguments.collective)) for arguments in trace.arguments)


def _message(value: Any) -> Message | None:
    try:
        *message, name, ranks = value if len(value or ()) == len(_MESSAGE) + 1 else (*(value or ()), None, None)
        group = " ".join(str(part) for part in (name, ranks) if part is not None)
        return msgspec.convert(dict(zip(_MESSAGE, (*message, group), strict=True)), Message) if value else None
    except (msgspec.ValidationError, TypeError, ValueError):  # another type, no list, another length
        return None


def operands_of(trace: Trace) -> Operands:
    """The arguments of each host range. Each different text is decoded once."""
    columns: dict[str, Any] = {}
    for name, parse in _PARSERS.items():
        values: dict[Any, int] = {}
        parsed = [parse(_decoded(getattr(arguments, name))) for arguments in trace.arguments]
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


_MESSAGE = tuple(field.name for field in fields(Message))
_PARSERS: dict[str, Callable[[Any], Any]] = {
    "shapes": _operands, "dtypes": _words, "strides": _operands, "values": _words,
}  # fmt: skip
"""Columns of Operands, and what their texts mean."""
