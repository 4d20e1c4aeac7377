"""A file's row and sums as bytes, for --resume: msgpack with types that are checked, so that no code is run by it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.reports.many.folded import FOLDS, FileRow, Folded
from perfkit.analysis.time.partial import Facts, Partial

VERSION = 3
"""Increase it whenever the same file would give other rows or sums."""


@dataclass(frozen=True, slots=True)
class _Sums:
    facts: Facts
    folds: dict[str, dict[str, list[str] | bytes]]
    """Fold -> column -> texts, or int64 numbers in this machine's order of bytes."""


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    row: FileRow
    sums: dict[str, _Sums]


def encode(folded: Folded) -> bytes:
    """One file that was read, as bytes."""
    sums = {key: _Sums(part.facts, _columns(part)) for key, part in folded.parts.items()}
    return msgspec.msgpack.encode(_Kept(VERSION, folded.rows[0], sums))


def decode(data: bytes) -> Folded | None:
    """The same, from its bytes; None where they are another version's, damaged, or no such file."""
    try:
        kept = msgspec.msgpack.decode(data, type=_Kept)
        parts = {key: Partial.made(sums.facts, _frames(sums)) for key, sums in kept.sums.items()}
    except (ValueError, KeyError):  # msgspec's errors are ValueErrors
        return None
    return Folded((kept.row,), parts) if kept.version == VERSION else None


def _columns(partial: Partial) -> dict[str, dict[str, list[str] | bytes]]:
    frames = ((fold.name, partial.of(fold)) for fold in FOLDS)
    return {name: {str(key): _written(column) for key, column in frame.items()} for name, frame in frames}


def _written(column: pd.Series[Any]) -> list[str] | bytes:
    return column.to_numpy().tobytes() if column.dtype == np.int64 else [str(text) for text in column]


def _frames(sums: _Sums) -> dict[str, pd.DataFrame]:
    """Raises KeyError and ValueError where a fold or a column is missing, or columns differ in length."""
    frames = {}
    for fold in FOLDS:
        columns = sums.folds[fold.name]
        frames[fold.name] = pd.DataFrame({name: _read(columns[name]) for name in (*fold.keys, *fold.measures)})
    return frames


def _read(column: list[str] | bytes) -> Any:
    if isinstance(column, bytes):
        return np.frombuffer(column, dtype=np.int64).copy()
    return np.array(column, dtype=object)
