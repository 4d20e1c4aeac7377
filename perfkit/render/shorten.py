"""Shorten long names: the middle is cut, but what distinguishes two names stays."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, zip_longest

from rich.cells import cell_len

from perfkit.render.layout import Layout

_PATH = re.compile(r"[\w*]+([./][\w*]+)+")
"""A module's path: layers.*.attn, Model_0/Linear_7."""

_LEAD = 24  # characters of context before a difference, at most


def shorten(names: Sequence[str], width: int, mark: str = "…") -> list[str]:
    """Each name in at most `width` terminal cells. Where two would look alike, the cuts keep what differs."""
    short = {name: middle(name, width, mark) for name in names}
    alike: dict[str, list[str]] = defaultdict(list)
    for name, text in short.items():
        alike[text].append(name)
    for group in alike.values():
        if len(group) > 1:
            for name, difference in _differences(group).items():
                short[name] = _around(name, difference, width, mark)
    return [short[name] for name in names]


def shortened_rows(shown: Layout, width: int | None) -> list[list[str]]:
    """A table's rows as they are laid out, their texts in at most `width` cells; None keeps them whole."""
    if width is None:
        return shown.rows
    columns = [
        shorten(column, width) if is_text and not is_whole else list(column)
        for column, is_text, is_whole in zip(zip(*shown.rows, strict=True), shown.is_text, shown.is_whole, strict=False)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def middle(name: str, width: int, mark: str = "…") -> str:
    """The name in at most `width` terminal cells: two thirds from its beginning, the rest from its end.

    A module's path is cut the other way round: its end names the module.
    """
    if cell_len(name) <= width:
        return name
    room = width - len(mark)
    if room < 2:
        return _take(name, width)
    tail = room - room // 3 if _PATH.fullmatch(name) else room // 3
    return _take(name, room - tail) + mark + _take(name[::-1], tail)[::-1]


def _take(name: str, width: int) -> str:
    """The beginning of the name that fits in `width` cells (a wide character takes two)."""
    taken = name[:width]
    while cell_len(taken) > width:
        taken = taken[:-1]
    return taken


def _differences(names: Sequence[str]) -> dict[str, int]:
    """For each name: where it first differs from the one most like it. Sorted, that one is a neighbour."""
    position = dict.fromkeys(names, 0)
    for first, second in pairwise(sorted(names)):
        common = next(i for i, (a, b) in enumerate(zip_longest(first, second)) if a != b)
        position[first] = max(position[first], common)
        position[second] = max(position[second], common)
    return position


def _around(name: str, difference: int, width: int, mark: str) -> str:
    """Half from the beginning, then what stands around the difference, from the start of its word."""
    head = width // 2 - len(mark)
    window = width - head - 2 * len(mark)
    if min(head, window) < 2 or not name.isascii():
        return middle(name, width, mark)
    start = difference
    while start > max(head, difference - _LEAD) and (name[start - 1].isalnum() or name[start - 1] == "_"):
        start -= 1
    start = max(start, difference - window // 2)
    if start + window + len(mark) >= len(name):
        return name[:head] + mark + name[-window - len(mark) :]
    return name[:head] + mark + name[start : start + window] + mark
