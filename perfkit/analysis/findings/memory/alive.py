"""What lives at the moment that is looked at, by what is known of it: for rules to choose from."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from perfkit.analysis.memory.lifetimes import Kind
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema import units
from perfkit.schema.finding import Cost
from perfkit.trace.columns import Int32s, Int64s

Flags = npt.NDArray[np.bool_]


def of_kinds(account: MemoryAccount, *kinds: Kind) -> Int64s:
    """Rows of these kinds that live at the moment."""
    rows = account.rows
    return rows[np.isin(account.lives.kind[rows], kinds)]


def named(names: tuple[str, ...], codes: Int32s, pattern: re.Pattern[str]) -> Flags:
    """Whether each code's name has the pattern in it; of MISSING it has not."""
    flags = np.array([*(pattern.search(name) is not None for name in names), False])
    return flags[codes]


def explained(account: MemoryAccount, rows: Int64s, what: str) -> Flags:
    """Whether the shape that explains the size of each row is that of `what`."""
    sizes = account.lives.size[rows].tolist()
    return np.array([what in account.why(size, row) for size, row in zip(sizes, rows.tolist(), strict=True)], bool)


def total(account: MemoryAccount, rows: Int64s) -> int:
    """Bytes of rows."""
    return int(account.lives.size[rows].sum())


def share(account: MemoryAccount, held: float) -> float:
    """Of the bytes that live at the moment."""
    return held / account.at.bytes if account.at.bytes else 0.0


def cost(account: MemoryAccount, held: float) -> Cost:
    """Bytes at stake, as a share of those that live."""
    return Cost(share=share(account, held))


def said(account: MemoryAccount, held: int) -> str:
    """`1.9 GiB (16.2%)`."""
    return f"{units.size(held)} ({units.percent(share(account, held))})"


def formula(account: MemoryAccount, rows: Int64s) -> str:
    """Of the largest row the shape that explains its size, in brackets; empty where none does."""
    if not len(rows):
        return ""
    sizes = account.lives.size[rows]
    row = int(rows[int(sizes.argmax())])
    text = account.why(int(sizes.max()), row)
    return f" ({text.rpartition(': ')[0] or text})" if text else ""
