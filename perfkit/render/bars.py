"""Bars beside shares, in a terminal that has room for them."""

from __future__ import annotations

import math
from typing import TypeVar

import msgspec
from rich.cells import cell_len

from perfkit.render.layout import Layout

BAR = "bar"
"""The name of their column."""
_LONGEST, _SHORTEST = 20, 8
"""Characters of a bar of 100%."""
_GAP = 2
_EIGHTHS = (*"▏▎▍▌▋▊▉",)

_Cell = TypeVar("_Cell")


def with_bars(shown: Layout, width: int, *, unicode: bool = True) -> Layout:
    """The same with a bar beside each share of the whole, where lines of `width` characters have room for it."""
    headings = [shown.headings, *shown.lines]
    room = width - sum(max(map(cell_len, column)) + _GAP for column in zip(*headings, strict=True))
    if shown.share is None or room < _SHORTEST:
        return shown
    at = shown.share + 1
    bars = [bar(share, min(room, _LONGEST), unicode=unicode) for share in shown.shares]
    return msgspec.structs.replace(
        shown,
        headings=_inserted(shown.headings, at, ""),
        is_text=_inserted(shown.is_text, at, True),
        is_whole=_inserted(shown.is_whole, at, True),
        rows=[_inserted(row, at, text) for row, text in zip(shown.rows, bars, strict=True)],
        rest=_inserted(shown.rest, at, "") if shown.rest else None,
        total=_inserted(shown.total, at, "") if shown.total else None,
        label=shown.label + (shown.label >= at),
        names=_inserted(shown.names, at, BAR),
    )


def bar(share: float, cells: int, *, unicode: bool = True) -> str:
    """A share of so many characters, to an eighth of one; a share of less has nothing."""
    length = 0.0 if math.isnan(share) else min(max(share, 0.0), 1.0) * cells
    if not unicode:
        return "#" * round(length)
    eighths = round(length * 8)
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def _inserted(values: list[_Cell], at: int, value: _Cell) -> list[_Cell]:
    return [*values[:at], value, *values[at:]]
